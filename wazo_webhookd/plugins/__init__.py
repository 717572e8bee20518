"""REST rooms, one package each."""
