"""Limits of evaluations, known without torch."""

MAX_USERS = 100_000_000
"""Users that policies can be evaluated on at most."""
