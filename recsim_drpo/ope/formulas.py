r"""The formulas of off-policy evaluation, on arrays with one number a round, whoever computed them.

Round n of a log has a context :math:`x_n`, the item :math:`i_n` that was shown, its propensity
:math:`p_n = \pi_0(i_n \mid x_n)` and the reward :math:`r_n`. A policy π gives it the weight
:math:`w_n = \pi(i_n \mid x_n) / p_n`; a reward model :math:`\hat q` expects
:math:`\hat q(x_n, \pi) = \sum_i \pi(i \mid x_n) \hat q(x_n, i)` of π.

Intervals are over rounds at 95 % (for :func:`snips` by the delta method), so rounds have to be
independent, or over requests where it is these that are. They are normal ones; where the range of
rewards is given, on a scale that keeps them in it (:mod:`.intervals`). The bootstrap covers as much
at a hundred times the cost, and empirical Bernstein's needs a bound on the weights, which a log
does not tell; docs/off_policy_evaluation.md has what they cover. They know nothing of a reward
model's error: that of :func:`direct_method` is about contexts only.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from recsim_drpo.core import scratch
from recsim_drpo.ope.intervals import Range, log_interval, logit_interval
from recsim_drpo.reporting.statistics import Estimate, mean_interval, ratio_interval

Floats = NDArray[np.float64]

_NO_ANSWER = Estimate(math.nan, math.nan, math.nan)


def ips(
    rewards: ArrayLike,
    weights: ArrayLike,
    *,
    reward_range: Range | None = None,
    requests: ArrayLike | None = None,
) -> Estimate:
    r"""Inverse propensity scoring, :math:`\frac1n \sum_n w_n r_n`.

    Source: Horvitz and Thompson, 1952.

    Args:
        rewards: (n,).
        weights: (n,), ≥ 0: the policy's probability of what was shown, by the logger's.
        reward_range: the least and the largest reward there can be, for the interval; ``None``
            leaves it normal, and so in the other formulas.
        requests: (n,), integers, alike for rounds that came together, such as the places of one
            page: the interval is over requests then. ``None``: each round is its own.

    Raises:
        ValueError: arrays are empty, of different shapes, or hold what is no finite number, or a
            weight is negative.
    """
    r, w = _checked(rewards=rewards, weights=weights)
    weighed = scratch.elementwise(np.multiply, w, r)
    return log_interval(mean_interval(weighed, requests), reward_range)


def snips(
    rewards: ArrayLike,
    weights: ArrayLike,
    *,
    reward_range: Range | None = None,
    requests: ArrayLike | None = None,
) -> Estimate:
    r"""Self-normalised inverse propensity scoring, :math:`\sum_n w_n r_n / \sum_n w_n`.

    With weights of clusters of items it is the marginalised kind. Arguments and errors are
    those of :func:`ips`; NaN where all weights are 0. Source: Swaminathan and Joachims, 2015.
    """
    r, w = _checked(rewards=rewards, weights=weights)
    mean = scratch.mean(w)
    if mean == 0:
        return _NO_ANSWER
    # Scaled to mean 1, so that weights of any size are no rounding.
    scaled = scratch.elementwise(lambda part: part / mean, w)
    normal = ratio_interval(scratch.elementwise(np.multiply, scaled, r), scaled, requests)
    ess = effective_sample_size(_summed(scaled, requests))
    return logit_interval(normal, reward_range, ess)


def mean_reward(
    rewards: ArrayLike,
    *,
    reward_range: Range | None = None,
    requests: ArrayLike | None = None,
) -> Estimate:
    """The mean of rewards (n,), the value of who logged them; the rest is as of :func:`ips`."""
    (r,) = _checked(rewards=rewards)
    return logit_interval(
        mean_interval(r, requests), reward_range, float(len(_summed(r, requests)))
    )


def _summed(values: Floats, requests: ArrayLike | None) -> Floats:
    """Sums (G,) of values (n,) by request; the values themselves without requests."""
    if requests is None:
        return values
    return scratch.sums_by_label(values, np.asarray(requests))


def direct_method(
    expected: ArrayLike,
    *,
    reward_range: Range | None = None,
    requests: ArrayLike | None = None,
) -> Estimate:
    r"""The mean of what the reward model expects, :math:`\frac1n \sum_n \hat q(x_n, \pi)`.

    The interval is over contexts and not about the model.

    Args:
        expected: (n,), :math:`\hat q(x_n, \pi)`.
        reward_range: as of :func:`ips`.
        requests: as of it.

    Raises:
        ValueError: as :func:`ips`.
    """
    (q,) = _checked(expected=expected)
    return log_interval(mean_interval(q, requests), reward_range)


def doubly_robust(
    rewards: ArrayLike,
    weights: ArrayLike,
    predicted: ArrayLike,
    expected: ArrayLike,
    *,
    reward_range: Range | None = None,
    requests: ArrayLike | None = None,
) -> Estimate:
    r"""The direct method, its error on the rounds that were logged put right by weighting.

    :math:`\frac1n \sum_n \hat q(x_n, \pi) + w_n (r_n - \hat q(x_n, i_n))`. Source: Dudík, Langford
    and Li, 2011.

    Args:
        rewards: (n,).
        weights: (n,), ≥ 0.
        predicted: (n,), :math:`\hat q(x_n, i_n)`, by a model that has not seen round n.
        expected: (n,), :math:`\hat q(x_n, \pi)`, by the same model.
        reward_range: as of :func:`ips`.
        requests: as of it.

    Raises:
        ValueError: as :func:`ips`.
    """
    r, w, logged, target = _checked(
        rewards=rewards, weights=weights, predicted=predicted, expected=expected
    )
    columns = r, w, logged, target
    value = scratch.elementwise(lambda r, w, logged, target: target + w * (r - logged), *columns)
    return log_interval(mean_interval(value, requests), reward_range)


def rewarded_matches(rewards: ArrayLike, weights: ArrayLike) -> tuple[int, int]:
    """How many rounds with weight were rewarded, and how many rounds have weight.

    A reward is one above 0, or above the least where some are negative. Arguments and errors as of
    :func:`ips`.
    """
    r, w = _checked(rewards=rewards, weights=weights)
    least = min(0.0, float(r.min()))
    rewarded = scratch.total(lambda r, w: np.count_nonzero((w > 0) & (r > least)), r, w)
    return int(rewarded), int(scratch.total(lambda w: np.count_nonzero(w > 0), w))


def effective_sample_size(weights: ArrayLike) -> float:
    """(Σw)² / Σw² (Kish, 1965): n where all weights are equal; 0 where all are 0.

    Args:
        weights: (n,), ≥ 0.

    Raises:
        ValueError: as :func:`ips`.
    """
    (w,) = _checked(weights=weights)
    largest = w.max()
    if largest == 0:
        return 0.0
    # Scaled, so that no square can underflow.
    whole = scratch.total(lambda part: part / largest, w)
    return whole**2 / scratch.total(lambda part: np.square(part / largest), w)


def r_squared(rewards: ArrayLike, predicted: ArrayLike) -> float:
    """1 − Σ(r − q̂)² / Σ(r − r̄)² of predictions (n,) of rewards (n,); NaN where these are equal.

    Raises:
        ValueError: as :func:`ips`.
    """
    r, q = _checked(rewards=rewards, predicted=predicted)
    mean = scratch.mean(r)
    total = scratch.total(lambda part: np.square(part - mean), r)
    missed = scratch.total(lambda one, other: np.square(one - other), r, q)
    return 1.0 - missed / total if total > 0 else math.nan


def _checked(**columns: ArrayLike) -> list[Floats]:
    """The columns as float64 (n,), n ≥ 1, finite, weights not negative."""
    arrays = {name: scratch.floats(column) for name, column in columns.items()}
    shape = next(iter(arrays.values())).shape
    for name, array in arrays.items():
        if array.ndim != 1 or array.size == 0 or array.shape != shape:
            raise ValueError(
                f"{name} has shape {array.shape}; one number a round is due, here {shape}, and "
                "at least one round."
            )
        wrong = int(scratch.total(lambda part: np.count_nonzero(~np.isfinite(part)), array))
        if wrong:
            raise ValueError(f"{wrong} of {array.size} {name} are NaN or infinite.")
        if name == "weights" and array.min() < 0:
            negative = int(scratch.total(lambda part: np.count_nonzero(part < 0), array))
            raise ValueError(
                f"{negative} of {array.size} weights are negative "
                f"(least: {array.min():.4g}); a weight is a ratio of probabilities."
            )
    return list(arrays.values())
