"""What the campaign of faults shares: how much of it is run."""

from __future__ import annotations

import os
import random


def scaled(n: int) -> int:
    """So many of ``n`` as the environment variable RECSIM_DRPO_FAULTS says, a share; at least 1."""
    return max(1, round(n * float(os.environ.get("RECSIM_DRPO_FAULTS", "1"))))


def seeded(name: str) -> random.Random:
    """Random numbers of a test's own, others with another RECSIM_DRPO_FAULTS_SEED."""
    return random.Random(f"{name} {os.environ.get('RECSIM_DRPO_FAULTS_SEED', '0')}")
