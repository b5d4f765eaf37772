"""What differs between two logs: contexts, items, rewards and propensities, with p-values.

p-values are adjusted by Holm's correction over everything that is tested, so that the chance of
calling any difference real where there is none is at most the level. Rows of one request are no
independent witnesses: contexts and items are tested on the first row of each request, rewards and
propensities on its means, and intervals of mean rewards take requests as a whole (cluster-robust).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from recsim_drpo.ope.ab_readout import NORMAL_975, Readout, readout
from recsim_drpo.ope.drift_logs import ComparedLog
from recsim_drpo.reporting.comparison import holm
from recsim_drpo.reporting.statistics import Estimate

Floats = NDArray[np.float64]

LEVEL = 0.05
"""Adjusted p-values below it are called a difference."""

_BINS = 10
_FEWEST_EXPECTED = 5.0  # rows of a value, below which the χ² test pools it with others
_FEW_VALUES = 20


@dataclass(frozen=True)
class ColumnDrift:
    """How a number differs between logs A and B.

    Attributes:
        column: its name.
        mean_a: in A.
        mean_b: in B.
        difference: mean of B minus that of A, in standard deviations (the root of the mean of the
            two variances), with its 95 % interval; ``None`` where both are constant.
        psi: population stability index, Σ (b − a) ln(b / a) over tenths of A (of what is left of
            them where values tie), with half a row added to each.
        statistic: largest gap between the two distribution functions (Kolmogorov and Smirnov).
        p_value: that the two are one distribution, adjusted: by the statistic, or where there are
            at most 20 values, to whose ties it is blind, by χ².
    """

    column: str
    mean_a: float
    mean_b: float
    difference: Estimate | None
    psi: float
    statistic: float
    p_value: float


@dataclass(frozen=True)
class ItemDrift:
    """How the items shown differ.

    Attributes:
        total_variation: ½ Σ |a_i − b_i| of the shares of rows, in [0, 1].
        by_chance: what it would be, about, were all rows drawn from the same shares.
        p_value: that they are, by χ², adjusted; items expected fewer than 5 times are pooled.
        new: ids of items that B alone shows, the most shown first.
        gone: ids of items that A alone shows, the most shown first.
        new_share: share of B's rows that show new items.
        gone_share: share of A's rows that show items that are gone.
    """

    total_variation: float
    by_chance: float
    p_value: float
    new: list[str]
    gone: list[str]
    new_share: float
    gone_share: float


@dataclass(frozen=True)
class Drift:
    """What differs between two logs.

    Attributes:
        rows: of A and of B.
        requests: of A and of B; those of its rows where a log has no requests.
        only_a: columns of the context that A alone has.
        only_b: columns that B alone has.
        contexts: by shared column, the largest difference first.
        items: of the items shown; ``None`` where a log has none.
        rewards: the distribution of rewards.
        propensities: of propensities; ``None`` where a log has none.
        readout: the mean rewards.
    """

    rows: tuple[int, int]
    requests: tuple[int, int]
    only_a: list[str]
    only_b: list[str]
    contexts: list[ColumnDrift]
    items: ItemDrift | None
    rewards: ColumnDrift
    propensities: ColumnDrift | None
    readout: Readout

    @property
    def drifted(self) -> list[str]:
        """Names of the columns of the context that differ, at :data:`LEVEL`."""
        return [one.column for one in self.contexts if one.p_value < LEVEL]

    def as_dict(self) -> dict[str, Any]:
        """All of it as JSON can hold it."""
        return asdict(self)


def compare_logs(a: ComparedLog, b: ComparedLog) -> Drift:
    """What differs between logs A and B.

    Raises:
        ValueError: they share no column of the context, or one is of a single request.
    """
    shared = [name for name in a.names if name in set(b.names)]
    if not shared:
        raise ValueError(
            f"The logs share no column of the context: {_listed(a.names)} and {_listed(b.names)}."
        )
    tested = [_column(name, a.column(name), b.column(name)) for name in shared]
    tested.append(_column("reward", a.by_request(a.rewards), b.by_request(b.rewards)))
    with_propensities = a.propensities is not None and b.propensities is not None
    if a.propensities is not None and b.propensities is not None:
        pair = a.by_request(a.propensities), b.by_request(b.propensities)
        tested.append(_column("propensity", *pair))
    items = None
    if a.items is not None and b.items is not None:
        items = _items(a.items, b.items, a.items[a.first], b.items[b.first])
    p_values = [one.p_value for one in tested] + ([items.p_value] if items else [])
    adjusted = holm(p_values).tolist()
    tested = [_adjusted(one, p) for one, p in zip(tested, adjusted, strict=False)]
    if items is not None:
        items = ItemDrift(**{**vars(items), "p_value": adjusted[-1]})
    contexts = sorted(tested[: len(shared)], key=_size, reverse=True)
    return Drift(
        (len(a.rewards), len(b.rewards)),
        (len(a.first), len(b.first)),
        [name for name in a.names if name not in set(b.names)],
        [name for name in b.names if name not in set(a.names)],
        contexts,
        items,
        tested[len(shared)],
        tested[len(shared) + 1] if with_propensities else None,
        readout(a.rewards, b.rewards, a.requests, b.requests),
    )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (", …" if len(names) > 5 else "")


def _size(drift: ColumnDrift) -> tuple[float, float]:
    distance = math.inf if drift.difference is None else abs(drift.difference.value)
    same = drift.difference is None and drift.mean_a == drift.mean_b
    return (-1.0 if same else distance, drift.statistic)


def _adjusted(drift: ColumnDrift, p_value: float) -> ColumnDrift:
    return ColumnDrift(**{**vars(drift), "p_value": p_value})


def _column(name: str, a: Floats, b: Floats) -> ColumnDrift:
    """How a number differs; the p-value is not adjusted yet."""
    from scipy import stats

    mean_a, mean_b = float(a.mean()), float(b.mean())
    spread = math.sqrt((float(a.var()) + float(b.var())) / 2)
    difference = None
    if spread > 0.0:
        half = NORMAL_975 * math.sqrt(float(a.var()) / len(a) + float(b.var()) / len(b))
        moved = mean_b - mean_a
        difference = Estimate(moved, moved - half, moved + half).scaled(1.0 / spread)
    gap = stats.ks_2samp(a, b, method="asymp")
    counts = _counts_of_values(a, b)
    p_value = float(gap.pvalue) if counts is None else _chi_squared(*_rare_pooled(counts))
    return ColumnDrift(
        name,
        mean_a,
        mean_b,
        difference,
        population_stability(a, b),
        float(gap.statistic),
        p_value,
    )


def _counts_of_values(a: Floats, b: Floats) -> _Counts | None:
    """How often each value is in A and in B, or ``None`` where they are more than a few."""
    if len(np.unique(a[:1_000])) > _FEW_VALUES:
        return None
    values, codes = np.unique(np.concatenate([a, b]), return_inverse=True)
    if len(values) > _FEW_VALUES:
        return None
    return _Counts(*(np.bincount(x, minlength=len(values)) for x in np.split(codes, [len(a)])))


def population_stability(a: Floats, b: Floats) -> float:
    """Population stability index Σ (b − a) ln(b / a), ≥ 0, over the tenths of A.

    Bins end at the tenths of A, those that tie are one; half a row is added to each of k bins, so
    that shares are (n_i + ½) / (n + k / 2). Below 0.1 is held to be stable, above 0.25 to be a
    shift (Siddiqi, *Credit Risk Scorecards*, 2006).

    Args:
        a: (n,), at least one.
        b: (m,), at least one.
    """
    edges = np.unique(np.quantile(a, np.arange(1, _BINS) / _BINS, method="inverted_cdf"))
    shares = []
    for values in (a, b):
        counts = np.bincount(np.searchsorted(edges, values, side="left"), minlength=len(edges) + 1)
        shares.append((counts + 0.5) / (len(values) + 0.5 * len(counts)))
    return float(((shares[1] - shares[0]) * np.log(shares[1] / shares[0])).sum())


def _chi_squared(a: NDArray[np.int64], b: NDArray[np.int64]) -> float:
    """p-value that counts (k,) of two samples are of the same shares; of one kind it is 1."""
    from scipy import stats

    known = (a + b) > 0
    table = np.array([a[known], b[known]])
    if table.shape[1] < 2:
        return 1.0
    return float(stats.chi2_contingency(table, correction=False).pvalue)


def _items(
    a: NDArray[np.str_], b: NDArray[np.str_], first_a: NDArray[np.str_], first_b: NDArray[np.str_]
) -> ItemDrift:
    """How the items of all rows differ; the test, not adjusted yet, is on the first rows."""
    names, codes = np.unique(np.concatenate([a, b]), return_inverse=True)
    counts = _Counts(
        *(np.bincount(part, minlength=len(names)) for part in np.split(codes, [len(a)]))
    )
    share_a, share_b = counts.a / len(a), counts.b / len(b)
    pooled = (counts.a + counts.b) / (len(a) + len(b))
    # Of a normal difference of two shares of the same p, the mean absolute value.
    spread = np.sqrt(pooled * (1.0 - pooled) * (1.0 / len(a) + 1.0 / len(b)))
    tested = _Counts(
        *(np.bincount(np.searchsorted(names, x), minlength=len(names)) for x in (first_a, first_b))
    )

    def alone(own: NDArray[np.int64], other: NDArray[np.int64]) -> list[str]:
        order = np.argsort(-own, kind="stable")
        return [str(names[k]) for k in order if own[k] > 0 and other[k] == 0]

    return ItemDrift(
        float(np.abs(share_a - share_b).sum() / 2),
        float(math.sqrt(2.0 / math.pi) * spread.sum() / 2),
        _chi_squared(*_rare_pooled(tested)),
        alone(counts.b, counts.a),
        alone(counts.a, counts.b),
        float(share_b[counts.a == 0].sum()),
        float(share_a[counts.b == 0].sum()),
    )


class _Counts(NamedTuple):
    """Rows of each item or value in A and in B, (k,) each."""

    a: NDArray[np.int64]
    b: NDArray[np.int64]


def _rare_pooled(counts: _Counts) -> _Counts:
    """Counts in which what either log is expected to have too rarely is one."""
    smaller = min(counts.a.sum(), counts.b.sum()) / (counts.a.sum() + counts.b.sum())
    rare = (counts.a + counts.b) * smaller < _FEWEST_EXPECTED
    return _Counts(*(np.append(x[~rare], x[rare].sum()) for x in counts))
