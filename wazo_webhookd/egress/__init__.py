"""Calls to other people's machines: which address, and one HTTP call that cannot hurt us."""
