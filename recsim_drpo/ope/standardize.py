"""Columns of contexts on one scale, whatever their unit, as the models of a log read them."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from recsim_drpo.core import scratch

LIMIT = 10.0
"""The largest absolute value of a standardised number: one that is further off is cut."""

_ROWS = 65_536  # for quantiles, evenly spaced
_CELLS = 2**22  # looked at together, in float64
_QUARTILES, _VENTILES = 1.3489795003921634, 3.2897072539029444  # apart in a standard normal


class Standardizer:
    """The scale of each column of a table, and the table on it.

    A column becomes (x - median) / scale, where the scale is the distance between its quartiles by
    that of normal numbers, or between its 5 % and 95 % quantiles if that is more: of normal numbers
    their deviation, which a few wild values do not move. Where 90 % of the values are one and the
    same it becomes (x - mean) / deviation, one of two values 0 and 1, and a constant 0. Reckoned in
    float64, so that seconds since 1970 keep what they tell.

    Args:
        rows: floating (n, o), n ≥ 1, finite, on any device.
        chosen: int64 (m,), m ≥ 1, those of them that are looked at; ``None``: all.
    """

    def __init__(self, rows: Tensor, chosen: Tensor | None = None) -> None:
        if (len(rows) if chosen is None else len(chosen)) > scratch.BLOCK:
            self._centre, self._scale = _scale_of_many(rows, chosen)
            return
        rows = rows if chosen is None else rows[chosen]
        block = max(1, _CELLS // len(rows))
        blocks = torch.split(rows, block, dim=1) if rows.shape[1] else ()
        pieces = [_scale_of(columns.to(torch.float64)) for columns in blocks]
        centres, scales = zip(*pieces, strict=True) if pieces else ((), ())
        empty = torch.zeros(0, dtype=torch.float64, device=rows.device)
        self._centre, self._scale = torch.cat([empty, *centres]), torch.cat([empty, *scales])

    def __call__(self, rows: Tensor) -> Tensor:
        """Rows (..., o) on the scale, float32, in [-10, 10]."""
        standard = (rows.to(torch.float64) - self._centre) / self._scale
        return standard.clamp(-LIMIT, LIMIT).to(torch.float32)


def _scale_of(columns: Tensor) -> tuple[Tensor, Tensor]:
    """What to take off and what to divide by, float64 (o,); infinity for a constant column."""
    low, high = columns.amin(dim=0), columns.amax(dim=0)
    some = columns[:: max(1, len(columns) // _ROWS)]
    deviation, mean = torch.std_mean(columns, dim=0, correction=0)
    two_valued = ((columns == low) | (columns == high)).all(dim=0)
    return _scale_by(some[:_ROWS], low, high, mean, deviation, two_valued)


def _scale_by(
    some: Tensor, low: Tensor, high: Tensor, mean: Tensor, deviation: Tensor, two_valued: Tensor
) -> tuple[Tensor, Tensor]:
    """As :func:`_scale_of`, by some rows of columns and statistics of all of them."""
    levels = torch.tensor([0.05, 0.25, 0.5, 0.75, 0.95], dtype=some.dtype, device=some.device)
    least, lower, median, upper, most = torch.quantile(some, levels, dim=0)
    spread = torch.maximum((upper - lower) / _QUARTILES, (most - least) / _VENTILES)
    robust = spread > 0
    centre, scale = torch.where(robust, median, mean), torch.where(robust, spread, deviation)
    centre, scale = torch.where(two_valued, low, centre), torch.where(two_valued, high - low, scale)
    return centre, torch.where(high > low, scale, torch.inf)


def _scale_of_many(rows: Tensor, chosen: Tensor | None) -> tuple[Tensor, Tensor]:
    """As :func:`_scale_of` for a table of which blocks of rows are in memory at a time."""
    number = len(rows) if chosen is None else len(chosen)
    if not rows.shape[1]:
        nothing = torch.zeros(0, dtype=torch.float64, device=rows.device)
        return nothing, nothing
    block = min(scratch.BLOCK, max(1, _CELLS // rows.shape[1]))

    def some(places: slice) -> Tensor:
        return rows[places if chosen is None else chosen[places]].to(torch.float64)

    def blocks() -> Iterator[Tensor]:
        for start in range(0, number, block):
            yield some(slice(start, start + block))
            scratch.let_go()

    first = some(slice(0, 1))[0]
    low, high, total = first, first, torch.zeros_like(first)
    for part in blocks():
        low, high = torch.minimum(low, part.amin(dim=0)), torch.maximum(high, part.amax(dim=0))
        total += part.sum(dim=0)
    mean, squares, two_valued = total / number, torch.zeros_like(total), low == low
    for part in blocks():
        squares += (part - mean).square().sum(dim=0)
        two_valued &= ((part == low) | (part == high)).all(dim=0)
    apart = max(1, number // _ROWS)
    evenly = some(slice(0, _ROWS * apart, apart))
    return _scale_by(evenly, low, high, mean, (squares / number).sqrt(), two_valued)
