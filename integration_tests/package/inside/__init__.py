"""What runs within the fresh Debian, with its own Python."""
