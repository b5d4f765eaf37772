"""Read a table of logged interactions block by block: CSV, Parquet or Arrow, of any length.

Memory holds one block.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from recsim_drpo.core.csv_rows import BLOCK_BYTES
from recsim_drpo.core.tables import Block, arrow_block, open_table, reading, require_pyarrow
from recsim_drpo.datasets.importing.base import BLOCK_ROWS, LogTable, damaged
from recsim_drpo.datasets.importing.sources import Source
from recsim_drpo.datasets.importing.text import TextTable

__all__ = ["LogTable", "host", "missing", "numbers", "open_log_table", "progress_bar", "texts"]

SUFFIXES = (".csv", ".tsv", ".txt", ".parquet", ".arrow", ".feather")
_MAX_MALFORMED = 1_000_000
_NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
_END_OF_STREAM = b"\xff\xff\xff\xff\x00\x00\x00\x00"


def open_log_table(
    path: str | Path,
    *,
    escape: str | None = None,
    block_bytes: int = BLOCK_BYTES,
    max_malformed: int = _MAX_MALFORMED,
) -> LogTable:
    """The table in a file; its suffix tells the format.

    Args:
        path: ``.csv``, ``.tsv`` or ``.txt`` with a header line; ``.parquet``; ``.arrow`` or
            ``.feather`` (an Arrow file, or an Arrow stream).
        escape: of text, the sign that goes before a quote inside a quoted cell, such as a
            backslash; without one such quotes are doubled. See
            :class:`recsim_drpo.core.csv_rows.CsvRows`.
        block_bytes: of text, how much is read at a time.
        max_malformed: of text, how many malformed rows without a good one make it no table.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the suffix is unknown, pyarrow is missing, or the file is empty or damaged.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no log at {str(path)!r}.")
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(f"Log {path.name!r} has suffix {suffix!r}; known: {', '.join(SUFFIXES)}.")
    require_pyarrow("Reading logs needs")
    if path.stat().st_size == 0:
        raise ValueError(f"{path.name!r} is empty.")
    if suffix == ".parquet":
        return _ParquetTable(path)
    if suffix in (".arrow", ".feather"):
        return _ArrowTable(path)
    return TextTable(Source(path), escape, block_bytes, max_malformed)


class _ParquetTable(LogTable):
    """Parquet, a batch at a time."""

    def __init__(self, path: Path) -> None:
        self._file = path
        with open_table(path, "parquet", path.name, unreadable=damaged) as table:
            assert table.num_rows is not None
            super().__init__(path.name, table.columns, table.num_rows, "row", table.num_rows)

    def _blocks(self, columns: list[str]) -> Iterator[Block]:
        with open_table(self._file, "parquet", self.path.name, unreadable=damaged) as table:
            for block in table.blocks(columns, BLOCK_ROWS):
                yield block._replace(rows=block.rows + 1)
                self.done += len(block.rows)


class _ArrowTable(LogTable):
    """An Arrow file, or an Arrow stream, mapped into memory."""

    def __init__(self, path: Path) -> None:
        self._file = path
        with reading(path.name, "log", damaged):
            names = self._open(path).schema.names
        size = path.stat().st_size
        super().__init__(path.name, names, size, "B", size // (8 * max(1, len(names))))

    def _blocks(self, columns: list[str]) -> Iterator[Block]:
        reader = self._open(self._file)
        if hasattr(reader, "num_record_batches"):
            batches = map(reader.get_batch, range(reader.num_record_batches))
        else:
            batches = iter(reader)
        first = 1
        for batch in batches:
            for start in range(0, batch.num_rows, BLOCK_ROWS):
                part = batch.slice(start, BLOCK_ROWS)
                yield arrow_block(first + np.arange(part.num_rows), columns, part)
                first += part.num_rows
            self.done = min(self.size, self.done + batch.nbytes)
        self.done = self.size

    @staticmethod
    def _open(path: Path) -> Any:
        import pyarrow
        from pyarrow import ipc

        mapped = pyarrow.memory_map(str(path))
        try:
            return ipc.open_file(mapped)
        except pyarrow.ArrowInvalid:
            mapped.seek(0)
        with path.open("rb") as file:
            file.seek(-min(len(_END_OF_STREAM), path.stat().st_size), io.SEEK_END)
            if file.read() != _END_OF_STREAM:
                raise OSError("neither a footer nor the end of a stream")
        return ipc.open_stream(mapped)


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
