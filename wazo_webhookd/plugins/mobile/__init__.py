"""Push notifications that are asked for over REST."""
