"""Read cells alike whatever file they come from: CSV, JSON lines, Parquet or Arrow.

A cell is a Python value or one of a pyarrow array. Both are read by the same two functions of one
cell, :func:`category_text` and :func:`number_value`; arrays are only quicker.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

NO_NUMBER = np.inf
"""What stands for a cell that is there and is no finite number of single precision."""

_LARGEST = float(np.finfo(np.float32).max)
_WORDS = {"true": 1.0, "True": 1.0, "TRUE": 1.0, "false": 0.0, "False": 0.0, "FALSE": 0.0}
_NOTHING = frozenset({"", "nan", "NaN"})
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_WHOLE = re.compile(r"-?(0|[1-9][0-9]*)")
# With zeros in front it is a code; an exponent without point or sign may be a hash's digits.
_FRACTION = re.compile(
    r"-?((0|[1-9][0-9]*)?\.[0-9]+|(0|[1-9][0-9]*)\.)([eE][+-]?[0-9]+)?"
    r"|-?(0|[1-9][0-9]*)[eE][+-][0-9]+"
)
_MOMENT = re.compile(
    r"(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d)(:\d\d)?(?:\.(\d+))?\s?(Z|[+-]\d\d:?\d\d)?", re.ASCII
)
_TIME = re.compile(r"(\d\d:\d\d:\d\d)\.(\d+)", re.ASCII)
_EXACT = 1e16  # from here on floats are written with an exponent


def category_text(cell: Any) -> str | None:
    """The category that a cell names, as text; ``None`` where it is empty or NaN.

    It is the same for whatever a file's format makes of one value: text without blanks around it;
    truths as ``true`` and ``false``; numbers without a needless point, those that are not whole in
    single precision (``1.0`` is ``1``, ``0.10`` is ``0.1``; ``007`` and ``+7`` stay text); times
    as ``2020-01-31 12:30:00``, at midnight the date alone, those with a zone in UTC with a ``Z``;
    bytes as the UTF-8 that they are. It is its own category text.
    """
    if cell is None:
        return None
    if isinstance(cell, (bool, np.bool_)):
        return "true" if cell else "false"
    if isinstance(cell, (float, np.floating)):
        return _float_category(float(cell))
    return _text_category(_as_text(cell))


def _as_text(cell: Any) -> str:
    if isinstance(cell, (bytes, bytearray)):
        return cell.decode("utf-8", "backslashreplace")
    if isinstance(cell, Decimal):
        return format(cell, "f")
    return cell.isoformat() if isinstance(cell, (date, time)) else str(cell)


def _text_category(text: str) -> str | None:
    text = text.strip()
    if text in _NOTHING:
        return None
    if text in _WORDS:
        return text.lower()
    return _number_or_time(text) if text[0] in "-.0123456789" else text


def _number_or_time(text: str) -> str | None:
    if _WHOLE.fullmatch(text):
        return "0" if text == "-0" else text
    if _FRACTION.fullmatch(text) and np.isfinite(float(text)):
        return _float_category(float(text))
    if moment := _MOMENT.fullmatch(text):
        return _moment(text, *moment.groups())
    if moment := _TIME.fullmatch(text):
        return _fraction(moment[1], moment[2])
    return text


def _float_category(value: float) -> str | None:
    if np.isnan(value):
        return None
    if value.is_integer() and abs(value) < _EXACT:
        return str(int(value))
    with np.errstate(over="ignore", under="ignore"):
        single = np.float32(value)
    if value.is_integer() or single == 0.0 or np.isinf(single):
        return repr(value)
    return str(int(single)) if float(single).is_integer() else str(single)


def _moment(
    text: str, day: str, minute: str, second: str | None, fraction: str | None, zone: str | None
) -> str:
    whole = f"{day} {minute}{second or ':00'}"
    if zone is not None:
        try:
            local = datetime.fromisoformat(whole + zone.replace("Z", "+00:00"))
            whole = local.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")
        except (ValueError, OverflowError):  # no such day
            return text
        return _fraction(whole, fraction) + "Z"
    whole = _fraction(whole, fraction)
    return day if whole.endswith(" 00:00:00") else whole


def _fraction(whole: str, digits: str | None) -> str:
    digits = (digits or "").rstrip("0")
    return f"{whole}.{digits}" if digits else whole


def number_value(cell: Any) -> float:
    """A cell as a number: NaN where it is empty or NaN, :data:`NO_NUMBER` where it is another.

    Truths are 1 and 0, in text too; text is a decimal number, blanks around it; a number beyond
    single precision's range is none.
    """
    if cell is None:
        return np.nan
    value = NO_NUMBER
    if isinstance(cell, (str, bytes, bytearray)):
        value = _text_number(_as_text(cell).strip())
    elif isinstance(cell, (bool, int, float, Decimal, np.number, np.bool_)):
        with contextlib.suppress(OverflowError, ValueError):
            value = float(cell)
    return value if np.isnan(value) or abs(value) <= _LARGEST else NO_NUMBER


def _text_number(text: str) -> float:
    if not text or text.lstrip("+-").lower() == "nan":
        return np.nan
    if text in _WORDS:
        return _WORDS[text]
    return float(text) if _NUMBER.fullmatch(text) else NO_NUMBER


def number_values(cells: Any) -> NDArray[np.float64]:
    """Cells, a list or a pyarrow array, as :func:`number_value` has each, float64 (n,)."""
    values = _quick_list(cells) if isinstance(cells, list) else _quick_array(cells)
    if values is None:
        if isinstance(cells, list):
            return np.array([number_value(cell) for cell in cells], dtype=np.float64)
        return of_distinct(cells, number_value, np.nan).astype(np.float64)
    with np.errstate(invalid="ignore"):
        values[np.abs(values) > _LARGEST] = NO_NUMBER
    return values


def _quick_list(cells: list[Any]) -> NDArray[np.float64] | None:
    """Numbers of cells of one simple type; ``None`` where they have to be read one by one."""
    types = set(map(type, cells))
    if types == {str}:
        joined = "".join(cells)
        if "_" in joined or not joined.isascii():  # which Python's numbers may have
            return None
    elif not types <= {int, float}:
        return None
    try:
        return np.array(cells, dtype=np.float64)
    except (ValueError, OverflowError):
        return None


def _quick_array(cells: Any) -> NDArray[np.float64] | None:
    """Numbers of a pyarrow array by its own casts; ``None`` as :func:`_quick_list`."""
    import pyarrow
    from pyarrow import compute, types

    kind = cells.type
    if types.is_decimal(kind):
        cells = cells.cast(pyarrow.string())
    elif types.is_string(kind) or types.is_large_string(kind):
        cells = compute.utf8_trim_whitespace(cells)
    elif not (types.is_floating(kind) or types.is_integer(kind) or types.is_boolean(kind)):
        return None
    try:
        numbers = cells.cast(pyarrow.float64(), safe=False)
    except pyarrow.ArrowInvalid:  # text, some of which is no number
        return None
    return np.array(numbers.to_numpy(zero_copy_only=False), dtype=np.float64)


def of_distinct(cells: Any, value_of: Callable[[Any], Any], empty: Any) -> NDArray[Any]:
    """A function of each cell of a pyarrow array, computed once for equal ones.

    Args:
        cells: the array, of n cells.
        value_of: the function, of a Python value.
        empty: its value for an empty cell.

    Returns:
        the values (n,).
    """
    import pyarrow

    if isinstance(cells.type, pyarrow.BaseExtensionType):
        cells = cells.storage
    try:
        coded = cells.dictionary_encode()
    except (pyarrow.ArrowNotImplementedError, pyarrow.ArrowInvalid):  # lists
        found = [value_of(cell) for cell in cells.to_pylist()]
        return np.array(found)
    distinct = np.array([*map(value_of, python_values(coded.dictionary)), empty])
    places = coded.indices.fill_null(len(distinct) - 1).to_numpy(zero_copy_only=False)
    return np.asarray(distinct[places])


def python_values(cells: Any) -> Sequence[Any]:
    """The cells of a pyarrow array as Python values; times, which may be finer, as text."""
    import pyarrow
    from pyarrow import types

    if types.is_timestamp(cells.type) or types.is_time(cells.type):
        cells = cells.cast(pyarrow.string())
    values: Sequence[Any] = cells.to_pylist()
    return values
