"""Intervals of bounded rewards: normal ones on a scale on which the ends of the range are far off.

A normal interval of a few clicks reaches below 0, and misses on one side: the mean and its standard
error come from the same few clicks. On the scale of the logarithm, or of the logit, the interval
stays in the range, and where it is narrow it is the normal one.
"""

from __future__ import annotations

import math

from recsim_drpo.reporting.statistics import Estimate

Range = tuple[float, float]
"""The least and the largest reward there can be."""

_SQUARE = 1.959963984540054**2
_LARGEST = 700.0  # whose exponential is finite


def logit_interval(estimate: Estimate, reward_range: Range | None, effective: float) -> Estimate:
    """The interval of a weighted mean of rewards, which lies in their range.

    Its odds, of the place in the range, times and by exp(1.96 s / (p (1 - p))), for the standard
    error s of a mean at the place p. A mean at an end has no s: there it is Wilson's interval.
    Source: Brown, Cai and DasGupta, *Interval Estimation for a Binomial Proportion*, 2001.

    Args:
        estimate: with its normal interval.
        reward_range: low and high; ``None``, or a range of one value, leaves it as it is.
        effective: > 0, the effective number of rounds.
    """
    low, high = reward_range or (0.0, 0.0)
    width, half = high - low, estimate.high - estimate.value
    if not width > 0.0 or math.isnan(half):
        return estimate
    share = (estimate.value - low) / width
    least = _SQUARE / (effective + _SQUARE)
    if share <= 0.0:
        return Estimate(estimate.value, low, low + width * least)
    if share >= 1.0:
        return Estimate(estimate.value, high - width * least, high)
    factor = math.exp(min(_LARGEST, half / width / (share * (1.0 - share))))
    ends = (share / (share + (1.0 - share) * odds) for odds in (factor, 1.0 / factor))
    return Estimate(estimate.value, *(low + width * end for end in ends))


def log_interval(estimate: Estimate, reward_range: Range | None) -> Estimate:
    """The interval of an estimate that may itself leave the range of rewards.

    The distance from the lower end times and by exp(1.96 s / distance), cut at the upper end. It
    always has the estimate in it, and so ends there where that is out of the range.

    Args:
        estimate: with its normal interval.
        reward_range: low and high; ``None`` leaves it as it is.
    """
    half = estimate.high - estimate.value
    if reward_range is None or math.isnan(half):
        return estimate
    (low, high), value = reward_range, estimate.value
    distance = value - low
    if distance <= 0.0:
        return Estimate(value, value, max(value, min(high, value + half)))
    factor = math.exp(min(_LARGEST, half / distance))
    upper = max(value, min(high, low + distance * factor))
    return Estimate(value, min(high, low + distance / factor), upper)
