"""Features of a log that a practitioner can measure.

A log has contexts, items and rewards; who logged what, the noise in the rewards and the users'
interests are not in it. The features use no more than that.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from recsim_drpo.core import scratch
from recsim_drpo.core.transitions import Transitions
from recsim_drpo.datasets.stream import StreamedLog
from recsim_drpo.datasets.together import Datasets
from recsim_drpo.reporting.statistics import gini

FEATURES = (
    "rounds",
    "above_mean",
    "skewness",
    "reward_gini",
    "signal_to_noise",
    "effective_items",
)

_ROUNDING = 1e-12  # of rewards in [0, 1]: those that are so near to their mean are at it


_RADIUS = 100_000  # transitions that are read at a time


def features_of_log(log: Transitions) -> dict[str, float]:
    """:func:`log_features` of a log with the info column ``item_id``."""
    return log_features(log.rewards.cpu().numpy(), log.infos["item_id"].cpu().numpy())


def features_of_datasets(datasets: Datasets) -> dict[str, float]:
    """:func:`log_features` of datasets that are one log, read part by part.

    Args, and errors: as of :func:`recsim_drpo.datasets.load.load_transitions`.
    """
    log = StreamedLog(datasets, radius=_RADIUS, infos=["item_id"])
    rewards = scratch.room((len(log),), np.float32)
    items, done = scratch.room((len(log),), np.int64), 0
    for part in log.parts():
        here = slice(done, done + len(part))
        rewards[here], items[here] = part.rewards.numpy(), part.infos["item_id"].numpy()
        done += len(part)
        scratch.let_go()
    return log_features(rewards, items)


def log_features(rewards: ArrayLike, items: ArrayLike) -> dict[str, float]:
    r"""Features of a log, by name.

    ``rounds``; ``above_mean``, the share of rounds whose reward is above the mean; ``skewness`` of
    the rewards; ``reward_gini``, the Gini coefficient of the rewards minus the least of them;
    ``signal_to_noise``, the variance of items' mean rewards by the
    variance within an item, from items that were shown at least twice (what differs within an item
    is noise and the users' taste, which a log cannot tell apart without a model); and
    ``effective_items``, :math:`1 / \sum_i p_i^2` of the share :math:`p_i` of rounds of each item.

    None changes where all rewards are shifted, or are multiplied by what is positive.

    Args:
        rewards: (N,), finite, not all the same.
        items: int (N,), ≥ 0.

    Raises:
        ValueError: all rewards are the same, or one is not finite.
    """
    paid = _to_unit(scratch.floats(rewards))
    shown = np.asarray(items, dtype=np.int64)
    shares = np.bincount(shown) / len(shown)
    middle = scratch.mean(paid)
    deviations = scratch.elementwise(lambda part: part - middle, paid)
    spread = math.sqrt(_mean_of(np.square, deviations))
    skewness = _mean_of(lambda part: part**3, deviations) / spread**3
    return {
        "rounds": float(len(paid)),
        "above_mean": _mean_of(lambda part: part > _ROUNDING, deviations),
        "skewness": skewness,
        "reward_gini": gini(paid),
        "signal_to_noise": signal_to_noise(paid, shown),
        "effective_items": float(1.0 / (shares**2).sum()),
    }


def _mean_of(
    function: Callable[[NDArray[np.float64]], NDArray[Any]], column: NDArray[np.float64]
) -> float:
    return scratch.total(function, column) / len(column)


def _to_unit(rewards: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rewards shifted and scaled into [0, 1]: the least to 0, the largest to [1/2, 1)."""
    if scratch.total(lambda part: ~np.isfinite(part), rewards):
        raise ValueError("A reward is not finite; features of a log need finite ones.")
    least, largest = rewards.min(initial=np.inf), rewards.max(initial=-np.inf)
    if not least < largest:
        known = f"All {len(rewards):,} rewards are {least:g}" if len(rewards) else "No rewards"
        raise ValueError(
            f"{known}: there is nothing to learn from, whether by filtering, weighing or cloning. "
            "Import the log with a reward that differs between rounds."
        )
    # By a power of two, which rounds nothing.
    shift = -int(np.frexp(largest - least)[1])
    return scratch.elementwise(lambda part: np.ldexp(part - least, shift), rewards)


def signal_to_noise(rewards: NDArray[np.float64], items: NDArray[np.int64]) -> float:
    """Ratio of the variance between items to that within items, by one-way analysis of variance.

    The moment estimator for groups of unequal size: (MSB - MSW) / n_0 / MSW, at least 0, over items
    that were shown twice or more; 0 where fewer than two were.

    Args:
        rewards: (N,).
        items: (N,), ≥ 0.
    """
    counts = np.bincount(items)
    often = counts >= 2
    sizes = counts[often].astype(np.float64)
    if len(sizes) < 2:
        return 0.0
    total = sizes.sum()
    sums, squares = np.zeros((2, len(counts)))
    for rows in scratch.blocks(len(items)):
        sums += np.bincount(items[rows], rewards[rows], len(counts))
        squares += np.bincount(items[rows], rewards[rows] ** 2, len(counts))
    sums, squares = sums[often], squares[often]
    within = float((squares - sums**2 / sizes).sum() / (total - len(sizes)))
    middle = sums.sum() / total
    between = float((sizes * (sums / sizes - middle) ** 2).sum() / (len(sizes) - 1))
    typical = float((total - (sizes**2).sum() / total) / (len(sizes) - 1))
    if within <= 0.0:
        return 0.0
    return max(0.0, (between - within) / typical / within)
