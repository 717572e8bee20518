"""The worker's side of a delivery: one attempt, from the message to the row."""
