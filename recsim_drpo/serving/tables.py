"""Contexts in, recommendations out, piece by piece: CSV, Parquet and JSON lines.

A table of contexts has a row a context: in one column a dimension, or in one list column. A table
of recommendations has a row an item: the context's id, ``rank`` from 1, ``item_id`` and ``score``.
"""

from __future__ import annotations

import csv
import fnmatch
import io
import itertools
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from recsim_drpo.core.files import atomic_file
from recsim_drpo.core.table_headers import check_unique, listed, no_column, split_header
from recsim_drpo.core.validation import unknown_name
from recsim_drpo.datasets.importing.columns import Columns
from recsim_drpo.serving.formats import FORMATS, SUFFIXES
from recsim_drpo.simulator.embeddings import parse_vector

STREAM = Path("-")
"""In place of a file: standard input, or standard output."""

ROW = "row"
"""The column of ids where no other is named: a context's number, from 0."""

_RESULTS = ("rank", "item_id", "score")
_BUFFER = 2**20

Ids = list[int] | list[str]
Write = Callable[[Ids, NDArray[Any], NDArray[np.float32]], None]


class Piece(NamedTuple):
    """Some rows of a table of contexts.

    Attributes:
        ids: (n,), all integers or all text.
        contexts: float32 (n, o), finite.
    """

    ids: Ids
    contexts: NDArray[np.float32]


class ContextTable(NamedTuple):
    """A table of contexts that is being read.

    Attributes:
        id_name: the column that the ids are of.
        num_rows: how many there are, or ``None`` where the format does not say beforehand.
        pieces: the table's rows, in its order; raises ``ValueError`` where one is faulty.
    """

    id_name: str
    num_rows: int | None
    pieces: Iterator[Piece]


class _Raw(NamedTuple):
    """Cells by column, and where a row stands in the file."""

    columns: dict[str, list[Any]]
    place: Callable[[int], str]


def format_of(path: Path, named: str | None, option: str) -> str:
    """The format of a file: the one named, else by its suffix; a stream's is CSV by default.

    Raises:
        ValueError: neither says it, or Parquet is to be streamed, whose end has to be read first.
    """
    if named is not None and named not in FORMATS:
        raise unknown_name(option, named, FORMATS)
    if path == STREAM:
        if named == "parquet":
            raise ValueError(f"{option} 'parquet' needs a file; streams are csv or jsonl.")
        return named or "csv"
    if named is None and path.suffix.lower() not in SUFFIXES:
        raise ValueError(
            f"{path.name!r} has suffix {path.suffix!r}; known: {', '.join(SUFFIXES)}. "
            f"Or name its format by {option}: {', '.join(FORMATS)}."
        )
    return named or SUFFIXES[path.suffix.lower()]


@contextmanager
def open_contexts(
    path: Path,
    dim: int,
    *,
    format: str | None = None,
    columns: Sequence[str] | None = None,
    id_column: str | None = None,
    rows: int = 4096,
    coding: Columns | None = None,
) -> Iterator[ContextTable]:
    """Read contexts in pieces, of which one is held at a time.

    Args:
        path: a file, or :data:`STREAM`.
        dim: dimension o of a context.
        format: one of :data:`FORMATS`; ``None``: by the suffix, CSV of a stream.
        columns: names or shell patterns of the o columns, or of the one list column, in the order
            of the policy's input; a pattern stands for its columns in the table's order. ``None``:
            those of ``coding``; without it, or where the table has none of them, the list column
            ``context`` if there is one, else ``context_0`` … ``context_{o-1}``.
        id_column: the column of ids, integers or text; ``None`` numbers the rows.
        rows: of a piece, ≥ 1.
        coding: numbers and categories of the log that the policy learnt from, coded as it was.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the format is unknown or the file is not of it, is empty or is cut off; columns
            are missing (the nearest is named) or not as many as the policy takes; a cell is not a
            finite number, or is none of the categories (says where).
    """
    kind = format_of(path, format, "--input-format")
    file = "standard input" if path == STREAM else path.name
    if path != STREAM and not path.is_file():
        raise FileNotFoundError(f"There is no file of contexts at {str(path)!r}.")
    with _opened(path, file, kind) as source:
        check_unique(file, source.names)
        if id_column is not None and id_column not in source.names:
            raise no_column(file, [id_column], source.names)
        if id_column in _RESULTS:
            raise ValueError(f"The ids cannot be called {id_column!r}: results have that column.")
        categories: Mapping[str, Sequence[str]] | None = None
        if columns is None and coding is not None and _has_coded(source.names, coding):
            chosen, categories = [*coding.numbers, *coding.categories], coding.categories
            missing = [name for name in chosen if name not in source.names]
            if missing:
                raise no_column(file, missing, source.names, " The policy learnt from that column.")
        else:
            chosen = _chosen(file, source.names, dim, columns, id_column)
        pieces = _pieces(file, source, chosen, categories, dim, id_column, rows)
        yield ContextTable(id_column or ROW, source.num_rows, pieces)


@contextmanager
def open_recommendations(path: Path, id_name: str, *, format: str | None = None) -> Iterator[Write]:
    """Write recommendations in pieces; a file appears whole or not at all.

    Args:
        path: a file that is not there yet, or :data:`STREAM`.
        id_name: name of the first column.
        format: one of :data:`FORMATS`; ``None``: by the suffix, CSV of a stream.

    Yields:
        what is called with ids (n,), item ids (n, k) and scores, float32 (n, k).

    Raises:
        FileExistsError, OSError: the file is there, or cannot be made.
        ValueError: the format is unknown, or lacks its package.
    """
    kind = format_of(path, format, "--output-format")
    if path == STREAM:
        yield _text_writer(sys.stdout, kind, id_name)
        sys.stdout.flush()
        return
    with atomic_file(path) as partial:
        if kind == "parquet":
            with _parquet_writer(partial, id_name) as write:
                yield write
        else:
            with partial.open("w", newline="", encoding="utf-8") as file:
                yield _text_writer(file, kind, id_name)


def _has_coded(names: Sequence[str], coding: Columns) -> bool:
    """Whether a table is like the log that was imported, rather than of coded contexts."""
    coded = {*coding.numbers, *coding.categories}
    return not coded.isdisjoint(names) or {"context", "context_0"}.isdisjoint(names)


def _chosen(
    file: str, names: Sequence[str], dim: int, columns: Sequence[str] | None, ids: str | None
) -> list[str]:
    """The columns that hold the context: one of lists, or one a dimension."""
    if columns is None:
        if "context" in names:
            return ["context"]
        wanted = [f"context_{i}" for i in range(dim)]
        if f"context_{dim}" in names:
            raise ValueError(f"{file!r} has a column 'context_{dim}'; the policy takes {dim}.")
    else:
        wanted = []
        for column in columns:
            others = [name for name in names if name != ids]
            wanted += [column] if column in names else fnmatch.filter(others, column) or [column]
    missing = [name for name in wanted if name not in names]
    if missing:
        raise no_column(
            file, missing, names, " Name the columns, in the policy's order, by --columns."
        )
    if len(wanted) not in (1, dim) or len(set(wanted)) < len(wanted):
        raise ValueError(
            f"{len(wanted)} columns are named ({listed(wanted)}); the policy takes {dim} "
            "different ones, or one of lists."
        )
    return wanted


def _pieces(
    file: str,
    source: _Source,
    chosen: list[str],
    categories: Mapping[str, Sequence[str]] | None,
    dim: int,
    id_column: str | None,
    rows: int,
) -> Iterator[Piece]:
    done, id_type = 0, None
    # An import takes true and false for 1 and 0.
    cells = source.cells if categories is None else source.cells | {bool}
    wanted = chosen if id_column is None or id_column in chosen else [id_column, *chosen]
    for raw in source.pieces(wanted, rows):
        size = len(raw.columns[chosen[0]])
        if id_column is None:
            ids: Ids = list(range(done, done + size))
        else:
            ids = raw.columns[id_column]
            id_type = type(ids[0]) if id_type is None else id_type
            _check_ids(file, id_column, ids, id_type, raw.place)
        yield Piece(ids, _vectors(file, raw, chosen, categories or {}, dim, cells))
        done += size
    if done == 0:
        raise ValueError(f"{file!r} has no rows.")


def _check_ids(file: str, name: str, ids: Ids, expected: type, place: Callable[[int], str]) -> None:
    known = expected in (int, str)
    if known and set(map(type, ids)) == {expected}:
        return
    row = next(i for i, one in enumerate(ids) if not known or type(one) is not expected)
    first = f", and the first is of type {expected.__name__}" if known else ""
    raise ValueError(
        f"{file!r}, {place(row)}: the id {name}={ids[row]!r} is of type {type(ids[row]).__name__}"
        f"{first}; ids are all integers or all text."
    )


def _vectors(
    file: str,
    raw: _Raw,
    names: list[str],
    categories: Mapping[str, Sequence[str]],
    dim: int,
    cells: frozenset[type],
) -> NDArray[np.float32]:
    """The contexts of a piece, float32 (n, dim); ``ValueError`` names the first faulty cell."""
    if len(names) == 1 and dim > 1 and not categories:
        rows = [parse_vector(cell) for cell in raw.columns[names[0]]]
        for row, vector in enumerate(rows):
            if vector is None or len(vector) != dim:
                found = "no list of numbers" if vector is None else f"{len(vector)} numbers"
                raise ValueError(
                    f"{file!r}, {raw.place(row)}: {names[0]!r} holds {found}; the policy takes "
                    f"{dim}."
                )
        values = np.array(rows, dtype=np.float64)
    else:
        parts = [
            _one_hot(file, raw, name, categories[name])
            if name in categories
            else _numbers(raw.columns[name], cells)[:, None]
            for name in names
        ]
        values = np.concatenate(parts, axis=1)
    with np.errstate(over="ignore"):
        contexts = values.astype(np.float32)
    faulty = ~np.isfinite(contexts)
    if faulty.any():
        row, column = map(int, np.argwhere(faulty)[0])
        name = names[min(column, len(names) - 1)]
        raise ValueError(
            f"{file!r}, {raw.place(row)}: {name}={raw.columns[name][row]!r} is not a finite number "
            "of single precision."
        )
    return contexts


def _one_hot(file: str, raw: _Raw, name: str, known: Sequence[str]) -> NDArray[np.float64]:
    """A column of categories as float64 (n, categories), coded as in an imported log."""
    positions = {value: position for position, value in enumerate(known)}
    found = [positions.get(_category(cell), -1) for cell in raw.columns[name]]
    if -1 in found:
        row = found.index(-1)
        raise ValueError(
            f"{file!r}, {raw.place(row)}: {name}={raw.columns[name][row]!r} is none of the "
            f"categories that the policy learnt from: {listed(known)}."
        )
    return np.asarray(np.eye(len(known))[found])


def _category(cell: Any) -> str:
    """A cell as text, as :func:`recsim_drpo.datasets.importing.table.texts` has it."""
    if isinstance(cell, bool):
        return str(cell).lower()
    whole = isinstance(cell, float) and cell.is_integer()
    return str(int(cell) if whole else cell).strip()


def _numbers(cells: list[Any], types: frozenset[type]) -> NDArray[np.float64]:
    """Cells as float64 (n,), NaN where one is no number."""
    if set(map(type, cells)) <= types:
        try:
            return np.asarray(cells, dtype=np.float64)
        except (ValueError, OverflowError):
            pass
    return np.asarray([_number(cell, types) for cell in cells], dtype=np.float64)


def _number(cell: Any, types: frozenset[type]) -> float:
    try:
        return float(cell) if type(cell) in types else np.nan
    except (ValueError, OverflowError):
        return np.nan


@contextmanager
def _opened(path: Path, file: str, kind: str) -> Iterator[_Source]:
    if kind == "parquet":
        yield _ParquetSource(path, file)
        return
    made = _CsvSource if kind == "csv" else _JsonLinesSource
    if path == STREAM:
        text = io.TextIOWrapper(sys.stdin.buffer, encoding="utf-8-sig", newline="")
        try:
            yield made(text, file)
        finally:
            text.detach()  # which would close standard input with it
    else:
        with path.open(encoding="utf-8-sig", newline="") as opened:
            yield made(opened, file)


class _CsvSource:
    """Like the two below: names of columns, types that a number may have, and pieces."""

    cells = frozenset({str})
    num_rows = None

    def __init__(self, text: IO[str], file: str) -> None:
        self._text, self._file = text, file
        with _readable(file, "text table"):
            header = text.readline().rstrip("\r\n")
            if not header:
                raise ValueError(f"{file!r} has no header line; its first line names the columns.")
            self._delimiter, self.names = split_header(header)

    def pieces(self, names: Sequence[str], rows: int) -> Iterator[_Raw]:
        width, where = len(self.names), {name: self.names.index(name) for name in names}
        reader = csv.reader(self._text, delimiter=self._delimiter)
        numbered = ((reader.line_num + 1, row) for row in reader if row)  # + 1: the header
        while True:
            with _readable(self._file, "text table"):
                some = list(itertools.islice(numbered, rows))
            for line, row in some:
                if len(row) != width:
                    raise ValueError(
                        f"{self._file!r}, line {line}: {len(row)} cells; the header has {width}."
                    )
            if not some:
                return
            lines = [line for line, _ in some]
            columns = {name: [row[i] for _, row in some] for name, i in where.items()}
            yield _Raw(columns, _line_of(lines))


class _JsonLinesSource:
    cells = frozenset({int, float})
    num_rows = None

    def __init__(self, text: IO[str], file: str) -> None:
        self._file = file
        self._rows = self._parsed(text)
        with _readable(file, "text table"):
            first = next(self._rows, None)
        if first is None:
            raise ValueError(f"{file!r} has no rows.")
        self.names = list(first[1])
        self._rows = itertools.chain([first], self._rows)

    def _parsed(self, text: IO[str]) -> Iterator[tuple[int, dict[str, Any]]]:
        for line, content in enumerate(text, start=1):
            if not content.strip():
                continue
            try:
                row = json.loads(content)
            except ValueError as error:
                raise ValueError(f"{self._file!r}, line {line}: not JSON ({error}).") from error
            if not isinstance(row, dict):
                raise ValueError(f"{self._file!r}, line {line}: not an object of named values.")
            yield line, row

    def pieces(self, names: Sequence[str], rows: int) -> Iterator[_Raw]:
        while True:
            with _readable(self._file, "text table"):
                some = list(itertools.islice(self._rows, rows))
            if not some:
                return
            for line, row in some:
                missing = [name for name in names if name not in row]
                if missing:
                    raise no_column(f"{self._file}, line {line}", missing, list(row))
            columns = {name: [row[name] for _, row in some] for name in names}
            yield _Raw(columns, _line_of([line for line, _ in some]))


class _ParquetSource:
    cells = frozenset({int, float})

    def __init__(self, path: Path, file: str) -> None:
        self._name = file
        with _readable(file, "Parquet file"):
            self._file = _pyarrow().parquet.ParquetFile(path, pre_buffer=False, buffer_size=_BUFFER)
        self.names = list(self._file.schema_arrow.names)
        self.num_rows: int | None = self._file.metadata.num_rows

    def pieces(self, names: Sequence[str], rows: int) -> Iterator[_Raw]:
        batches = self._file.iter_batches(rows, columns=list(names))
        done = 0
        while True:
            with _readable(self._name, "Parquet file"):
                batch = next(batches, None)
            if batch is None:
                return
            columns = {name: batch.column(name).to_pylist() for name in names}
            yield _Raw(columns, _row_of(done))
            done += batch.num_rows


_Source = _CsvSource | _JsonLinesSource | _ParquetSource


def _row_of(first: int) -> Callable[[int], str]:
    return lambda row: f"row {first + row}"


def _line_of(lines: Sequence[int]) -> Callable[[int], str]:
    return lambda row: f"line {lines[row]}"


@contextmanager
def _readable(file: str, what: str) -> Iterator[None]:
    """Say whose fault it is where a reader meets bytes that are not of its format."""
    try:
        yield
    except (UnicodeDecodeError, csv.Error, OSError) as error:
        raise ValueError(f"{file!r} is not a readable {what} ({error}).") from error
    except ValueError as error:
        if type(error) is ValueError:
            raise
        raise ValueError(f"{file!r} is not a readable {what} ({error}).") from error


def _pyarrow() -> Any:
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise ValueError('Parquet needs pyarrow: pip install "recsim-drpo[parquet]".') from error
    return pyarrow


def _text_writer(file: IO[str], kind: str, id_name: str) -> Write:
    names = (id_name, *_RESULTS)
    table = csv.writer(file, lineterminator="\n")
    started = False

    def write(ids: Ids, items: NDArray[Any], scores: NDArray[np.float32]) -> None:
        nonlocal started
        if kind == "csv" and not started:  # only now: bad input leaves no lone header
            table.writerow(names)
            started = True
        # str: the shortest decimal that is that float32.
        rows = (
            (one, rank, item, str(score))
            for one, its_items, its_scores in zip(ids, items.tolist(), scores, strict=True)
            for rank, (item, score) in enumerate(zip(its_items, its_scores, strict=True), start=1)
        )
        if kind == "csv":
            table.writerows(rows)
        else:
            for *others, score in rows:
                line = dict(zip(names, (*others, float(score)), strict=True))
                file.write(json.dumps(line, ensure_ascii=False) + "\n")

    return write


@contextmanager
def _parquet_writer(path: Path, id_name: str) -> Iterator[Write]:
    arrow = _pyarrow()
    writer = None

    def write(ids: Ids, items: NDArray[Any], scores: NDArray[np.float32]) -> None:
        nonlocal writer
        size, k = items.shape
        columns = {
            id_name: arrow.array([one for one in ids for _ in range(k)]),
            "rank": arrow.array(np.tile(np.arange(1, k + 1, dtype=np.int32), size)),
            "item_id": arrow.array(items.ravel().tolist()),
            "score": arrow.array(scores.ravel()),
        }
        table = arrow.table(columns)
        if writer is None:
            writer = arrow.parquet.ParquetWriter(path, table.schema)
        writer.write_table(table)

    try:
        yield write
    finally:
        if writer is not None:
            writer.close()
