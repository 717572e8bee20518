"""Subscriptions: the one door to them, who hears of a change, how they look."""
