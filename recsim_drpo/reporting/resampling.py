"""Intervals of a statistic of runs over seeds: by bootstrap, or of few seeds by the jackknife."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from recsim_drpo.core.validation import check_integer

ENOUGH_SEEDS = 10
"""From so many on, seeds that tasks share are resampled."""

VALUES_AT_ONCE = 2**20
"""Scores that are resampled at once: what fits into a cache."""

_ENDS = (2.5, 97.5)


def intervals(
    statistic: Callable[..., NDArray[np.float64]],
    samples: list[NDArray[np.float64]],
    shared_seeds: bool,
    num_resamples: int,
    seed: int,
    values_at_once: int = VALUES_AT_ONCE,
) -> NDArray[np.float64]:
    """Value, low and high of a statistic along the last axis, samples being resampled apart.

    Args:
        statistic: of samples with a leading axis, (..., num_seeds, num_tasks) each.
        samples: (num_seeds, num_tasks) each, of the same tasks.
        shared_seeds: whether tasks share their seeds, so that whole rows are resampled, or each of
            fewer than :data:`ENOUGH_SEEDS` is left out.
        num_resamples: of the bootstrap.
        seed: of the bootstrap's own generator.
        values_at_once: that are resampled at once; changes nothing but memory and speed.
    """
    check_integer("num_resamples", num_resamples, 1)
    # With a leading axis of 1, so that it is summed in the order in which resamples are.
    value = statistic(*(sample[None] for sample in samples))[0]
    fewest = min(map(len, samples))
    if fewest < 2:
        low = high = np.full_like(value, math.nan)
    elif shared_seeds and fewest < ENOUGH_SEEDS:
        half = _half_width(statistic, samples)
        low, high = value - half, value + half
    else:
        generator = np.random.default_rng(seed)
        resampled = _resamples(generator, samples, shared_seeds, num_resamples, values_at_once)
        values = np.concatenate([statistic(*drawn) for drawn in resampled])
        low, high = np.percentile(values, _ENDS, axis=0)
    return np.stack([value, low, high], axis=-1)


def _half_width(
    statistic: Callable[..., NDArray[np.float64]], samples: list[NDArray[np.float64]]
) -> NDArray[np.float64]:
    """Half of Student's t interval of a statistic, by the jackknife over seeds (Miller, 1974)."""
    from scipy import stats

    variance: NDArray[np.float64] | float = 0.0
    for place, sample in enumerate(samples):
        n = len(sample)
        without = np.stack([np.delete(sample, seed, axis=0) for seed in range(n)])
        all_of = [np.broadcast_to(other, (n, *other.shape)) for other in samples]
        left = statistic(*all_of[:place], without, *all_of[place + 1 :])
        variance = variance + (n - 1) * left.var(axis=0)
    quantile = stats.t.ppf(0.975, min(map(len, samples)) - 1)
    return np.asarray(quantile * np.sqrt(variance))


def _resamples(
    generator: np.random.Generator,
    samples: list[NDArray[np.float64]],
    shared_seeds: bool,
    num_resamples: int,
    values_at_once: int,
) -> Iterator[list[NDArray[np.float64]]]:
    """Resamples (chunk, num_seeds, num_tasks) of each sample, in chunks of so many values."""
    num_tasks = samples[0].shape[1]
    # Two samples are compared run by run.
    size = num_tasks * math.prod(len(sample) for sample in samples)
    chunk = max(1, values_at_once // size)
    tasks = np.arange(num_tasks)
    for start in range(0, num_resamples, chunk):
        count = min(chunk, num_resamples - start)
        drawn = []
        for sample in samples:
            columns = 1 if shared_seeds else num_tasks
            rows = generator.integers(len(sample), size=(count, len(sample), columns))
            drawn.append(sample[rows, tasks])
        yield drawn
