"""Read contexts piece by piece: CSV, Parquet and JSON lines.

A table of contexts has a row a context: in one column a dimension, or in one list column.
"""

from __future__ import annotations

import fnmatch
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from recsim_drpo.core.table_headers import check_unique, listed, no_column
from recsim_drpo.core.tables import Table, open_table
from recsim_drpo.datasets.importing.columns import Columns
from recsim_drpo.serving.formats import STREAM, format_of
from recsim_drpo.simulator.embeddings import parse_vector

ROW = "row"
"""The name of the ids where no column of them is named: they are the contexts' numbers, from 0."""

RESULT_COLUMNS = ("rank", "item_id", "score")
"""Columns of a table of recommendations, after the ids."""

Ids = list[int] | list[str]


class Piece(NamedTuple):
    """Some rows of a table of contexts.

    Attributes:
        ids: (n,), all integers or all text.
        contexts: float32 (n, o), finite.
        candidates: (n,), the cells of the column of candidates, if one is read.
    """

    ids: Ids
    contexts: NDArray[np.float32]
    candidates: list[Any] | None = None


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


class _Cells(NamedTuple):
    """Cells of some rows, n by column, and where those rows stand in which file."""

    file: str
    place: str
    rows: NDArray[np.int64]
    columns: dict[str, list[Any]]

    def where(self, row: int) -> str:
        """The file and the place of a row, in words."""
        return f"{self.file!r}, {self.place} {self.rows[row]}"


class _Layout(NamedTuple):
    """The meaning of the columns of a table of contexts.

    Attributes:
        context: columns of the context, in the order of the policy's input.
        categories: of those that are one-hot coded; ``None`` where the context is coded already.
        dim: dimension o of a context.
        ids: the column of ids, if there is one.
        candidates: the column of candidates, if there is one.
    """

    context: list[str]
    categories: Mapping[str, Sequence[str]] | None
    dim: int
    ids: str | None
    candidates: str | None = None

    @property
    def used(self) -> list[str]:
        """Every column that is read, once."""
        others = [name for name in (self.ids, self.candidates) if name is not None]
        return list(dict.fromkeys([*others, *self.context]))


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
    candidates: str | None = None,
    escape: str | None = None,
) -> Iterator[ContextTable]:
    """Open a table of contexts, to be read in pieces, of which memory holds one.

    Args:
        path: a file, or :data:`.formats.STREAM`.
        dim: dimension o of a context.
        format: one of :data:`.formats.FORMATS`; ``None``: by the suffix, CSV of a stream.
        columns: names or shell patterns of the o columns, or of the one list column, in the order
            of the policy's input; a pattern stands for its columns in the table's order. ``None``:
            those of ``coding``; without it, or where the table has none of them, the list column
            ``context`` if there is one, else ``context_0`` … ``context_{o-1}``.
        id_column: the column of ids, integers or text; ``None`` numbers the rows.
        rows: of a piece, ≥ 1.
        coding: numbers and categories of the log that the policy learnt from, coded as it was.
        candidates: a column to be read beside the context, of whatever cells.
        escape: of CSV, see :func:`recsim_drpo.core.tables.open_table`.

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
    source = sys.stdin.buffer if path == STREAM else path
    with open_table(source, kind, file, escape=escape) as table:
        if kind == "csv" and not table.columns:
            raise ValueError(f"{file!r} has no header line; its first line names the columns.")
        check_unique(file, table.columns)
        for name in (id_column, candidates):
            if name is not None and name not in table.columns:
                raise no_column(file, [name], table.columns)
        if id_column in RESULT_COLUMNS:
            raise ValueError(f"The ids cannot be called {id_column!r}: results have that column.")
        if columns is None and coding is not None and _has_coded(table.columns, coding):
            context = [*coding.numbers, *coding.categories]
            missing = [name for name in context if name not in table.columns]
            if missing:
                mend = " The policy learnt from that column."
                raise no_column(file, missing, table.columns, mend)
            layout = _Layout(context, coding.categories, dim, id_column, candidates)
        else:
            names = [name for name in table.columns if name != candidates]
            context = _context_columns(file, names, dim, columns, id_column)
            layout = _Layout(context, None, dim, id_column, candidates)
        yield ContextTable(id_column or ROW, table.num_rows, _pieces(file, table, layout, rows))


def contexts_of(
    rows: Sequence[Mapping[str, Any]], coding: Columns, place: str = "context"
) -> NDArray[np.float32]:
    """The contexts of rows with the columns of an imported log, coded as it was: float32 (n, o).

    Args:
        rows: (n,), values by column; others are passed over.
        coding: the log's numbers and categories.
        place: what a row is called in messages.

    Raises:
        ValueError: a column is missing, or a value is no finite number or none of the categories.
    """
    names = [*coding.numbers, *coding.categories]
    for number, row in enumerate(rows):
        missing = [name for name in names if name not in row]
        if missing:
            raise no_column(f"{place} {number}", missing, list(row))
    columns = {name: [row[name] for row in rows] for name in names}
    cells = _Cells("the request", place, np.arange(len(rows)), columns)
    layout = _Layout(names, coding.categories, coding.dim, None)
    return _contexts(cells, layout, frozenset({int, float, bool}))


def _has_coded(names: Sequence[str], coding: Columns) -> bool:
    """Whether a table has columns like the log that was imported, not contexts that are coded."""
    coded = {*coding.numbers, *coding.categories}
    return not coded.isdisjoint(names) or {"context", "context_0"}.isdisjoint(names)


def _context_columns(
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


def _pieces(file: str, table: Table, layout: _Layout, size: int) -> Iterator[Piece]:
    done, id_type = 0, None
    # An import takes true and false for 1 and 0.
    types = table.number_types if layout.categories is None else table.number_types | {bool}
    for block in table.blocks(layout.used, size):
        if block.malformed:
            line, fault, _ = block.malformed[0]
            raise ValueError(f"{file!r}, {table.place} {line}: {fault}.")
        cells = _Cells(file, table.place, block.rows, block.lists())
        if layout.ids is None:
            ids: Ids = list(range(done, done + len(block.rows)))
        else:
            ids = cells.columns[layout.ids]
            id_type = type(ids[0]) if id_type is None else id_type
            _check_id_types(cells, layout.ids, id_type)
        candidates = None if layout.candidates is None else cells.columns[layout.candidates]
        yield Piece(ids, _contexts(cells, layout, types), candidates)
        done += len(block.rows)
    if done == 0:
        raise ValueError(f"{file!r} has no rows.")


def _check_id_types(cells: _Cells, name: str, expected: type) -> None:
    ids = cells.columns[name]
    known = expected in (int, str)
    if known and set(map(type, ids)) == {expected}:
        return
    row = next(row for row, value in enumerate(ids) if not known or type(value) is not expected)
    first = f", and the first is of type {expected.__name__}" if known else ""
    raise ValueError(
        f"{cells.where(row)}: the id {name}={ids[row]!r} is of type {type(ids[row]).__name__}"
        f"{first}; ids are all integers or all text."
    )


def _contexts(cells: _Cells, layout: _Layout, types: frozenset[type]) -> NDArray[np.float32]:
    """The contexts of a piece, float32 (n, dim); ``ValueError`` names the first faulty cell."""
    names, categories = layout.context, layout.categories or {}
    if len(names) == 1 and layout.dim > 1 and not categories:
        values = _listed_numbers(cells, names[0], layout.dim)
    else:
        parts = [
            _one_hot(cells, name, categories[name])
            if name in categories
            else _numbers(cells.columns[name], types)[:, None]
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
            f"{cells.where(row)}: {name}={cells.columns[name][row]!r} is not a finite number of "
            "single precision."
        )
    return contexts


def _listed_numbers(cells: _Cells, name: str, dim: int) -> NDArray[np.float64]:
    """A column of lists as float64 (n, dim)."""
    vectors = [parse_vector(cell) for cell in cells.columns[name]]
    for row, vector in enumerate(vectors):
        if vector is None or len(vector) != dim:
            content = "no list of numbers" if vector is None else f"{len(vector)} numbers"
            raise ValueError(
                f"{cells.where(row)}: {name!r} holds {content}; the policy takes {dim}."
            )
    return np.array(vectors, dtype=np.float64)


def _one_hot(cells: _Cells, name: str, known: Sequence[str]) -> NDArray[np.float64]:
    """A column of categories as float64 (n, categories), coded as in an imported log."""
    positions = {value: position for position, value in enumerate(known)}
    codes = [positions.get(_category(cell), -1) for cell in cells.columns[name]]
    if -1 in codes:
        row = codes.index(-1)
        raise ValueError(
            f"{cells.where(row)}: {name}={cells.columns[name][row]!r} is none of the categories "
            f"that the policy learnt from: {listed(known)}."
        )
    return np.asarray(np.eye(len(known))[codes])


def _category(cell: Any) -> str:
    """A cell as text, as :func:`recsim_drpo.datasets.importing.table.texts` has it."""
    if isinstance(cell, bool):
        return str(cell).lower()
    whole = isinstance(cell, float) and cell.is_integer()
    return str(int(cell) if whole else cell).strip()


def _numbers(cells: list[Any], types: frozenset[type]) -> NDArray[np.float64]:
    """Cells as float64 (n,), NaN where a cell is no number."""
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
