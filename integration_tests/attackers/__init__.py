"""Receivers that are slow, dead, huge, lying or hostile; each listens on a port of the loopback address."""
