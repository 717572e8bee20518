"""What became of events."""
