"""Features of a log that a practitioner can measure.

A log has contexts, items and rewards; who logged what, the noise in the rewards and the users'
interests are not in it. The features use no more than that.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from recsim_drpo.core.transitions import Transitions
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


def features_of_log(log: Transitions) -> dict[str, float]:
    """:func:`log_features` of a log with the info column ``item_id``."""
    return log_features(log.rewards.cpu().numpy(), log.infos["item_id"].cpu().numpy())


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
    paid = _to_unit(np.asarray(rewards, dtype=np.float64))
    shown = np.asarray(items, dtype=np.int64)
    shares = np.bincount(shown) / len(shown)
    deviations = paid - paid.mean()
    skewness = float((deviations**3).mean() / paid.std() ** 3)
    return {
        "rounds": float(len(paid)),
        "above_mean": float((deviations > _ROUNDING).mean()),
        "skewness": skewness,
        "reward_gini": gini(paid),
        "signal_to_noise": signal_to_noise(paid, shown),
        "effective_items": float(1.0 / (shares**2).sum()),
    }


def _to_unit(rewards: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rewards shifted and scaled into [0, 1]: the least to 0, the largest to [1/2, 1)."""
    if not np.isfinite(rewards).all():
        raise ValueError("A reward is not finite; features of a log need finite ones.")
    least, largest = rewards.min(initial=np.inf), rewards.max(initial=-np.inf)
    if not least < largest:
        known = f"All {len(rewards):,} rewards are {least:g}" if len(rewards) else "No rewards"
        raise ValueError(
            f"{known}: there is nothing to learn from, whether by filtering, weighing or cloning. "
            "Import the log with a reward that differs between rounds."
        )
    # By a power of two, which rounds nothing.
    return np.asarray(np.ldexp(rewards - least, -int(np.frexp(largest - least)[1])))


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
    kept = often[items]
    sizes = counts[often].astype(np.float64)
    if len(sizes) < 2:
        return 0.0
    total = sizes.sum()
    sums = np.bincount(items[kept], rewards[kept], len(counts))[often]
    squares = np.bincount(items[kept], rewards[kept] ** 2, len(counts))[often]
    within = float((squares - sums**2 / sizes).sum() / (total - len(sizes)))
    middle = sums.sum() / total
    between = float((sizes * (sums / sizes - middle) ** 2).sum() / (len(sizes) - 1))
    typical = float((total - (sizes**2).sum() / total) / (len(sizes) - 1))
    if within <= 0.0:
        return 0.0
    return max(0.0, (between - within) / typical / within)
