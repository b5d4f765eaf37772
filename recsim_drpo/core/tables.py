"""Read tables from outside in blocks of rows: CSV and Parquet.

Memory holds one block, however long the table is. Parquet needs pyarrow (the extra ``parquet``);
text is read by the standard library, of CSV what :mod:`recsim_drpo.core.csv_rows` lets through.
"""

from __future__ import annotations

import csv
import io
import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from recsim_drpo.core.csv_rows import BLOCK_BYTES, MAX_ROW_BYTES, CsvRows
from recsim_drpo.core.messages import one_line, shown
from recsim_drpo.core.table_headers import DELIMITERS

_TEXT_BYTES = 2**13

# What readers raise where bytes are not of their format; pyarrow's errors are of these kinds too.
_OF_READERS: tuple[type[Exception], ...] = (OSError, ValueError, LookupError, TypeError, csv.Error)
_OF_READERS += (ArithmeticError, NotImplementedError, RecursionError, MemoryError, SystemError)

Malformed = tuple[int, str, str]
"""A malformed row: its number, what is wrong with it, its text."""

Unreadable = Callable[[str, str, Exception], ValueError]
"""Makes the error for an unreadable file of its name, its format in words and the cause."""


class Block(NamedTuple):
    """Rows that were read together.

    Attributes:
        rows: int64 (n,), their numbers in the file: of text the lines on which they end, from 1,
            of other formats from 0; see also :class:`recsim_drpo.datasets.importing.base.LogTable`.
        cells: by column, n of them: a list of a text table's, else a pyarrow array.
        malformed: further rows, which have no cells.
        file: which of several files they are in.
    """

    rows: NDArray[np.int64]
    cells: dict[str, Any]
    malformed: Sequence[Malformed] = ()
    file: str = ""

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
    """

    columns: list[str]
    num_rows: int | None = None
    _format = "text table"

    def __init__(self, name: str, unreadable: Unreadable) -> None:
        self._name, self._unreadable = name, unreadable

    def blocks(self, columns: Sequence[str], size: int) -> Iterator[Block]:
        """Blocks of at most ``size`` rows of these columns, in the file's order.

        Raises:
            ValueError: the file is damaged or not of its format.
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
    return ValueError(f"{shown(name)} is not a readable {format} ({one_line(error)}).")


@contextmanager
def reading(name: str, format: str, unreadable: Unreadable = unreadable) -> Iterator[None]:
    """Turn what a reader raises where bytes are not of its format into one ``ValueError``.

    A plain ``ValueError``, which says already what is wrong, passes unchanged.
    """
    try:
        yield
    except _OF_READERS as error:
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
    escape: str | None = None,
    unreadable: Unreadable = unreadable,
) -> Iterator[Table]:
    """Open a table to be read.

    Args:
        source: a file, or of text a stream, which stays open.
        format: ``"csv"`` (text with a header line, quoted by double quotes) or ``"parquet"``.
        name: of the file, for messages.
        delimiters: of CSV, those that it can have.
        escape: of CSV, what goes before a quote inside a quoted cell; see
            :class:`recsim_drpo.core.csv_rows.CsvRows`.
        unreadable: makes the error for bytes that are not of the format.

    Raises:
        OSError: the file cannot be opened.
        ValueError: it is not of its format, or pyarrow is missing.
    """
    if format == "parquet":
        pyarrow = require_pyarrow("Parquet needs")
        with reading(name, ParquetTable._format, unreadable):
            # Else a whole row group, which may be the whole file, is read at once.
            file = pyarrow.parquet.ParquetFile(source, pre_buffer=False, buffer_size=BLOCK_BYTES)
        with file:
            yield ParquetTable(file, name, unreadable)
        return
    with _opened(source) as file:
        with reading(name, Table._format, unreadable):
            rows = CsvRows(
                file.read, name, escape=escape, delimiters=delimiters, block_bytes=_TEXT_BYTES
            )
        yield CsvTable(rows, name, unreadable)


def require_pyarrow(what: str) -> Any:
    """The package pyarrow; ``ValueError`` that begins with ``what`` where it is missing."""
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise ValueError(f'{what} pyarrow: pip install "recsim-drpo[parquet]".') from error
    return pyarrow


@contextmanager
def _opened(source: Path | IO[bytes]) -> Iterator[IO[bytes]]:
    if isinstance(source, Path):
        with source.open("rb") as file:
            yield file
    else:
        yield source


class CsvTable(Table):
    """Delimited text with a header line; without one it has no columns. All cells are text.

    A cell need not be UTF-8 unless its column is read.
    """

    def __init__(self, rows: CsvRows, name: str, unreadable: Unreadable) -> None:
        super().__init__(name, unreadable)
        self._rows = rows
        self.columns = rows.columns

    def _blocks(self, columns: Sequence[str], size: int) -> Iterator[Block]:
        rows = _parsed(itertools.chain.from_iterable(map(_lines, self._rows)), self._rows)
        numbered = ((line + 1, row) for line, row in rows)  # + 1: the header
        while read := list(itertools.islice(numbered, size)):
            yield text_block(read, columns, self._rows, self._name)


def _lines(rows: bytes) -> Iterator[str]:
    return io.StringIO(rows.decode("utf-8", "surrogateescape"), newline="")


def parsed_lines(data: bytes, rows: CsvRows) -> Iterator[tuple[int, list[str]]]:
    """Rows of cells, each with the number, from 1, of the line on which it ends; no blank lines.

    Args:
        data: whole rows; where they are not UTF-8, surrogates stand for bytes.
        rows: what they are of.
    """
    return _parsed(_lines(data), rows)


def _parsed(lines: Iterator[str], rows: CsvRows) -> Iterator[tuple[int, list[str]]]:
    csv.field_size_limit(max(csv.field_size_limit(), MAX_ROW_BYTES))
    reader = csv.reader(lines, delimiter=rows.delimiter, escapechar=rows.escape)
    return ((reader.line_num, row) for row in reader if row)


def text_block(
    numbered: Sequence[tuple[int, list[str]]],
    columns: Sequence[str],
    rows: CsvRows,
    name: str,
    place: str = "line",
) -> Block:
    """A block of these columns of rows of text, whose numbers stand beside them.

    Raises:
        ValueError: a cell of these columns is not UTF-8.
    """
    width = len(rows.columns)
    whole = [(line, row) for line, row in numbered if len(row) == width]
    cells = {
        column: [row[position] for _, row in whole]
        for column, position in ((column, rows.columns.index(column)) for column in columns)
    }
    for column, values in cells.items():
        if not _is_utf8("".join(values)):
            at = list(map(_is_utf8, values)).index(False)
            raise ValueError(
                f"{name!r}, {place} {whole[at][0]}: column {shown(column)} is not UTF-8 text. "
                "Write the file anew as UTF-8: iconv -f ISO-8859-1 -t UTF-8, if it is Latin-1."
            )
    malformed = []
    for line, row in numbered:
        if len(row) != width:
            text = (
                rows.delimiter.join(row).encode("utf-8", "surrogateescape").decode(errors="replace")
            )
            fault = rows.faults.pop(text, (f"{len(row)} cells; the header has {width}", text))
            malformed.append((line, *fault))
    return Block(np.array([line for line, _ in whole], dtype=np.int64), cells, malformed)


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # what stands for bytes that are not
        return False
    return True


class ParquetTable(Table):
    """Parquet, a batch at a time; cells are pyarrow arrays, dictionaries decoded."""

    _format = "Parquet file"

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
    """A block of these columns of a pyarrow record batch; dictionaries and views become plain.

    Raises:
        pyarrow.ArrowInvalid: the batch is damaged: Arrow's functions trust offsets and read beyond
            their memory where these are wrong.
    """
    for name in columns:
        batch.column(name).validate(full=True)
    return Block(rows, {name: plain_cells(batch.column(name)) for name in columns}, malformed)


def plain_cells(cells: Any) -> Any:
    """A pyarrow array without dictionary, and with text and bytes as types that have functions."""
    import pyarrow

    if isinstance(cells, pyarrow.DictionaryArray):
        cells = plain_cells(cells.dictionary).take(cells.indices)
    views = {"string_view": pyarrow.string(), "binary_view": pyarrow.binary()}
    return cells.cast(views[str(cells.type)]) if str(cells.type) in views else cells
