"""Explain where deliveries may connect."""
