"""Rules of thumb (decision stumps): which of two methods to choose, by features of a log."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsim_drpo.benchmarks.reproduce.advice.log_features import FEATURES
from recsim_drpo.reporting.statistics import Estimate, seed_interval

Point = Mapping[str, Any]
"""A condition as :func:`.leads.places` describes it: its ``log`` and its ``leads``."""


def features_of(logs: Sequence[Mapping[str, float]]) -> NDArray[np.float64]:
    """Features of logs as rows, in the order of their names: (n, k)."""
    return np.array([[log[name] for name in FEATURES] for log in logs])


@dataclass(frozen=True)
class Stump:
    """A rule of one threshold on one feature (a decision stump).

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
    """The stump of largest gain: the sum of the gains of the rows that it says yes to.

    Of equal ones it is the first, and a constant comes before all.

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
Fit = Callable[[NDArray[np.float64], NDArray[np.float64]], Rule]


def fit_pair(x: NDArray[np.float64], gains: NDArray[np.float64]) -> Rule:
    """The rule of two thresholds of largest gain, or a stump if that gains as much.

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
    if max(both.max(), either.max()) <= most:
        return alone
    is_either = bool(either.max() > both.max())
    i, j = np.unravel_index((either if is_either else both).argmax(), both.shape)
    return Pair((stumps[i], stumps[j]), is_either)


def _all_stumps(x: NDArray[np.float64]) -> list[Stump]:
    """All stumps with a threshold between two neighbouring values of a feature, either way."""
    return [
        Stump(feature, float(threshold), above)
        for feature in range(x.shape[1])
        for known in [np.unique(x[:, feature])]
        for threshold in (known[1:] + known[:-1]) / 2
        for above in (True, False)
    ]


def leave_out(
    x: NDArray[np.float64], gains: NDArray[np.float64], groups: Sequence[str], fit: Fit
) -> NDArray[np.bool_]:
    """Answers (n,) for each row by a rule that was fitted on all other groups.

    Args:
        x: (n, k) features.
        gains: (n,) what yes is worth above no.
        groups: the group of each row.
        fit: makes a rule.
    """
    names = np.array(groups)
    answers = np.empty(len(gains), dtype=np.bool_)
    for name in set(groups):
        mine = names == name
        answers[mine] = fit(x[~mine], gains[~mine])(x[mine])
    return answers


def fit_constant(x: NDArray[np.float64], gains: NDArray[np.float64]) -> Rule:
    """The rule without a threshold, always or never, that gains more."""
    return fit_stump(x[:, :0], gains)


FITS: tuple[Fit, ...] = (fit_constant, fit_stump, fit_pair)
"""Rules with no threshold, with one, and with two."""


def losses(gains: NDArray[np.float64], says: NDArray[np.bool_]) -> list[float]:
    """Mean losses, as of :func:`lost`, of the answers, of always yes and of always no."""
    constant = (np.full(len(gains), answer) for answer in (True, False))
    return [lost(gains, answers) for answers in (says, *constant)]


def lost(gains: NDArray[np.float64], says: NDArray[np.bool_]) -> float:
    """Mean loss (regret) of answers against an oracle that says yes where the gain is positive."""
    return float(_lost_each(gains, says).mean())


def _lost_each(gains: NDArray[np.float64], says: NDArray[np.bool_]) -> NDArray[np.float64]:
    return np.asarray(np.maximum(gains, 0.0) - np.where(says, gains, 0.0))


def _lost_by_group(
    gains: NDArray[np.float64], says: NDArray[np.bool_], groups: Sequence[str]
) -> Estimate:
    """Mean over groups of their mean losses, ≥ 0, with the interval of independent groups."""
    names, each = np.array(groups), _lost_each(gains, says)
    loss = seed_interval([each[names == name].mean() for name in dict.fromkeys(groups)])
    return loss._replace(low=max(0.0, loss.low))


@dataclass(frozen=True)
class Judged:
    """A rule with its losses on logs that it was not fitted on.

    Attributes:
        rule: fitted on the whole map.
        on_the_map: :func:`losses` on conditions of the map, each by a rule fitted on other groups.
        elsewhere: :func:`losses` in other worlds; NaN where there are none.
        chosen: on how many logs of other worlds it chooses the first, and on how many rightly.
        by_place: the rule's own loss on the map, with its 95 % interval over the groups.
        left_out: (n,) answers for conditions of the map, each by a rule fitted on other groups.
    """

    rule: Rule
    on_the_map: Sequence[float]
    elsewhere: Sequence[float]
    chosen: tuple[int, int]
    by_place: Estimate
    left_out: NDArray[np.bool_]


def judge(
    points: Sequence[Point], groups: Sequence[str], elsewhere: Sequence[Point], name: str
) -> list[Judged]:
    """A rule by each of :data:`FITS` for one lead, with its losses on left-out and on other logs.

    Args:
        points: conditions of a map.
        groups: the group of each, which is left out as a whole.
        elsewhere: conditions of other worlds, or none.
        name: of the lead.
    """
    x, gains = _seen(points, name)
    judged = []
    for fit in FITS:
        rule = fit(x, gains)
        others, chosen = [float("nan")] * 3, (0, 0)
        if elsewhere:
            there, won = _seen(elsewhere, name)
            says = rule(there)
            others, chosen = losses(won, says), (int(says.sum()), int((says & (won > 0)).sum()))
        told = leave_out(x, gains, groups, fit)
        by_place = _lost_by_group(gains, told, groups)
        judged.append(Judged(rule, losses(gains, told), others, chosen, by_place, told))
    return judged


def best_judged(rules: Sequence[Judged]) -> Judged:
    """The rule of smallest mean loss over left-out logs of the map and logs of other worlds."""
    return min(rules, key=lambda rule: float(np.nanmean([rule.on_the_map[0], rule.elsewhere[0]])))


def _seen(points: Sequence[Point], name: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    gains = np.array([np.mean(point["leads"][name]) for point in points])
    return features_of([point["log"] for point in points]), gains
