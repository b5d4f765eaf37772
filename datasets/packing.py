"""How rounds are packed into Minari episodes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

ROUNDS_PER_EPISODE = 10_000
"""Rounds in a packed episode; also the block in which rounds are computed, whatever the machine."""

PACKING = (
    "Packed: an episode is up to 10,000 independent one-step rounds, so that files stay small and "
    "quick. Every transition has terminations=True and truncations=False: never bootstrap from the "
    "next observation, which is the next user's context. infos[k][t + 1] belongs to action t; row "
    "0 of an info column is filler (-1 or NaN)."
)


def info_column(values: NDArray[Any], rows: NDArray[np.int64], size: int) -> NDArray[Any]:
    """An info column of ``size`` rows: values at ``rows``, filler (-1 or NaN) in the others."""
    filler = np.nan if values.dtype.kind == "f" else -1
    column = np.full(size, filler, values.dtype)
    column[rows] = values
    return column
