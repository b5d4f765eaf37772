"""How large the campaign of faults is."""

from __future__ import annotations

import math
import os


def scaled(number: int) -> int:
    """How many of ``number`` kills or inputs to try: ``RECSIM_DRPO_FAULTS`` of them, at least one.

    The variable is a share, 1 where it is not set: ``make test-faults`` tries all, ``.ci/run`` a
    tenth.
    """
    share = float(os.environ.get("RECSIM_DRPO_FAULTS", "1"))
    if not 0.0 < share <= 1.0:
        raise ValueError(f"RECSIM_DRPO_FAULTS={share:g} must lie in (0, 1].")
    return max(1, math.ceil(number * share))
