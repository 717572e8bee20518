"""What may die, dies, while events come in: nothing is lost, and nothing is sent twice but what was in flight."""
