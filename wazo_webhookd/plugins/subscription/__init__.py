"""Subscriptions over REST."""
