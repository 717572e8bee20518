"""Take events in over REST."""
