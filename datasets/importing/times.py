"""The time of a round, as seconds: from numbers, timestamps, dates or text."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsim_drpo.datasets.importing.table import host, missing, numbers

NAMES = ("time", "timestamp", "datetime", "date", "ts")
"""Names by which a column is likely to be the time."""

_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_SECONDS_A_DAY = 86_400


def seconds(cells: Any) -> NDArray[np.float64]:
    """Cells as seconds, float64 (n,), NaN where there is no time.

    Numbers are taken as they are; timestamps and dates, of a table or in ISO 8601, as seconds since
    1970. One without a zone is taken as UTC.
    """
    import pyarrow

    kind = cells.type
    if pyarrow.types.is_timestamp(kind):
        return _scaled(cells, 1.0 / _PER_SECOND[kind.unit])
    if pyarrow.types.is_date(kind):
        return _scaled(cells.cast(pyarrow.date32()), _SECONDS_A_DAY)
    found = numbers(cells)
    if not (pyarrow.types.is_string(kind) or pyarrow.types.is_large_string(kind)):
        return found
    text = np.flatnonzero(np.isnan(found) & ~missing(cells))
    if len(text):
        found = found.copy()
        found[text] = [_iso_seconds(one) for one in cells.take(text).to_pylist()]
    return found


def _scaled(cells: Any, factor: float) -> NDArray[np.float64]:
    import pyarrow

    whole = cells.cast(pyarrow.int32() if pyarrow.types.is_date(cells.type) else pyarrow.int64())
    values = host(whole.cast(pyarrow.int64()).fill_null(0)).astype(np.float64) * factor
    return np.where(missing(cells), np.nan, values)


def _iso_seconds(text: str) -> float:
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        return math.nan
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return moment.timestamp()
