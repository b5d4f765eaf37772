"""What a practitioner can measure on a log, and the simplest rules that can be fitted on it.

A log has contexts, items and rewards; who logged what, the noise in the rewards and the users'
interests are not in it. The features use no more than that.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from recsim_drpo.statistics import gini

FEATURES = (
    "rounds",
    "above_mean",
    "skewness",
    "reward_gini",
    "signal_to_noise",
    "effective_items",
)


def log_features(rewards: ArrayLike, items: ArrayLike) -> dict[str, float]:
    r"""Facts of a log, by name.

    ``rounds``; ``above_mean``, the share of rounds whose reward is above the mean; ``skewness`` and
    ``reward_gini``, of the rewards; ``signal_to_noise``, the variance of items' mean rewards by the
    variance within an item, from items that were shown at least twice (what differs within an item
    is noise and the users' taste, which a log cannot tell apart without a model); and
    ``effective_items``, :math:`1 / \sum_i p_i^2` of the share :math:`p_i` of rounds of each item.

    Args:
        rewards: (N,), at least one.
        items: int (N,), ≥ 0.
    """
    paid = np.asarray(rewards, dtype=np.float64)
    shown = np.asarray(items, dtype=np.int64)
    shares = np.bincount(shown) / len(shown)
    deviations = paid - paid.mean()
    spread = paid.std()
    skewness = float((deviations**3).mean() / spread**3) if spread > 0 else 0.0
    return {
        "rounds": float(len(paid)),
        "above_mean": float((deviations > 0).mean()),
        "skewness": skewness,
        "reward_gini": gini(paid) if paid.sum() > 0 else 0.0,
        "signal_to_noise": signal_to_noise(paid, shown),
        "effective_items": float(1.0 / (shares**2).sum()),
    }


def signal_to_noise(rewards: NDArray[np.float64], items: NDArray[np.int64]) -> float:
    """Variance between items by variance within items, of one-way analysis of variance.

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


@dataclass(frozen=True)
class Stump:
    """A rule of one threshold.

    Attributes:
        feature: column that it looks at; -1: it says ``above`` whatever it sees.
        threshold: between two values of that column.
        above: what it says where the column is above the threshold; elsewhere the opposite.
    """

    feature: int
    threshold: float
    above: bool

    def __call__(self, x: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Its answers for rows of features: (n, k) to (n,)."""
        if self.feature < 0:
            return np.full(len(x), self.above)
        answers: NDArray[np.bool_] = (x[:, self.feature] > self.threshold) == self.above
        return answers

    def describe(self, names: tuple[str, ...]) -> str:
        """The rule in words."""
        if self.feature < 0:
            return "always" if self.above else "never"
        side = ">" if self.above else "≤"
        return f"where {names[self.feature]} {side} {self.threshold:.4g}"


def fit_stump(x: NDArray[np.float64], gains: NDArray[np.float64]) -> Stump:
    """The stump that gains most by saying yes; of equal ones the first, a constant before all.

    Args:
        x: (n, k) features.
        gains: (n,) what yes is worth above no, of either sign.
    """
    total = float(gains.sum())
    best = Stump(-1, 0.0, total >= 0)
    # Sums that are equal on paper differ by rounding.
    most = max(total, 0.0) + 1e-12 * float(np.abs(gains).sum())
    for feature in range(x.shape[1]):
        order = np.argsort(x[:, feature], kind="stable")
        column = x[order, feature]
        below = np.cumsum(gains[order])[:-1]  # of a cut after i rows
        cuts = np.flatnonzero(column[1:] > column[:-1])
        for says, sums in ((True, total - below[cuts]), (False, below[cuts])):
            if len(cuts) and sums.max() > most:
                cut, most = cuts[sums.argmax()], float(sums.max())
                best = Stump(feature, float((column[cut] + column[cut + 1]) / 2), says)
    return best


@dataclass(frozen=True)
class Pair:
    """A rule of two thresholds: yes where both stumps say so, or where either does.

    Attributes:
        stumps: the two.
        either: whether one of them is enough.
    """

    stumps: tuple[Stump, Stump]
    either: bool

    def __call__(self, x: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Its answers for rows of features: (n, k) to (n,)."""
        first, second = (stump(x) for stump in self.stumps)
        answers: NDArray[np.bool_] = first | second if self.either else first & second
        return answers

    def describe(self, names: tuple[str, ...]) -> str:
        """The rule in words."""
        first, second = (stump.describe(names) for stump in self.stumps)
        return f"{first} {'or' if self.either else 'and'} {second.removeprefix('where ')}"


Rule = Stump | Pair


def fit_pair(x: NDArray[np.float64], gains: NDArray[np.float64]) -> Rule:
    """The rule of two thresholds that gains most by saying yes, or a stump that gains as much.

    Args:
        x: (n, k) features.
        gains: (n,) what yes is worth above no, of either sign.
    """
    stumps = _all_stumps(x)
    alone = fit_stump(x, gains)
    if not stumps:
        return alone
    says = np.array([stump(x) for stump in stumps])
    each = says @ gains
    both = (says * gains) @ says.T.astype(np.float64)
    either = each[:, None] + each - both
    most = gains[alone(x)].sum() + 1e-9 * np.abs(gains).sum()
    found = max(both.max(), either.max())
    if found <= most:
        return alone
    is_either = bool(either.max() > both.max())
    i, j = np.unravel_index((either if is_either else both).argmax(), both.shape)
    return Pair((stumps[i], stumps[j]), is_either)


def _all_stumps(x: NDArray[np.float64]) -> list[Stump]:
    """A stump between any two neighbouring values of any feature, in both directions."""
    found = []
    for feature in range(x.shape[1]):
        known = np.unique(x[:, feature])
        for threshold in (known[1:] + known[:-1]) / 2:
            found += [Stump(feature, float(threshold), above) for above in (True, False)]
    return found


def leave_one_out(
    x: NDArray[np.float64],
    gains: NDArray[np.float64],
    fit: Callable[[NDArray[np.float64], NDArray[np.float64]], Rule] = fit_stump,
) -> NDArray[np.bool_]:
    """What a rule fitted on all the others says of each row: (n, k), (n,) to (n,)."""
    return np.array(
        [
            fit(np.delete(x, i, axis=0), np.delete(gains, i))(x[i : i + 1])[0]
            for i in range(len(gains))
        ]
    )
