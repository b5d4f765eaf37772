"""The readout of an A/B test: mean rewards of two logs and their difference, with intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from recsim_drpo.reporting.statistics import Estimate

Floats = NDArray[np.float64]

NORMAL_975 = 1.959963984540054
"""The 97.5 % point of the normal distribution."""


@dataclass(frozen=True)
class Readout:
    """The mean rewards of two logs, as of an A/B test.

    Attributes:
        a: mean reward of a row of A, with its 95 % interval.
        b: of B.
        difference: b − a, with its 95 % interval.
        relative: b / a − 1, with its 95 % interval; ``None`` where a is not above 0 for sure.
        p_value: that the means are the same, by a normal test; not adjusted, as it is the one
            question that was asked beforehand.
    """

    a: Estimate
    b: Estimate
    difference: Estimate
    relative: Estimate | None
    p_value: float


def readout(
    a: Floats,
    b: Floats,
    requests_a: NDArray[np.int64] | None = None,
    requests_b: NDArray[np.int64] | None = None,
) -> Readout:
    """Mean rewards of two independent logs, their difference and ratio, with 95 % intervals.

    Standard errors are of rows, or of requests where those are given: the mean of all rows as a
    ratio of sums over requests, by the delta method. Rewards of 0 and 1 have score intervals, which
    stay in [0, 1], and the difference Newcombe's (*Interval estimation for the difference between
    independent proportions*, 1998, method 10), with as many rows as would have that standard error.

    Args:
        a: rewards (n,), at least two.
        b: rewards (m,), at least two.
        requests_a: number of the request of each row, (n,), or ``None``.
        requests_b: (m,), or ``None``.

    Raises:
        ValueError: a log of one request.
    """
    from scipy import stats

    both = [_mean(a, requests_a), _mean(b, requests_b)]
    binary = all(bool(np.isin(values, (0.0, 1.0)).all()) for values in (a, b))
    intervals = [
        _score_interval(mean, error, size) if binary else _normal(mean, error)
        for mean, error, size in both
    ]
    before, after = intervals
    error = math.hypot(both[0].error, both[1].error)
    moved = after.value - before.value
    difference = _normal(moved, error)
    if binary:
        low = math.hypot(after.value - after.low, before.high - before.value)
        high = math.hypot(after.high - after.value, before.value - before.low)
        difference = Estimate(moved, moved - low, moved + high)
    p_value = 2.0 * float(stats.norm.sf(abs(moved) / error)) if error > 0.0 else float(moved == 0.0)
    return Readout(before, after, difference, _relative(both, before), p_value)


class _Mean(NamedTuple):
    """A mean with its standard error, and the number of independent witnesses."""

    value: float
    error: float
    size: int


def _mean(rewards: Floats, requests: NDArray[np.int64] | None) -> _Mean:
    mean, residuals = float(rewards.mean()), rewards - rewards.mean()
    if requests is not None:
        residuals = np.bincount(np.unique(requests, return_inverse=True)[1], residuals)
    size = len(residuals)
    if size < 2:
        raise ValueError(
            "A log is of one request; how sure its mean is takes two at least to tell."
        )
    squares = float((residuals**2).sum()) * size / (size - 1)
    return _Mean(mean, math.sqrt(squares) / len(rewards), size)


def _normal(value: float, error: float) -> Estimate:
    return Estimate(value, value - NORMAL_975 * error, value + NORMAL_975 * error)


def _score_interval(share: float, error: float, size: int) -> Estimate:
    """Wilson's interval of a share, of as many independent rows as would have its error."""
    rows = float(size)
    if error > 0.0:  # the error has n - 1 in it, the interval n
        rows = share * (1.0 - share) / error**2 * size / (size - 1)
    z = NORMAL_975
    middle = (share + z * z / (2 * rows)) / (1 + z * z / rows)
    half = (
        z * math.sqrt(share * (1 - share) / rows + z * z / (4 * rows * rows)) / (1 + z * z / rows)
    )
    return Estimate(share, max(0.0, min(share, middle - half)), min(1.0, max(share, middle + half)))


def _relative(both: Sequence[_Mean], before: Estimate) -> Estimate | None:
    """b / a − 1 by the delta method on its logarithm, where both means are above 0 for sure."""
    a, b = both
    if not (a.value - NORMAL_975 * a.error > 0.0 and b.value > 0.0):
        return None
    error = math.hypot(a.error / a.value, b.error / b.value)
    ratio = b.value / a.value
    low, high = (ratio * math.exp(sign * NORMAL_975 * error) - 1.0 for sign in (-1, 1))
    return Estimate(ratio - 1.0, low, high)
