"""Read tables from outside in blocks of rows: CSV, JSON lines and Parquet.

Memory holds one block, however long the table is. Parquet needs pyarrow (the extra ``parquet``);
text is read by the standard library.
"""

from __future__ import annotations

import csv
import io
import itertools
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from recsim_drpo.core.table_headers import DELIMITERS, no_column, split_header

_BUFFER = 2**20

Malformed = tuple[int, str, str]
"""A malformed row: its number, what is wrong with it, its text."""

Unreadable = Callable[[str, str, Exception], ValueError]
"""Makes the error for an unreadable file of its name, its format in words and the cause."""


class Block(NamedTuple):
    """Rows that were read together.

    Attributes:
        rows: int64 (n,), their numbers in the file.
        cells: by column, n of them: a list of a text table's, else a pyarrow array.
        malformed: further rows, which have no cells.
    """

    rows: NDArray[np.int64]
    cells: dict[str, Any]
    malformed: Sequence[Malformed] = ()

    def lists(self) -> dict[str, list[Any]]:
        """The cells as Python values."""
        return {
            name: cells if isinstance(cells, list) else cells.to_pylist()
            for name, cells in self.cells.items()
        }


class Table(ABC):
    """A table that is read once, from its first row to its last.

    Attributes:
        columns: names of its columns.
        num_rows: how many rows there are; ``None`` where the format does not say beforehand.
        place: what a block's ``rows`` are: ``"line"`` numbers, from 1 for the first line of a text,
            or ``"row"`` numbers, from 0.
        number_types: types of the cells that may be numbers.
    """

    columns: list[str]
    num_rows: int | None = None
    place = "line"
    number_types: frozenset[type] = frozenset({int, float})
    _format = "text table"

    def __init__(self, name: str, unreadable: Unreadable) -> None:
        self._name, self._unreadable = name, unreadable

    def blocks(self, columns: Sequence[str], size: int) -> Iterator[Block]:
        """Blocks of at most ``size`` rows of these columns, in the file's order.

        Raises:
            ValueError: the file is damaged or not of its format; of JSON lines: a line is no
                object, or lacks a column.
        """
        blocks = self._blocks(columns, size)
        while True:
            with reading(self._name, self._format, self._unreadable):
                block = next(blocks, None)
            if block is None:
                return
            yield block

    @abstractmethod
    def _blocks(self, columns: Sequence[str], size: int) -> Iterator[Block]: ...


def unreadable(name: str, format: str, error: Exception) -> ValueError:
    """The usual error for a file that its reader cannot read."""
    return ValueError(f"{name!r} is not a readable {format} ({error}).")


@contextmanager
def reading(name: str, format: str, unreadable: Unreadable = unreadable) -> Iterator[None]:
    """Turn what a reader raises where bytes are not of its format into one ``ValueError``.

    A plain ``ValueError``, which says already what is wrong, passes unchanged.
    """
    try:
        yield
    except (OSError, ValueError, NotImplementedError, csv.Error) as error:  # pyarrow's too
        if type(error) is ValueError:
            raise
        raise unreadable(name, format, error) from error


@contextmanager
def open_table(
    source: Path | IO[bytes],
    format: str,
    name: str,
    *,
    delimiters: Sequence[str] = DELIMITERS,
    unreadable: Unreadable = unreadable,
) -> Iterator[Table]:
    """Open a table to be read.

    Args:
        source: a file, or of text a stream, which stays open.
        format: ``"csv"`` (text with a header line, quoted by double quotes), ``"jsonl"`` or
            ``"parquet"``.
        name: of the file, for messages.
        delimiters: of CSV, those that it can have.
        unreadable: makes the error for bytes that are not of the format.

    Raises:
        OSError: the file cannot be opened.
        ValueError: it is not of its format, of JSON lines it has no row, or pyarrow is missing.
    """
    if format == "parquet":
        pyarrow = require_pyarrow("Parquet needs")
        with reading(name, ParquetTable._format, unreadable):
            # Else a whole row group, which may be the whole file, is read at once.
            file = pyarrow.parquet.ParquetFile(source, pre_buffer=False, buffer_size=_BUFFER)
        with file:
            yield ParquetTable(file, name, unreadable)
        return
    with _opened_text(source) as text:
        with reading(name, Table._format, unreadable):
            table: Table = (
                CsvTable(text, name, unreadable, delimiters)
                if format == "csv"
                else JsonLinesTable(text, name, unreadable)
            )
        yield table


def require_pyarrow(what: str) -> Any:
    """The package pyarrow; ``ValueError`` that begins with ``what`` where it is missing."""
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise ValueError(f'{what} pyarrow: pip install "recsim-drpo[parquet]".') from error
    return pyarrow


@contextmanager
def _opened_text(source: Path | IO[bytes]) -> Iterator[IO[str]]:
    # utf-8-sig: a byte order mark is no part of the first column's name.
    if isinstance(source, Path):
        with source.open(encoding="utf-8-sig", newline="") as file:
            yield file
    else:
        text = io.TextIOWrapper(source, encoding="utf-8-sig", newline="")
        try:
            yield text
        finally:
            text.detach()  # else the stream is closed with the wrapper


class CsvTable(Table):
    """Delimited text with a header line; without one it has no columns. All cells are text."""

    number_types = frozenset({str})

    def __init__(
        self, text: IO[str], name: str, unreadable: Unreadable, delimiters: Sequence[str]
    ) -> None:
        super().__init__(name, unreadable)
        self._text = text
        self._delimiter, self.columns = split_header(text.readline().rstrip("\r\n"), delimiters)

    def _blocks(self, columns: Sequence[str], size: int) -> Iterator[Block]:
        width = len(self.columns)
        positions = {name: self.columns.index(name) for name in columns}
        reader = csv.reader(self._text, delimiter=self._delimiter)
        numbered = ((reader.line_num + 1, row) for row in reader if row)  # + 1: the header
        while read := list(itertools.islice(numbered, size)):
            rows = [(line, row) for line, row in read if len(row) == width]
            yield Block(
                np.array([line for line, _ in rows], dtype=np.int64),
                {name: [row[position] for _, row in rows] for name, position in positions.items()},
                [
                    (line, f"{len(row)} cells; the header has {width}", self._delimiter.join(row))
                    for line, row in read
                    if len(row) != width
                ],
            )


class JsonLinesTable(Table):
    """An object of cells on every line; the first one's names are the columns."""

    def __init__(self, text: IO[str], name: str, unreadable: Unreadable) -> None:
        super().__init__(name, unreadable)
        lines = self._parsed(text)
        first = next(lines, None)
        if first is None:
            raise ValueError(f"{name!r} has no rows.")
        self.columns = list(first[1])
        self._lines = itertools.chain([first], lines)

    def _parsed(self, text: IO[str]) -> Iterator[tuple[int, dict[str, Any]]]:
        for line, content in enumerate(text, start=1):
            if not content.strip():
                continue
            try:
                row = json.loads(content)
            except ValueError as error:
                raise ValueError(f"{self._name!r}, line {line}: not JSON ({error}).") from error
            if not isinstance(row, dict):
                raise ValueError(f"{self._name!r}, line {line}: not an object of named values.")
            yield line, row

    def _blocks(self, columns: Sequence[str], size: int) -> Iterator[Block]:
        while read := list(itertools.islice(self._lines, size)):
            for line, row in read:
                missing = [name for name in columns if name not in row]
                if missing:
                    raise no_column(f"{self._name}, line {line}", missing, list(row))
            yield Block(
                np.array([line for line, _ in read], dtype=np.int64),
                {name: [row[name] for _, row in read] for name in columns},
            )


class ParquetTable(Table):
    """Parquet, a batch at a time; cells are pyarrow arrays, dictionaries decoded."""

    _format = "Parquet file"
    place = "row"

    def __init__(self, file: Any, name: str, unreadable: Unreadable) -> None:
        super().__init__(name, unreadable)
        self._file = file
        self.columns = list(file.schema_arrow.names)
        self.num_rows: int = file.metadata.num_rows

    def _blocks(self, columns: Sequence[str], size: int) -> Iterator[Block]:
        done = 0
        for batch in self._file.iter_batches(size, columns=list(columns)):
            yield arrow_block(done + np.arange(batch.num_rows), columns, batch)
            done += batch.num_rows


def arrow_block(
    rows: NDArray[np.int64],
    columns: Sequence[str],
    batch: Any,
    malformed: Sequence[Malformed] = (),
) -> Block:
    """A block of these columns of a pyarrow record batch, dictionaries decoded."""
    cells = {name: batch.column(name) for name in columns}
    return Block(
        rows,
        {
            name: column.dictionary_decode() if hasattr(column, "dictionary_decode") else column
            for name, column in cells.items()
        },
        malformed,
    )
