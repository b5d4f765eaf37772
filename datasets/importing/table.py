"""Read a table of logged interactions, or of contexts, block by block, in many formats.

Of whatever length it is, memory holds one block.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from recsim_drpo.core.csv_rows import BLOCK_BYTES
from recsim_drpo.core.executor import Engine
from recsim_drpo.core.tables import require_pyarrow
from recsim_drpo.core.validation import unknown_name
from recsim_drpo.datasets.importing.arrow import ArrowTable, ParquetTable, table_of_stream
from recsim_drpo.datasets.importing.base import LogTable
from recsim_drpo.datasets.importing.json_lines import JsonLinesTable
from recsim_drpo.datasets.importing.several import PartitionTable, SeveralTables
from recsim_drpo.datasets.importing.sources import FORMATS, STREAM, Source, files_of, spooled
from recsim_drpo.datasets.importing.text import TextTable

__all__ = [
    "Log",
    "LogTable",
    "host",
    "missing",
    "numbers",
    "open_log_table",
    "progress_bar",
    "texts",
]

Log = str | Path | Any
"""A log: a file, a folder, a pattern, ``"-"``, an object that speaks Arrow, or a list of such."""

_MAX_MALFORMED = 1_000_000
_NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
_STANDARD_INPUT = "standard input"


def open_log_table(
    log: Log | Sequence[Log],
    *,
    format: str | None = None,
    escape: str | None = None,
    block_bytes: int = BLOCK_BYTES,
    max_malformed: int = _MAX_MALFORMED,
    engine: Engine | None = None,
) -> LogTable:
    """The table in a file, or in several, or in memory.

    Args:
        log: a file; a folder, which stands for the logs in it and below, with the columns that
            folders name as in ``day=2024-05-01``; a pattern, ``"part-*.csv"``; ``"-"``, standard
            input, which a temporary file keeps while it is needed; an object with the method
            ``__arrow_c_stream__``, such as a pyarrow table or reader, a data frame of pandas or
            polars, or a DuckDB relation; or a sequence of these, one after another. Files are
            ``.csv``, ``.tsv`` or ``.txt`` with a header line and ``.jsonl``, ``.ndjson`` or
            ``.json`` with an object a line, also packed as ``.gz`` or ``.zst``; ``.parquet``; and
            ``.arrow`` or ``.feather`` (an Arrow file, or an Arrow stream).
        format: of all files, ``"csv"``, ``"jsonl"``, ``"parquet"`` or ``"arrow"``; ``None``: by the
            suffix, CSV of standard input.
        escape: of CSV, the sign that goes before a quote inside a quoted cell, such as a backslash;
            without one such quotes are doubled. See :class:`recsim_drpo.core.csv_rows.CsvRows`.
        block_bytes: of CSV, how much is read at a time.
        max_malformed: of text, how many malformed rows without a good one make it no table.

        engine: what reads several files, each as a task to which it is sent.

    Raises:
        FileNotFoundError: there is no such file.
        TypeError: a log is neither a path nor such an object.
        ValueError: the suffix is unknown, pyarrow is missing, a file is named twice, or it is empty
            or damaged.
    """
    if format is not None and format not in FORMATS:
        raise unknown_name("--input-format", format, FORMATS)
    logs = log if isinstance(log, (list, tuple)) else [log]
    if not logs:
        raise ValueError("No log is named.")
    require_pyarrow("Reading tables needs")
    files = iter(_sources([one for one in logs if isinstance(one, (str, Path))], format))
    tables: list[LogTable] = []
    for one in logs:
        if isinstance(one, (str, Path)):
            tables += [_table(source, escape, block_bytes, max_malformed) for source in next(files)]
        elif hasattr(one, "__arrow_c_stream__"):
            tables.append(table_of_stream(one))
        else:
            raise TypeError(
                f"A table of type {type(one).__name__} is neither a path nor an object with "
                "__arrow_c_stream__, as tables of pyarrow, pandas 2.2, polars and DuckDB have."
            )
    return tables[0] if len(tables) == 1 else SeveralTables(tables, engine or Engine())


def _sources(logs: Sequence[str | Path], format: str | None) -> list[list[Source]]:
    """The files that each log stands for."""
    streams = [place for place, log in enumerate(logs) if str(log) == STREAM]
    if len(streams) > 1:
        raise ValueError(f"{STREAM!r} is named more than once; there is one standard input.")
    sources = files_of([log for log in logs if str(log) != STREAM], format)
    for place in streams:
        sources.insert(place, [spooled(sys.stdin.buffer, _STANDARD_INPUT, format or "csv")])
    return sources


def _table(source: Source, escape: str | None, block_bytes: int, max_malformed: int) -> LogTable:
    table = _whole_table(source, escape, block_bytes, max_malformed)
    return PartitionTable(table, source.partition) if source.partition else table


def _whole_table(
    source: Source, escape: str | None, block_bytes: int, max_malformed: int
) -> LogTable:
    if source.size == 0:
        raise ValueError(f"{source.name!r} is empty.")
    if source.format == "parquet":
        return ParquetTable(source)
    if source.format == "arrow":
        return ArrowTable(source)
    if source.format == "jsonl":
        return JsonLinesTable(source, max_malformed)
    return TextTable(source, escape, block_bytes, max_malformed)


def missing(cells: Any) -> NDArray[np.bool_]:
    """Mask of the empty cells, bool (n,)."""
    return host(cells.is_null()).astype(np.bool_)


def host(cells: Any) -> NDArray[Any]:
    """Cells as a NumPy array (n,)."""
    array: NDArray[Any] = cells.to_numpy(zero_copy_only=False)
    return array


def texts(cells: Any) -> Any:
    """Cells as text without blanks around it; whole numbers without a point."""
    import pyarrow
    from pyarrow import compute

    if pyarrow.types.is_floating(cells.type):
        values = host(cells.cast(pyarrow.float64()))
        whole = np.isfinite(values) & (values == np.trunc(values)) & (np.abs(values) < 2**53)
        if whole[~np.isnan(values)].all():  # what pandas makes of integers with a gap among them
            cells = pyarrow.array(np.where(whole, values, 0).astype(np.int64), mask=~whole)
    try:
        return compute.utf8_trim_whitespace(cells.cast(pyarrow.string()))
    except (pyarrow.ArrowInvalid, pyarrow.ArrowNotImplementedError):
        return pyarrow.array(map(str, cells.to_pylist()), pyarrow.string())


def numbers(cells: Any) -> NDArray[np.float64]:
    """Cells as float64 (n,), NaN where there is no number."""
    import pyarrow
    from pyarrow import compute

    if pyarrow.types.is_string(cells.type) or pyarrow.types.is_large_string(cells.type):
        cells = compute.utf8_trim_whitespace(cells)
    try:
        numbers = cells.cast(pyarrow.float64(), safe=False)
    except pyarrow.ArrowNotImplementedError:  # times, lists
        return np.full(len(cells), np.nan)
    except pyarrow.ArrowInvalid:  # text, some of which is no number
        good = compute.match_substring_regex(cells, _NUMBER)
        numbers = compute.if_else(good, cells, None).cast(pyarrow.float64())
    return host(numbers).astype(np.float64)


def progress_bar(table: LogTable, label: str, progress: bool) -> Any:
    """A progress bar for reading the table; after a block call ``update(table.done - bar.n)``."""
    return tqdm(
        total=table.size,
        desc=label,
        unit=table.unit,
        unit_scale=True,
        disable=None if progress else True,
    )
