"""What an import allows unless it is told otherwise; no other module is needed to read it."""

MAX_REFUSED = 0.2
"""Largest share of a log's rows that may be refused."""

MISSING_POLICIES = ("code", "refuse")
"""Known ways to treat a row with an empty cell in its context, or another category."""

MAX_BUCKETS = 16_384
"""Most buckets of a hashed column."""
