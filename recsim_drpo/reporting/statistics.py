"""Statistics of the benchmark: intervals, Zipf exponents, concentration, roots."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from recsim_drpo.core import scratch

_NORMAL_975 = 1.959963984540054
_MANY_RANKS = 2**15  # above, the bootstrap goes through what was counted alone
_NOTHING = 1e-7  # below it a mean of float32 rewards is rounding


class Estimate(NamedTuple):
    """A value with a 95 % interval.

    Attributes:
        value: the point estimate.
        low: lower end of the interval.
        high: upper end of the interval.
    """

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"

    def scaled(self, factor: float) -> Estimate:
        """The estimate of ``factor`` (positive) times the quantity."""
        return Estimate(*(factor * x for x in self))

    def mapped(self, function: Callable[[float], float]) -> Estimate:
        """The estimate of an increasing, affine function of the quantity."""
        return Estimate(*(function(x) for x in self))


def mean_interval(values: ArrayLike, clusters: ArrayLike | None = None) -> Estimate:
    """Mean of independent values with its normal 95 % interval, x̄ ± 1.96 s / √n.

    For many values (users). A single value has an interval of NaN.

    Args:
        values: (n,), n ≥ 1.
        clusters: (n,), labels of any kind; values of one cluster (rows of a request) may depend on
            each other, those of different ones do not. The standard error is then
            √(G / (G - 1) Σ_g (Σ_(i in g) x_i - x̄)²) / n over the G clusters (Liang and Zeger,
            1986), that of independent values where each is a cluster; NaN for a single cluster.

    Raises:
        ValueError: another number of labels than of values.
    """
    x = scratch.floats(values)
    mean = scratch.mean(x)
    if clusters is not None:
        residuals = scratch.elementwise(lambda part: part - mean, x)
        half = _NORMAL_975 * _clustered_error(residuals, np.asarray(clusters))
    elif x.size < 2:
        half = math.nan
    else:
        half = _NORMAL_975 * scratch.deviation(x, mean) / math.sqrt(x.size)
    return Estimate(mean, mean - half, mean + half)


def _clustered_error(residuals: NDArray[np.float64], clusters: NDArray[Any]) -> float:
    """The standard error of a mean, of residuals (n,) that depend on each other by cluster (n,)."""
    if clusters.shape != residuals.shape:
        raise ValueError(f"{clusters.shape} labels of clusters for {residuals.shape} values.")
    sums = scratch.sums_by_label(residuals, clusters)
    if len(sums) < 2:
        return math.nan
    return math.sqrt(len(sums) / (len(sums) - 1) * float(sums @ sums)) / residuals.size


def ratio_interval(
    numerators: ArrayLike, denominators: ArrayLike, clusters: ArrayLike | None = None
) -> Estimate:
    """Ratio of means Σa / Σb of paired values, 95 % interval by the delta method.

    The linearisation of ā / b̄ has the standard error of (a - (ā / b̄) b) / b̄. NaN where b̄ is 0, to
    1e-7. Pairs of one of the ``clusters`` may depend on each other, as of :func:`mean_interval`.
    """
    a, b = scratch.floats(numerators), scratch.floats(denominators)
    mean = scratch.mean(b)
    if abs(mean) < _NOTHING:
        return Estimate(math.nan, math.nan, math.nan)
    ratio = scratch.mean(a) / mean
    linear = scratch.elementwise(lambda x, y: (x - ratio * y) / mean, a, b)
    residual = mean_interval(linear, clusters)
    half = residual.high - residual.value
    return Estimate(ratio, ratio - half, ratio + half)


def seed_interval(values: ArrayLike) -> Estimate:
    """Mean over seeds with Student's t 95 % interval: for the few values that seeds give.

    A single seed has an interval of NaN.
    """
    from scipy import stats

    x = np.asarray(values, dtype=np.float64)
    mean = float(x.mean())
    if x.size < 2:
        return Estimate(mean, math.nan, math.nan)
    half = float(stats.t.ppf(0.975, x.size - 1) * x.std(ddof=1) / math.sqrt(x.size))
    return Estimate(mean, mean - half, mean + half)


def gini(counts: ArrayLike) -> float:
    """Gini coefficient of non-negative counts: 0 when all are equal, (n - 1) / n when one has all.

    G = Σ_i (2 i - n - 1) x_(i) / (n Σ x), with x sorted ascending. NaN where all counts are 0.
    """
    given = scratch.floats(counts)
    n = given.size
    x = scratch.room((n,), np.float64)
    x[:] = given
    x.sort()
    whole = scratch.total(lambda part: part, x)
    if whole == 0:
        return math.nan
    weighed = [
        float(((2 * np.arange(rows.start + 1, rows.stop + 1) - n - 1) * x[rows]).sum())
        for rows in scratch.blocks(n)
    ]
    return math.fsum(weighed) / (n * whole)


def zipf_exponent(counts_by_rank: ArrayLike) -> float:
    """Maximum-likelihood exponent s of p(r) ∝ r^-s on the finite support r = 1, …, N.

    The likelihood depends on the counts through the mean log rank alone: solved is
    E_s[log r] = mean log r, whose left side falls in s, on [-5, 20].

    Args:
        counts_by_rank: (N,) non-negative counts or probabilities, entry r - 1 for rank r, where
            ranks are the *true* popularity ranks. (Ranks by the counts themselves bias it.)

    Returns:
        The exponent; NaN where there are no counts or N = 1.
    """
    counts = np.asarray(counts_by_rank, dtype=np.float64)
    if counts.sum() <= 0 or counts.size < 2:
        return math.nan
    log_ranks = np.log(np.arange(1, counts.size + 1))
    return _exponent_of_mean(float(counts @ log_ranks / counts.sum()), log_ranks)


def _exponent_of_mean(mean_log_rank: float, log_ranks: NDArray[np.float64]) -> float:
    """The s with E_s[log r] = ``mean_log_rank``; it falls as the mean grows."""

    def excess(exponent: float) -> float:
        logits = -exponent * log_ranks
        weights = np.exp(logits - logits.max())
        return float(weights @ log_ranks / weights.sum() - mean_log_rank)

    return monotone_root(excess, -5.0, 20.0)


def monotone_root(
    function: Callable[[float], float], low: float, high: float, tolerance: float = 1e-14
) -> float:
    """The root in [low, high] of a function that rises or falls throughout, to ``tolerance``.

    By Brent's method (:func:`scipy.optimize.brentq`). Where the function does not change its sign,
    the end at which it is nearer to 0, or ``high`` where both are alike.
    """
    from scipy.optimize import brentq

    at_low, at_high = function(low), function(high)
    if (at_low < 0.0 < at_high) or (at_high < 0.0 < at_low):
        return float(brentq(function, low, high, xtol=tolerance))
    return low if abs(at_low) < abs(at_high) else high


def zipf_interval(
    counts_by_rank: ArrayLike, *, seed: int = 0, num_resamples: int = 200
) -> Estimate:
    """:func:`zipf_exponent` with a 95 % percentile bootstrap interval over the counted draws.

    Args:
        counts_by_rank: (N,) integer counts by true rank.
        seed: of the bootstrap's own generator.
        num_resamples: multinomial resamples of the counts.
    """
    counts = np.asarray(counts_by_rank, dtype=np.int64)
    total = int(counts.sum())
    if total == 0:
        return Estimate(math.nan, math.nan, math.nan)
    if counts.size < 2:
        return Estimate(math.nan, math.nan, math.nan)
    generator = np.random.default_rng(seed)
    log_ranks = np.log(np.arange(1, counts.size + 1))
    shares, log_drawn = counts / total, log_ranks
    if counts.size > _MANY_RANKS:
        drawn = _drawn_ranks(counts)
        shares, log_drawn = shares[drawn], log_ranks[drawn]
    # One resample at a time: together they would fill gigabytes for a million items.
    means = [generator.multinomial(total, shares) @ log_drawn / total for _ in range(num_resamples)]
    falling = np.sort(means)[::-1]

    def percentile(share: float) -> float:
        """Of the exponents, which rise as the means fall: only two of them need be solved for."""
        lower, rest = divmod(share * (num_resamples - 1), 1.0)
        around = falling[int(lower) : int(lower) + 2]
        exponents = [_exponent_of_mean(float(mean), log_ranks) for mean in around]
        return float(np.quantile(exponents, rest)) if len(exponents) > 1 else exponents[0]

    return Estimate(zipf_exponent(counts), percentile(0.025), percentile(0.975))


def _drawn_ranks(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Places of what was counted, and the last: what is drawn of these is what is drawn of all.

    An item of share 0 takes no random number, but the last of all takes what is left without one.
    """
    return np.union1d(np.flatnonzero(counts), [counts.size - 1])


def counts_by_rank(counts: ArrayLike, popularity: ArrayLike) -> NDArray[np.float64]:
    """Reorder per-item counts (N,) by falling popularity (N,), ties by item."""
    order = np.argsort(-np.asarray(popularity, dtype=np.float64), kind="stable")
    ordered: NDArray[np.float64] = np.asarray(counts, dtype=np.float64)[order]
    return ordered
