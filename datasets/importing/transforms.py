"""Measure columns of numbers, and bring each to the scale of a network's input.

All is computed in float64, so that numbers such as times in milliseconds, which single precision
cannot tell apart, can be told apart once they are transformed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

TRANSFORMS = ("standardise", "log", "quantile", "none")
"""Known transforms of a column of numbers; the first is the default."""

QUANTILES = (0.0, 0.01, 0.25, 0.5, 0.75, 0.99, 1.0)
"""The quantiles of a column that are measured, of a sample of its rows."""

_KNOTS = 33
_SAMPLE = 16_384
_TOLD_APART = 0.99
_CONSTANT = 1e-12


@dataclass(frozen=True)
class NumberCoding:
    r"""How a column of numbers becomes part of a context, and what was measured of it.

    A number x becomes, by ``transform``: ``"standardise"``: (x - center) / scale; ``"log"``:
    (sign(x) · log(1 + \|x\|) - center) / scale; ``"quantile"``: the line through ``levels`` at
    ``knots``, level beyond them; ``"none"``: x. A missing one becomes ``fill``.

    Attributes:
        transform: one of :data:`TRANSFORMS`.
        center, scale: of the numbers, or of their logarithms; scale > 0.
        knots, levels: rising numbers, and their places in [-1, 1] by rank.
        fill: what a missing number becomes.
        missing: whether a dimension of the context says that the number is missing.
        single: whether the log had single precision, to which others are then rounded first.
        mean, deviation: of the numbers that there are.
        quantiles: at :data:`QUANTILES`.
        missing_share: share of the rows without a number.
    """

    transform: str = "none"
    center: float = 0.0
    scale: float = 1.0
    knots: Sequence[float] = ()
    levels: Sequence[float] = ()
    fill: float = 0.0
    missing: bool = False
    single: bool = False
    mean: float | None = None
    deviation: float | None = None
    quantiles: Sequence[float] = ()
    missing_share: float = 0.0

    def apply(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Numbers (n,), NaN where one is missing, as they enter a context, float64 (n,)."""
        if self.single:
            values = values.astype(np.float32).astype(np.float64)
        if self.transform == "log":
            values = symmetric_log(values)
        if self.transform == "quantile":
            values = np.interp(values, self.knots, self.levels)
        elif self.transform != "none":
            values = (values - self.center) / self.scale
        empty = np.isnan(values)
        return np.where(empty, self.fill, values) if empty.any() else values

    def invert(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """The numbers (n,) that :meth:`apply` makes these of, within the knots; float64 (n,)."""
        if self.transform == "quantile":
            return np.interp(values, self.levels, self.knots)
        if self.transform != "none":
            values = values * self.scale + self.center
        if self.transform == "log":
            values = np.sign(values) * np.expm1(np.abs(values))
        return values


def symmetric_log(values: NDArray[np.float64]) -> NDArray[np.float64]:
    r"""sign(x) · log(1 + \|x\|) of each number, of any shape."""
    logs: NDArray[np.float64] = np.sign(values) * np.log1p(np.abs(values))
    return logs


class _Moments:
    """Number, mean and deviation of columns, merged block by block (Chan et al., 1979)."""

    def __init__(self, width: int) -> None:
        self.count = np.zeros(width, dtype=np.int64)
        self.mean = np.zeros(width)
        self._squares = np.zeros(width)

    def add(self, values: NDArray[np.float64]) -> None:
        """Add rows (n, width), NaN where there is no number."""
        empty = np.isnan(values)
        count = len(values) - empty.sum(axis=0)
        some_empty = bool(empty.any())
        filled = np.where(empty, 0.0, values) if some_empty else values
        mean = filled.sum(axis=0) / np.maximum(count, 1)
        apart = filled - mean
        if some_empty:
            apart[empty] = 0.0
        squares = np.einsum("ij,ij->j", apart, apart)
        total = np.maximum(self.count + count, 1)
        moved = np.where(count > 0, mean - self.mean, 0.0)
        self._squares += squares + moved**2 * self.count * count / total
        self.mean += moved * count / total
        self.count += count

    @property
    def deviation(self) -> NDArray[np.float64]:
        """Standard deviation of each column, divided by its number of rows."""
        deviation: NDArray[np.float64] = np.sqrt(self._squares / np.maximum(self.count, 1))
        return deviation


class NumberMeasures:
    """Mean, deviation, quantiles and share missing of columns of numbers, read in blocks.

    Quantiles are those of at most 16,384 rows, drawn evenly whatever the number of rows.

    Args:
        transforms: of each column.
    """

    def __init__(self, transforms: Sequence[str]) -> None:
        self._transforms = list(transforms)
        self._raw, self._logs = (_Moments(len(self._transforms)) for _ in range(2))
        self._num_rows = 0
        self._sample = np.empty((0, len(self._transforms)))
        self._priorities = np.empty(0)
        self._generator = np.random.default_rng(0)

    def add(self, values: NDArray[np.float64]) -> None:
        """Add rows (n, columns), NaN where there is no number."""
        self._num_rows += len(values)
        self._raw.add(values)
        if "log" in self._transforms:
            self._logs.add(symmetric_log(values))
        priorities = self._generator.random(len(values))
        if len(self._priorities) == _SAMPLE:
            chosen = priorities < self._priorities.max()
            values, priorities = values[chosen], priorities[chosen]
        self._sample = np.concatenate([self._sample, values])
        self._priorities = np.concatenate([self._priorities, priorities])
        if len(self._priorities) > _SAMPLE:
            first = np.sort(np.argpartition(self._priorities, _SAMPLE)[:_SAMPLE])
            self._sample, self._priorities = self._sample[first], self._priorities[first]

    def coding(self, column: int, single: bool) -> NumberCoding:
        """How a column is coded, by what was measured; ``single`` as of :class:`NumberCoding`."""
        transform = self._transforms[column]
        moments = self._logs if transform == "log" else self._raw
        mean, deviation = float(self._raw.mean[column]), float(self._raw.deviation[column])
        center, scale = float(moments.mean[column]), float(moments.deviation[column])
        sample = self._numbers(column)
        num_missing = self._num_rows - int(self._raw.count[column])
        knots, levels = _knots(sample) if transform == "quantile" else ((), ())
        return NumberCoding(
            transform,
            center=center if transform in ("standardise", "log") else 0.0,
            # A constant column becomes 0, whatever rounding leaves of its deviation.
            scale=scale
            if transform in ("standardise", "log") and scale > _CONSTANT * abs(center)
            else 1.0,
            knots=knots,
            levels=levels,
            fill=mean if transform == "none" else 0.0,
            missing=num_missing > 0,
            single=single,
            mean=mean if len(sample) else None,
            deviation=deviation if len(sample) else None,
            quantiles=tuple(np.quantile(sample, QUANTILES).tolist()) if len(sample) else (),
            missing_share=num_missing / max(1, self._num_rows),
        )

    def note(self, column: int, name: str, coding: NumberCoding) -> str | None:
        """A warning about a column that says nothing, or less than its numbers do; or ``None``."""
        sample = self._numbers(column)
        if len(sample) == 0:
            return f"Column {name!r} has no number: it says nothing."
        distinct = np.unique(sample)
        if len(distinct) == 1:
            return f"Column {name!r} is {distinct[0]:g} in every row: it says nothing."
        left = len(np.unique(coding.apply(distinct).astype(np.float32)))
        if left >= _TOLD_APART * len(distinct):
            return None
        other = "standardise" if coding.transform == "none" else "quantile"
        return (
            f"Column {name!r}: single precision leaves {left:,} of {len(distinct):,} different "
            f"numbers. Say --transform {name}={other}; or, if they name something, --categories "
            f"or --hash {name}=SIZE."
        )

    def _numbers(self, column: int) -> NDArray[np.float64]:
        values = self._sample[:, column]
        return values[~np.isnan(values)]


def _knots(sample: NDArray[np.float64]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Different quantiles of a sample, and the mean rank of each, from -1 to 1."""
    if len(sample) == 0:
        return (0.0,), (0.0,)
    ranks = np.linspace(-1.0, 1.0, _KNOTS)
    knots, places = np.unique(np.quantile(sample, (ranks + 1.0) / 2.0), return_inverse=True)
    levels = np.bincount(places, ranks) / np.bincount(places)
    return tuple(knots.tolist()), tuple(levels.tolist())
