"""Limits of off-policy evaluation, known without torch."""

MAX_SAMPLES = 100_000
"""Draws of a stochastic policy in a context at most."""
