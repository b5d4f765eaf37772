"""Read a table of logged interactions block by block: CSV, Parquet or Arrow, of any length.

Memory holds one block. Cells of a CSV come as text, so that one that does not fit its column spoils
its own row and not the file.
"""

from __future__ import annotations

import io
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from recsim_drpo.core.table_headers import check_unique, split_header
from recsim_drpo.core.tables import (
    Block,
    Malformed,
    arrow_block,
    open_table,
    reading,
    require_pyarrow,
)
from recsim_drpo.core.validation import unknown_name

SUFFIXES = (".csv", ".tsv", ".txt", ".parquet", ".arrow", ".feather")
_BLOCK_BYTES = 2**20
_BLOCK_ROWS = 10_000
_SHOWN = 200
_MAX_MALFORMED = 1_000_000
_NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
_END_OF_STREAM = b"\xff\xff\xff\xff\x00\x00\x00\x00"


class LogTable(ABC):
    """A table of logged interactions in a file, which can be read more than once.

    Attributes:
        path: the file.
        columns: names of its columns.
        size: length of the file, in ``unit``.
        unit: of ``size`` and ``done``: ``"row"``, or ``"B"`` where the number of rows is not known.
        num_rows: its number of rows; where that is not known, an estimate.
        done: how much of ``size`` has been read.
        notes: warnings about the file, complete when all of it has been read.
    """

    def __init__(self, path: Path, columns: list[str], size: int, unit: str, num_rows: int) -> None:
        check_unique(path.name, columns)
        self.path = path
        self.columns = columns
        self.size = size
        self.unit = unit
        self.num_rows = num_rows
        self.done = 0
        self.notes: list[str] = []

    def blocks(self, columns: Sequence[str]) -> Iterator[Block]:
        """Blocks of these columns, in the file's order.

        Raises:
            ValueError: a column is not there; the file is damaged.
        """
        for name in columns:
            if name not in self.columns:
                raise unknown_name(f"column of {self.path.name!r}", name, self.columns)
        self.done = 0
        self.notes = []
        with reading(self.path.name, "log", _damaged):
            yield from self._blocks(list(columns))

    @abstractmethod
    def _blocks(self, columns: list[str]) -> Iterator[Block]: ...


def open_log_table(
    path: str | Path, *, block_bytes: int = _BLOCK_BYTES, max_malformed: int = _MAX_MALFORMED
) -> LogTable:
    """The table in a file; its suffix tells the format.

    Args:
        path: ``.csv``, ``.tsv`` or ``.txt`` with a header line; ``.parquet``; ``.arrow`` or
            ``.feather`` (an Arrow file, or an Arrow stream).
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
    return _TextTable(path, block_bytes, max_malformed)


class _TextTable(LogTable):
    """Delimited text with a header line, quoted by double quotes."""

    def __init__(self, path: Path, block_bytes: int, max_malformed: int) -> None:
        try:
            # utf-8-sig: a byte order mark is no part of the first column's name.
            with path.open(newline="", encoding="utf-8-sig") as file:
                header = file.readline(_BLOCK_BYTES).rstrip("\r\n")
            with path.open("rb") as raw:
                start = raw.read(_BLOCK_BYTES)
        except UnicodeDecodeError as error:
            raise _damaged(path.name, "log", error) from error
        self._delimiter, names = split_header(header)
        self._block_bytes, self._max_malformed = block_bytes, max_malformed
        size = path.stat().st_size
        num_rows = size * start.count(b"\n") // len(start)
        super().__init__(path, names, size, "B", num_rows)

    def _blocks(self, columns: list[str]) -> Iterator[Block]:
        import pyarrow

        malformed: list[Malformed] = []  # those that no block has had yet
        with _CountingFile(self.path) as file:
            count, first = 0, 1
            for batch in self._batches(file, columns, malformed):
                # Malformed rows have numbers too: a good one moves up by those before it.
                numbers = np.array([number for number, *_ in malformed], dtype=np.int64)
                rows = first + np.arange(batch.num_rows + 1)  # one more: the next good row
                before = np.searchsorted(numbers - np.arange(len(numbers)), rows, "right")
                rows += before
                num_malformed, first = int(before[-1]), int(rows[-1])
                self.done = file.count
                count += batch.num_rows + num_malformed
                yield arrow_block(rows[:-1], columns, batch, malformed[:num_malformed])
                del malformed[:num_malformed]
            count += len(malformed)
            if malformed:
                yield Block(
                    np.empty(0, np.int64),
                    {name: pyarrow.array([], pyarrow.string()) for name in columns},
                    malformed,
                )
            self.done = file.count
            self.notes += _notes(file, count)

    def _batches(
        self, file: _CountingFile, columns: list[str], malformed: list[Malformed]
    ) -> Iterable[Any]:
        """Record batches of the columns, as text; malformed rows are added to ``malformed``."""
        import pyarrow
        from pyarrow import csv as arrow_csv

        def skip(row: Any) -> str:
            reason = f"{row.actual_columns} cells where {row.expected_columns} are due"
            lines = row.text.strip().count("\n") + 1
            if lines > 1:
                reason += f", over {lines:,} lines: an open quote?"
            malformed.append((row.number - 1, reason, row.text[:_SHOWN]))
            # So many without a good one among them are no table, and would fill the memory.
            return "skip" if len(malformed) < self._max_malformed else "error"

        batches: Iterable[Any] = arrow_csv.open_csv(
            file,
            # Rows have numbers only where one thread reads.
            read_options=arrow_csv.ReadOptions(use_threads=False, block_size=self._block_bytes),
            parse_options=arrow_csv.ParseOptions(
                delimiter=self._delimiter, newlines_in_values=True, invalid_row_handler=skip
            ),
            convert_options=arrow_csv.ConvertOptions(
                column_types={name: pyarrow.string() for name in columns},
                include_columns=columns,
                strings_can_be_null=True,
                null_values=[""],
            ),
        )
        return batches


def _notes(file: _CountingFile, num_rows: int) -> list[str]:
    """Warnings about a text file that has been read to its end and has ``num_rows`` rows."""
    notes = []
    cut = not file.last.endswith(b"\n")
    if cut:
        notes.append("The file does not end with a line break: its last row may have been cut off.")
    lines = file.lines + cut
    if lines != 1 + num_rows:
        notes.append(
            f"The file has {lines:,} lines for {num_rows:,} rows and a header: blank lines, or "
            "line breaks inside quotes."
        )
    return notes


class _CountingFile(io.FileIO):
    """A file that counts the bytes and the line breaks that are read."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.count = 0
        self.lines = 0
        self.last = b""

    def read(self, size: int | None = -1) -> bytes:
        data = super().read(-1 if size is None else size) or b""
        self.count += len(data)
        self.lines += data.count(b"\n")
        self.last = data[-1:] or self.last
        return data


class _ParquetTable(LogTable):
    """Parquet, a batch at a time."""

    def __init__(self, path: Path) -> None:
        with open_table(path, "parquet", path.name, unreadable=_damaged) as table:
            assert table.num_rows is not None
            super().__init__(path, table.columns, table.num_rows, "row", table.num_rows)

    def _blocks(self, columns: list[str]) -> Iterator[Block]:
        with open_table(self.path, "parquet", self.path.name, unreadable=_damaged) as table:
            for block in table.blocks(columns, _BLOCK_ROWS):
                yield block._replace(rows=block.rows + 1)
                self.done += len(block.rows)


class _ArrowTable(LogTable):
    """An Arrow file, or an Arrow stream, mapped into memory."""

    def __init__(self, path: Path) -> None:
        with reading(path.name, "log", _damaged):
            names = self._open(path).schema.names
        size = path.stat().st_size
        super().__init__(path, names, size, "B", size // (8 * max(1, len(names))))

    def _blocks(self, columns: list[str]) -> Iterator[Block]:
        reader = self._open(self.path)
        if hasattr(reader, "num_record_batches"):
            batches = map(reader.get_batch, range(reader.num_record_batches))
        else:
            batches = iter(reader)
        first = 1
        for batch in batches:
            for start in range(0, batch.num_rows, _BLOCK_ROWS):
                part = batch.slice(start, _BLOCK_ROWS)
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


def _damaged(name: str, format: str, error: Exception) -> ValueError:
    text = " ".join(str(error).split())
    return ValueError(
        f"{name!r} is cut off, damaged or no {Path(name).suffix.lower()} file of one table "
        f"({text}); nothing was imported."
    )


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
