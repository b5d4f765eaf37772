"""Means over seeds with their intervals, and how they are written."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsim_drpo.reporting import comparison
from recsim_drpo.reporting.statistics import Estimate

Floats = NDArray[np.float64]


def interval(scores: Floats) -> Estimate:
    """Mean over seeds (num_seeds,) with a 95 % interval: by bootstrap from ten seeds on.

    Of fewer, the bootstrap's intervals are too narrow; Student's t is wide enough.
    """
    return comparison.stratified_bootstrap(scores, comparison.mean, shared_seeds=True)


def difference(a: Floats, b: Floats) -> Estimate:
    """Mean of a - b, paired by seed, with an interval as :func:`interval`'s."""
    return comparison.paired_difference(a, b)


def mean_of(scores: Floats) -> str:
    """Mean over seeds (num_seeds,) with its interval, as text."""
    return brief(interval(scores))


def brief(estimate: Estimate) -> str:
    """``1.71 [1.70, 1.73]``, or of a single seed ``1.71``."""
    if math.isnan(estimate.low):
        return f"{estimate.value:.2f}"
    return f"{estimate.value:.2f} [{estimate.low:.2f}, {estimate.high:.2f}]"


def signed(estimate: Estimate) -> str:
    """``+1.26 [+1.13, +1.39]``, or of a single seed ``+1.26``."""
    if math.isnan(estimate.low):
        return f"{estimate.value:+.2f}"
    return f"{estimate.value:+.2f} [{estimate.low:+.2f}, {estimate.high:+.2f}]"


def rounded(value: Any, digits: int) -> Any:
    """The value with floats of so many significant digits, and ``None`` for those not finite."""
    if isinstance(value, float):
        return float(f"{value:.{digits}g}") if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): rounded(item, digits) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(item, digits) for item in value]
    return value
