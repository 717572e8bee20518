"""Ways of delivering: one small folder per service, and what all of them share."""
