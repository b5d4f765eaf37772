"""Statistics of a benchmark: agents compared over seeds and tasks (scenarios).

After Agarwal et al., *Deep Reinforcement Learning at the Edge of the Statistical Precipice*
(NeurIPS 2021). Scores are arrays (num_seeds, num_tasks), or (num_seeds,) of a single task; anything
that is not finite is refused, since no statistic here has a meaning for a run that diverged.

Intervals are percentiles of a bootstrap at 95 %, and a single seed has an interval of NaN. With few
seeds they are too narrow, since the bootstrap's variance is (n - 1) / n of the unbiased one and its
quantiles are the normal ones: for the mean of normal scores in one task they cover 83 % at 5 seeds,
90 % at 10 and 92 % at 20; in five independent tasks 91, 92 and 95 %.

Which seeds are resampled together matters more than which statistic. By default those of each task
are resampled on their own, as in the article: right where the runs of one task have nothing to do
with those of another. Where seed 3 is the same users, catalogue or random log in every task, as it
is when scenarios are generated from the same seeds, scores of one seed rise and fall together, and
that interval is too narrow. ``shared_seeds=True`` then resamples whole rows. It is right in both
cases, and only noisier in the first. With 20 seeds, six tasks and a correlation of 0.8 between them
the default covers 57 %, whole rows 93 %. Fewer than ten rows are left out one at a time instead,
and the ends are Student's t by the jackknife, of a mean :func:`.statistics.seed_interval`: of the
interquartile mean of such runs they cover 95 % at 2 seeds and 93 % at 3, resampled rows 48 and 71.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from recsim_drpo.core.messages import shown
from recsim_drpo.reporting.resampling import VALUES_AT_ONCE, intervals
from recsim_drpo.reporting.statistics import Estimate

NUM_RESAMPLES = 10_000
"""An end of an interval then has a Monte-Carlo error of 2.7 % of the standard error."""

_RANDOM_FLIPS = 20_000
_LEAST_VARIANCE = 1e-5  # by the median one
_LEAST_EXCESS = 1e-6  # of the variance of log s²: d_0 is then 2,000,000 or more

Statistic = Callable[[NDArray[np.float64]], NDArray[np.float64]]
"""A function of scores (..., num_seeds, num_tasks) that gives values (...)."""


def mean(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean over seeds and tasks: (..., num_seeds, num_tasks) to (...)."""
    values: NDArray[np.float64] = scores.mean(axis=(-2, -1))
    return values


def median(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Median over tasks of the mean over seeds: (..., num_seeds, num_tasks) to (...)."""
    values: NDArray[np.float64] = np.median(scores.mean(axis=-2), axis=-1)
    return values


def interquartile_mean(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean of the middle half of all runs: (..., num_seeds, num_tasks) to (...).

    As :func:`scipy.stats.trim_mean`: ⌊N / 4⌋ of the N runs are cut at either end, whatever their
    task.
    """
    runs = scores.reshape(*scores.shape[:-2], -1)
    count = runs.shape[-1]
    cut = count // 4
    runs = np.partition(runs, (cut, count - cut - 1), axis=-1)
    values: NDArray[np.float64] = runs[..., cut : count - cut].mean(axis=-1)
    return values


def optimality_gap(scores: NDArray[np.float64], gamma: float = 1.0) -> NDArray[np.float64]:
    """By how much runs miss ``gamma`` on average: (..., num_seeds, num_tasks) to (...).

    gamma - mean(min(score, gamma)): what exceeds ``gamma`` makes up for nothing. Smaller is better.
    """
    values: NDArray[np.float64] = gamma - np.minimum(scores, gamma).mean(axis=(-2, -1))
    return values


def stratified_bootstrap(
    scores: ArrayLike,
    statistic: Statistic,
    *,
    shared_seeds: bool = False,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
    values_at_once: int = VALUES_AT_ONCE,
) -> Estimate:
    """A statistic of an agent's scores with a 95 % interval over seeds, the tasks being fixed.

    Args:
        scores: (num_seeds, num_tasks) or (num_seeds,).
        statistic: vectorised over leading axes: (..., num_seeds, num_tasks) to (...).
        shared_seeds: resample whole rows, for seeds that tasks have in common, or leave out each of
            fewer than ten; otherwise the seeds of each task on their own (see the top of this
            module).
        num_resamples: of the bootstrap.
        seed: of the bootstrap's own generator.
        values_at_once: scores that are resampled at once; changes nothing but memory and speed.

    Raises:
        ValueError: scores are not finite, empty, or of another shape.
    """
    samples = [_checked("scores", scores)]
    interval = intervals(statistic, samples, shared_seeds, num_resamples, seed, values_at_once)
    return Estimate(*interval.tolist())


def paired_difference(
    a: ArrayLike, b: ArrayLike, *, num_resamples: int = NUM_RESAMPLES, seed: int = 0
) -> Estimate:
    """Mean of a - b over seeds and tasks, where both agents learnt from the same log of each seed.

    What a log does to both agents cancels in the difference. Seeds count as shared by the tasks,
    which holds whether or not they are.

    Args:
        a: (num_seeds, num_tasks) or (num_seeds,).
        b: of the same shape, rows in the same order.
        num_resamples: of the bootstrap.
        seed: of the bootstrap's own generator.

    Raises:
        ValueError: scores are not finite, empty, or of different shapes.
    """
    return stratified_bootstrap(
        _differences(a, b), mean, shared_seeds=True, num_resamples=num_resamples, seed=seed
    )


def sign_flip_p_value(a: ArrayLike, b: ArrayLike, *, exact_up_to: int = 12) -> float:
    """Two-sided p-value of the mean of a - b, paired by seed, by flipping signs of whole seeds.

    Where the agents are alike, swapping them within a seed changes nothing, so that the observed
    difference is one of 2^n equally likely ones. Exact for few seeds; for more of 20,000 random
    flips and the observed one, as (1 + hits) / 20,001, which is never too small (Phipson and Smyth,
    *Permutation P-values Should Never Be Zero*, 2010). No p-value is below 2 / 2^n: five seeds give
    0.0625 at best, six 0.031, and m comparisons under :func:`holm` need n > log2(2 m / 0.05).

    Args:
        a: (num_seeds, num_tasks) or (num_seeds,).
        b: of the same shape, rows in the same order.
        exact_up_to: seeds up to which all 2^n flips are tried.

    Raises:
        ValueError: scores are not finite, empty, or of different shapes.
    """
    by_seed = _differences(a, b).mean(axis=1)
    count = len(by_seed)
    if count <= exact_up_to:
        signs = np.array(list(itertools.product((1.0, -1.0), repeat=count)))
    else:
        signs = np.random.default_rng(0).choice((1.0, -1.0), size=(_RANDOM_FLIPS, count))
        signs = np.vstack([np.ones(count), signs])
    # Sums that are equal on paper differ by rounding.
    rounding = 1e-12 * np.abs(by_seed).sum()
    return float((np.abs(signs @ by_seed) >= abs(by_seed.sum()) - rounding).mean())


def moderated_p_values(differences: ArrayLike) -> NDArray[np.float64]:
    r"""Two-sided p-values of the means of many rows of few seeds, by a moderated t statistic.

    After Smyth, *Linear Models and Empirical Bayes Methods for Assessing Differential Expression in
    Microarray Experiments* (2004), which Python has no library for. A variance of three values is
    hardly known. Rows are taken to have variances from a common scaled inverse χ² law of
    :math:`d_0` degrees of freedom and scale :math:`s_0^2`, fitted to the mean and variance of
    :math:`\log s_i^2`; then :math:`\bar x_i \sqrt n / \tilde s_i` with
    :math:`\tilde s_i^2 = (d_0 s_0^2 + d s_i^2) / (d_0 + d)`, :math:`d = n - 1`, has a t
    distribution of :math:`d_0 + d` degrees of freedom, at most the :math:`m d` that all rows have
    together, where the mean is 0. Rows of equal variances are pooled (:math:`d_0 = \infty`), and a
    single row has Student's own t. Variances below 1e-5 of the median one are raised to that.

    Args:
        differences: (m, n), rows of n seeds each.

    Returns:
        (m,), 1 where there is a single seed, or where all values of all rows are equal to 0.

    Raises:
        ValueError: a value is not finite, or the array has another shape or no seeds.
    """
    from scipy import stats

    rows = _checked("differences", differences)
    freedom = rows.shape[1] - 1
    mean = np.abs(rows.mean(axis=1))
    if freedom < 1:
        return np.ones(len(rows))
    variances = rows.var(axis=1, ddof=1)
    positive = variances[variances > 0]
    if len(positive) == 0:
        return np.where(mean > 0, 0.0, 1.0)
    variances = np.maximum(variances, _LEAST_VARIANCE * np.median(positive))
    prior, scale = _variance_prior(variances, freedom)
    if math.isinf(prior):
        moderated = np.full(len(rows), scale)
    else:
        moderated = (prior * scale + freedom * variances) / (prior + freedom)
    t = mean * np.sqrt(rows.shape[1] / moderated)
    return np.asarray(2.0 * stats.t.sf(t, min(prior + freedom, freedom * len(rows))))


def _variance_prior(variances: NDArray[np.float64], freedom: int) -> tuple[float, float]:
    """d_0 and s_0² of Smyth (2004), section 6.2, by the moments of log s²."""
    from scipy import optimize, special

    if len(variances) < 2:
        return 0.0, 0.0
    half = freedom / 2
    logs = np.log(variances) - special.digamma(half) + math.log(half)
    excess = float(logs.var(ddof=1) - special.polygamma(1, half))
    if excess < _LEAST_EXCESS:
        return math.inf, float(variances.mean())
    # The trigamma function at y lies between 1/y + 1/(2 y²) and 1/y + 1/y².
    low, high = ((1 + math.sqrt(1 + c * excess)) / (2 * excess) for c in (2, 4))
    prior = 2 * optimize.brentq(lambda y: float(special.polygamma(1, y)) - excess, low, high)
    scale = float(np.exp(logs.mean() + special.digamma(prior / 2) - math.log(prior / 2)))
    return prior, scale


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """p-values of many comparisons, adjusted to bound the chance of any false positive.

    The i-th smallest of m is multiplied by m - i + 1, made monotone and cut at 1 (Holm, *A Simple
    Sequentially Rejective Multiple Test Procedure*, 1979). No assumption about how the comparisons
    depend on one another. SciPy does not have it, and statsmodels would bring pandas along.

    Args:
        p_values: any shape, in [0, 1].

    Returns:
        Adjusted p-values of the same shape.

    Raises:
        ValueError: a value is NaN or outside of [0, 1].
    """
    raw = np.asarray(p_values, dtype=np.float64)
    outside = int((~((raw >= 0) & (raw <= 1))).sum())
    if outside:
        raise ValueError(f"p_values: {outside} of {raw.size} values are not in [0, 1].")
    order = np.argsort(raw, axis=None)
    stepped = raw.ravel()[order] * np.arange(raw.size, 0, -1)
    adjusted = np.empty(raw.size)
    adjusted[order] = np.minimum(np.maximum.accumulate(stepped), 1.0)
    return adjusted.reshape(raw.shape)


def probability_of_improvement(
    a: ArrayLike,
    b: ArrayLike,
    *,
    shared_seeds: bool = False,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
    values_at_once: int = VALUES_AT_ONCE,
) -> Estimate:
    """P(X > Y) + P(X = Y) / 2 for runs X of a and Y of b in one task, averaged over tasks.

    Every run of a meets every run of b (Mann and Whitney's U / (n_a n_b)). The agents are resampled
    apart, so that where both learnt from the same logs the interval is rather too wide; what
    pairing gives is in :func:`paired_difference`.

    Args:
        a: (num_seeds, num_tasks) or (num_seeds,).
        b: with the same tasks, of any number of seeds.
        shared_seeds: as in :func:`stratified_bootstrap`.
        num_resamples: of the bootstrap.
        seed: of the bootstrap's own generator.
        values_at_once: pairs of scores that are resampled at once.

    Raises:
        ValueError: scores are not finite, empty, or of different tasks.
    """
    both = [_checked("a", a), _checked("b", b)]
    if both[0].shape[1] != both[1].shape[1]:
        raise ValueError(f"a has {both[0].shape[1]} tasks, b has {both[1].shape[1]}.")
    interval = intervals(_wins, both, shared_seeds, num_resamples, seed, values_at_once)
    return Estimate(*interval.clip(0.0, 1.0).tolist())


def performance_profile(
    scores: ArrayLike,
    thresholds: ArrayLike,
    *,
    shared_seeds: bool = False,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
) -> NDArray[np.float64]:
    """Share of runs with a score above each threshold, with a 95 % band at each.

    Strictly above, over all runs of all tasks: the score distribution of the article. The band
    holds at each threshold, not for the whole curve at once.

    Args:
        scores: (num_seeds, num_tasks) or (num_seeds,).
        thresholds: (num_thresholds,), in any order.
        shared_seeds: as in :func:`stratified_bootstrap`.
        num_resamples: of the bootstrap.
        seed: of the bootstrap's own generator.

    Returns:
        (num_thresholds, 3): value, low, high, in [0, 1].

    Raises:
        ValueError: scores are not finite, thresholds are NaN, or either is empty or of another
            shape.
    """
    levels = np.asarray(thresholds, dtype=np.float64)
    if levels.ndim != 1 or levels.size == 0 or np.isnan(levels).any():
        raise ValueError(f"thresholds={shown(thresholds)} is not a list of numbers.")

    def profile(runs: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.stack([(runs > level).mean(axis=(-2, -1)) for level in levels], axis=-1)

    bands = intervals(profile, [_checked("scores", scores)], shared_seeds, num_resamples, seed)
    return bands.clip(0.0, 1.0)


def _checked(name: str, values: ArrayLike) -> NDArray[np.float64]:
    """Finite float64 values as (num_seeds, num_tasks)."""
    scores = np.asarray(values, dtype=np.float64)
    if scores.ndim not in (1, 2) or scores.size == 0:
        raise ValueError(
            f"{name} has shape {scores.shape}, not (num_seeds, num_tasks) or (num_seeds,)."
        )
    missing = int((~np.isfinite(scores)).sum())
    if missing:
        raise ValueError(
            f"{name}: {missing} of {scores.size} values are not finite. Give runs that diverged a "
            "score of their own, or leave their seeds out of every agent."
        )
    return scores.reshape(len(scores), -1)


def _differences(a: ArrayLike, b: ArrayLike) -> NDArray[np.float64]:
    first, second = _checked("a", a), _checked("b", b)
    if first.shape != second.shape:
        raise ValueError(f"a has shape {np.shape(a)}, b has {np.shape(b)}: they are not paired.")
    return first - second


def _wins(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    signs = np.sign(a[..., :, None, :] - b[..., None, :, :])
    values: NDArray[np.float64] = 0.5 + 0.5 * signs.mean(axis=(-3, -2, -1))
    return values
