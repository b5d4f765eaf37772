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
from recsim_drpo.core.tables import Block, Malformed, Table, open_table
from recsim_drpo.datasets.importing.coding import ContextCoder
from recsim_drpo.serving.formats import STREAM, format_of
from recsim_drpo.simulator.embeddings import parse_vector

ROW = "row"
"""The name of the ids where no column of them is named: they are the contexts' numbers, from 0."""

RESULT_COLUMNS = ("rank", "item_id", "score")
"""Columns of a table of recommendations, after the ids."""

Ids = list[int] | list[str]
_NO_NUMBER = "no finite number"


class Piece(NamedTuple):
    """Some rows of a table of contexts.

    Attributes:
        ids: (n,), all integers or all text.
        contexts: float32 (n, o), finite.
        candidates: (n,), the cells of the column of candidates, if one is read.
        refused: the rows among them that are no context: number, why, and the faulty cell.
    """

    ids: Ids
    contexts: NDArray[np.float32]
    candidates: list[Any] | None = None
    refused: Sequence[Malformed] = ()


class ContextTable(NamedTuple):
    """A table of contexts that is being read.

    Attributes:
        id_name: the column that the ids are of.
        num_rows: how many there are, or ``None`` where the format does not say beforehand.
        pieces: the table's rows, in its order; raises ``ValueError`` in the end if not one of
            them is a context.
    """

    id_name: str
    num_rows: int | None
    pieces: Iterator[Piece]


class _Layout(NamedTuple):
    """The meaning of the columns of a table of contexts.

    Attributes:
        context: columns of the context, in the order of the policy's input.
        coder: of those of an imported log; ``None`` where the context is coded already.
        dim: dimension o of a context.
        ids: the column of ids, if there is one.
        candidates: the column of candidates, if there is one.
    """

    context: list[str]
    coder: ContextCoder | None
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
    coding: ContextCoder | None = None,
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
        coding: codes columns as those of the log that the policy learnt from.
        candidates: a column to be read beside the context, of whatever cells.
        escape: of CSV, see :func:`recsim_drpo.core.tables.open_table`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the format is unknown or the file is not of it, is empty or is cut off; columns
            are missing (the nearest is named) or not as many as the policy takes.
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
            context = coding.names
            missing = [name for name in context if name not in table.columns]
            if missing:
                mend = " The policy learnt from that column."
                raise no_column(file, missing, table.columns, mend)
            layout = _Layout(context, coding, dim, id_column, candidates)
        else:
            names = [name for name in table.columns if name != candidates]
            context = _context_columns(file, names, dim, columns, id_column)
            layout = _Layout(context, None, dim, id_column, candidates)
        yield ContextTable(id_column or ROW, table.num_rows, _pieces(file, table, layout, rows))


def contexts_of(
    rows: Sequence[Mapping[str, Any]], coding: ContextCoder, place: str = "context"
) -> NDArray[np.float32]:
    """The contexts of rows with the columns of an imported log, coded as it was: float32 (n, o).

    Args:
        rows: (n,), values by column; others are passed over.
        coding: codes the log's columns.
        place: what a row is called in messages.

    Raises:
        ValueError: a column is missing, or a value cannot be coded.
    """
    for number, row in enumerate(rows):
        missing = [name for name in coding.names if name not in row]
        if missing:
            raise no_column(f"{place} {number}", missing, list(row))
    values = coding.values({name: [row[name] for row in rows] for name in coding.names})
    for name, why, wrong in coding.faults(values):
        if wrong.any():
            number = int(wrong.argmax())
            raise ValueError(f"{place} {number}: {name}: {why} ({rows[number][name]!r}).")
    return coding.contexts(values)


def _has_coded(names: Sequence[str], coding: ContextCoder) -> bool:
    """Whether a table has columns like the log that was imported, not contexts that are coded."""
    return not set(coding.names).isdisjoint(names) or {"context", "context_0"}.isdisjoint(names)


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
    done, num_contexts, id_type = 0, 0, None
    first = ""
    for block in table.blocks(layout.used, size):
        contexts, faults = _contexts(block, layout, table.number_types)
        known = _known_ids(file, table.place, block, layout.ids, id_type)
        if known is not None:
            id_type = next((type(value) for value in known if value is not None), id_type)
            faults = [
                (f"{layout.ids}: missing", "") if value is None else fault
                for value, fault in zip(known, faults, strict=True)
            ]
        kept = np.array([not why for why, _ in faults], dtype=np.bool_)
        refused = [
            (int(row), why, value)
            for row, (why, value) in zip(block.rows, faults, strict=True)
            if why
        ]
        refused = sorted([*refused, *block.malformed])
        if known is None:
            numbers = sorted([*block.rows.tolist(), *(row for row, *_ in block.malformed)])
            ids: Ids = (done + np.searchsorted(numbers, block.rows[kept])).tolist()
        else:
            ids = [value for value, good in zip(known, kept, strict=True) if good]
        if refused and not first:
            row, why, value = refused[0]
            first = f"{file!r}, {table.place} {row}: {why}" + (f" ({value})" if value else "")
        wanted = None
        if layout.candidates is not None:
            cells = block.lists()[layout.candidates]
            wanted = [cell for cell, good in zip(cells, kept, strict=True) if good]
        yield Piece(ids, contexts[kept], wanted, refused)
        done += len(block.rows) + len(block.malformed)
        num_contexts += len(ids)
    if done == 0:
        raise ValueError(f"{file!r} has no rows.")
    if num_contexts == 0:
        raise ValueError(f"Not one of {done:,} rows is a context; the first: {first}.")


def _contexts(
    block: Block, layout: _Layout, types: frozenset[type]
) -> tuple[NDArray[np.float32], list[tuple[str, str]]]:
    """The contexts of a block, float32 (n, dim), and of each row what is wrong, or nothing."""
    faults = [("", "")] * len(block.rows)
    if layout.coder is not None:
        values = layout.coder.values(block.cells)
        for name, why, wrong in reversed(layout.coder.faults(values)):
            cells = block.cells[name]
            for row in np.flatnonzero(wrong).tolist():
                cell = cells[row] if isinstance(cells, list) else cells[row].as_py()
                faults[row] = (f"{name}: {why}", repr(cell))
        good = [not why for why, _ in faults]
        contexts = np.zeros((len(faults), layout.dim), dtype=np.float32)
        contexts[good] = layout.coder.contexts(values[good])
        return contexts, faults
    columns, names = block.lists(), layout.context
    if len(names) == 1 and layout.dim > 1:
        return _listed_contexts(columns[names[0]], names[0], layout.dim)
    with np.errstate(over="ignore"):
        numbers = [_numbers(columns[name], types).astype(np.float32) for name in names]
    contexts = np.stack(numbers, axis=1)
    for row, column in reversed(np.argwhere(~np.isfinite(contexts)).tolist()):
        cell = columns[names[column]][row]
        faults[row] = (f"{names[column]}: {_NO_NUMBER}", repr(cell))
    return contexts, faults


def _listed_contexts(
    cells: list[Any], name: str, dim: int
) -> tuple[NDArray[np.float32], list[tuple[str, str]]]:
    """As :func:`_contexts`, of a column of lists."""
    contexts, faults = np.zeros((len(cells), dim), dtype=np.float32), []
    for row, cell in enumerate(cells):
        vector, why = parse_vector(cell), ""
        if vector is None:
            why = f"{name}: no list of numbers"
        elif len(vector) != dim:
            why = f"{name}: {len(vector)} numbers; the policy takes {dim}"
        else:
            with np.errstate(over="ignore"):
                contexts[row] = vector
            if not np.isfinite(contexts[row]).all():
                why = f"{name}: {_NO_NUMBER}"
        faults.append((why, repr(cell) if why else ""))
    return contexts, faults


def _known_ids(
    file: str, place: str, block: Block, name: str | None, expected: type | None
) -> list[Any] | None:
    """The ids of a block's rows; ``None`` where rows are numbered.

    Raises:
        ValueError: they are not all integers or all text, or not as those before, ``expected``.
    """
    if name is None:
        return None
    ids = block.cells[name] if isinstance(block.cells[name], list) else block.lists()[name]
    for row, value in zip(block.rows, ids, strict=True):
        expected = type(value) if expected is None and value is not None else expected
        if value is None or (type(value) is expected and expected in (int, str)):
            continue
        first = f", and the first is of type {expected.__name__}" if expected in (int, str) else ""
        raise ValueError(
            f"{file!r}, {place} {row}: the id {name}={value!r} is of type {type(value).__name__}"
            f"{first}; ids are all integers or all text."
        )
    return ids


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
