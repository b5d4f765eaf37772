"""Columns of contexts on one scale, whatever their unit, as the models of a log read them."""

from __future__ import annotations

import torch
from torch import Tensor

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
    """

    def __init__(self, rows: Tensor) -> None:
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
    levels = torch.tensor([0.05, 0.25, 0.5, 0.75, 0.95], dtype=columns.dtype, device=columns.device)
    least, lower, median, upper, most = torch.quantile(some[:_ROWS], levels, dim=0)
    spread = torch.maximum((upper - lower) / _QUARTILES, (most - least) / _VENTILES)
    deviation, mean = torch.std_mean(columns, dim=0, correction=0)
    robust = spread > 0
    centre, scale = torch.where(robust, median, mean), torch.where(robust, spread, deviation)
    two_valued = ((columns == low) | (columns == high)).all(dim=0)
    centre, scale = torch.where(two_valued, low, centre), torch.where(two_valued, high - low, scale)
    return centre, torch.where(high > low, scale, torch.inf)
