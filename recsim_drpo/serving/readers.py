"""Read contexts piece by piece, from all that a log can be imported from and by the same reader.

A table of contexts has a row a context: in one column a dimension, or in one list column.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from recsim_drpo.core.messages import shown
from recsim_drpo.core.table_headers import listed, no_column
from recsim_drpo.core.tables import Block, Malformed
from recsim_drpo.datasets.importing.cells import number_values
from recsim_drpo.datasets.importing.coding import ContextCoder, Fault, faults_of
from recsim_drpo.datasets.importing.table import Log, LogTable, open_log_table
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
        refused: the rows among them that are no context: number, from 1 within its file, why, and
            the faulty cell.
        file: the one that they are in, of several.
    """

    ids: Ids
    contexts: NDArray[np.float32]
    candidates: list[Any] | None = None
    refused: Sequence[Malformed] = ()
    file: str = ""


class ContextTable(NamedTuple):
    """A table of contexts that is being read.

    Attributes:
        num_rows: how many there are, or ``None`` where the format does not say beforehand.
        several: whether they are of several files.
        pieces: the table's rows, in its order; raises ``ValueError`` in the end if not one of
            them is a context.
    """

    num_rows: int | None
    several: bool
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


def open_contexts(
    contexts: Log | Sequence[Log],
    dim: int,
    *,
    format: str | None = None,
    columns: Sequence[str] | None = None,
    id_column: str | None = None,
    rows: int = 4096,
    coding: ContextCoder | None = None,
    candidates: str | None = None,
    escape: str | None = None,
) -> ContextTable:
    """Open a table of contexts, to be read in pieces, of which memory holds one.

    Args:
        contexts: files, folders, patterns, ``"-"`` or objects that speak Arrow, as of
            :func:`recsim_drpo.datasets.importing.table.open_log_table`.
        dim: dimension o of a context.
        format: likewise; ``None``: by the suffix, CSV of a stream.
        columns: names or shell patterns of the o columns, or of the one list column, in the order
            of the policy's input; a pattern stands for its columns in the table's order. ``None``:
            those of ``coding``; without it, or where the table has none of them, the list column
            ``context`` if there is one, else ``context_0`` … ``context_{o-1}``.
        id_column: the column of ids, integers or text; ``None`` numbers the rows.
        rows: of a piece at most, ≥ 1.
        coding: codes columns as those of the log that the policy learnt from.
        candidates: a column to be read beside the context, of whatever cells.
        escape: of CSV, see :class:`recsim_drpo.core.csv_rows.CsvRows`.

    Raises:
        FileNotFoundError, TypeError: as :func:`open_log_table`.
        ValueError: likewise; columns are missing (the nearest is named) or not as many as the
            policy takes.
    """
    table = open_log_table(contexts, format=format, escape=escape)
    file = str(table.path)
    for name in (id_column, candidates):
        if name is not None and name not in table.columns:
            raise no_column(file, [name], table.columns)
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
    num_rows = table.num_rows if table.unit == "row" else None
    pieces = _pieces(file, table, layout, rows)
    return ContextTable(num_rows, table.several, pieces)


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
            raise ValueError(f"{place} {number}: {name}: {why} ({shown(rows[number][name])}).")
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
            raise ValueError(f"{shown(file)} has a column 'context_{dim}'; the policy takes {dim}.")
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


def _pieces(file: str, table: LogTable, layout: _Layout, size: int) -> Iterator[Piece]:
    done, num_contexts, id_type = 0, 0, None
    first = ""
    blocks = (part for block in table.blocks(layout.used) for part in _parts(block, size))
    for block in blocks:
        contexts, faults = _contexts(block, layout)
        known = None
        if layout.ids is not None:
            known = block.cells[layout.ids].to_pylist()
            id_type = _check_ids(block.file or file, block, layout.ids, known, id_type)
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
            first = f"{block.file or file!r}, row {row}: {why}" + (
                f" ({shown(value)})" if value else ""
            )
        wanted = None
        if layout.candidates is not None:
            cells = block.cells[layout.candidates].to_pylist()
            wanted = [cell for cell, good in zip(cells, kept, strict=True) if good]
        yield Piece(ids, contexts[kept], wanted, refused, block.file)
        done += len(block.rows) + len(block.malformed)
        num_contexts += len(ids)
    if done == 0:
        raise ValueError(f"{shown(file)} has no rows.")
    if num_contexts == 0:
        raise ValueError(f"Not one of {done:,} rows is a context; the first: {first}.")


def _parts(block: Block, size: int) -> Iterator[Block]:
    """A block as blocks of at most ``size`` rows, each with what is malformed between them."""
    malformed = sorted(block.malformed)
    for start in range(0, max(1, len(block.rows)), size):
        rows = block.rows[start : start + size]
        last = start + size >= len(block.rows)
        here = [fault for fault in malformed if last or fault[0] < rows[-1]]
        malformed = malformed[len(here) :]
        cells = {name: array.slice(start, size) for name, array in block.cells.items()}
        yield Block(rows, cells, here, block.file)


def _contexts(block: Block, layout: _Layout) -> tuple[NDArray[np.float32], list[tuple[str, str]]]:
    """The contexts of a block, float32 (n, dim), and of each row what is wrong, or nothing."""
    names = layout.context
    if layout.coder is None and len(names) == 1 and layout.dim > 1:
        return _listed_contexts(block.cells[names[0]].to_pylist(), names[0], layout.dim)
    if layout.coder is None:
        values = np.stack([number_values(block.cells[name]) for name in names], axis=1)
        found = faults_of(values, names, len(names), strict=True)
    else:
        values = layout.coder.values(block.cells)
        found = layout.coder.faults(values)
    faults = _by_row(block, found)
    good = [not why for why, _ in faults]
    contexts = np.zeros((len(faults), layout.dim), dtype=np.float32)
    coder, values = layout.coder, values[good]
    contexts[good] = values.astype(np.float32) if coder is None else coder.contexts(values)
    return contexts, faults


def _by_row(block: Block, found: Sequence[Fault]) -> list[tuple[str, str]]:
    """What is wrong with each row, its first column's fault and cell, or nothing."""
    faults = [("", "")] * len(block.rows)
    for name, why, wrong in reversed(found):
        for row in np.flatnonzero(wrong).tolist():
            faults[row] = (f"{name}: {why}", _shown(block.cells[name][row].as_py()))
    return faults


def _shown(cell: Any) -> str:
    return "" if cell is None else str(cell)


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
                why = f"{name}: no finite number"
        faults.append((why, _shown(cell) if why else ""))
    return contexts, faults


def _check_ids(
    file: str, block: Block, name: str, ids: Sequence[Any], expected: type | None
) -> type | None:
    """The type of ids, integers or text; ``expected`` is that of those before.

    Raises:
        ValueError: they are neither, or not as those before.
    """
    for row, value in zip(block.rows, ids, strict=True):
        expected = type(value) if expected is None and value is not None else expected
        if value is None or (type(value) is expected and expected in (int, str)):
            continue
        first = f", and the first is of type {expected.__name__}" if expected in (int, str) else ""
        raise ValueError(
            f"{shown(file)}, row {row}: the id {name}={shown(value)} is of type "
            f"{type(value).__name__}{first}; ids are all integers or all text."
        )
    return expected
