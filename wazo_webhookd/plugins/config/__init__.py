"""Show the configuration, switch debugging on and off."""
