"""Read item vectors and ids from a table, Parquet or delimited text, a block of rows at a time.

Memory holds the vectors, the ids and one block, whatever else the table has.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from recsim_drpo.core.messages import shown
from recsim_drpo.core.table_headers import DELIMITERS, check_unique, listed, no_column
from recsim_drpo.core.tables import Block, Malformed, open_table, require_pyarrow, unreadable

_ID_NAMES = ("item_id", "itemid", "item", "id")
_DELIMITERS = (*DELIMITERS, " ")
_ROWS = 4096
_GROWTH = 8  # room grows by this part of itself


def read_vectors(
    path: Path, format: str, *, id_column: str | None = None, vector_columns: str | None = None
) -> tuple[NDArray[np.float32], NDArray[Any] | None]:
    """The vectors of a table, float32 (N, d), and its ids (N,), where it has a column of them.

    Args:
        path: a file.
        format: ``"parquet"`` or ``"csv"``.
        id_column: as of :func:`recsim_drpo.simulator.embeddings.load_embeddings`.
        vector_columns: likewise.

    Raises:
        ValueError: it has no rows, or not one vector a row.
    """
    if format == "parquet":
        require_pyarrow("Reading .parquet needs")
    file, malformed = path.name, 0
    first: Malformed | None = None
    rows: _Rows | None = None
    with open_table(path, format, file, delimiters=_DELIMITERS, unreadable=_unreadable) as table:
        check_unique(file, table.columns)
        columns = table.columns
        for block in table.blocks(columns, _ROWS):
            malformed += len(block.malformed)
            first = first or next(iter(block.malformed), None)
            if len(block.rows):
                rows = rows or _Rows(_layout(file, block, id_column, vector_columns))
                rows.add(block)
    if format == "parquet" and rows is None:
        raise ValueError(f"{file!r} has no rows.")
    if first is not None:
        raise ValueError(
            f"{file!r} has {malformed} rows (first: line {first[0]}) without the header's "
            f"{len(columns)} columns: {first[1]}."
        )
    if rows is None:
        raise ValueError(f"{file!r} has no row with the header's {len(columns)} columns.")
    return rows.vectors(), rows.ids()


def _unreadable(name: str, format: str, error: Exception) -> ValueError:
    if isinstance(error, UnicodeDecodeError):
        return ValueError(f"{name!r} is not UTF-8 text ({error}).")
    return unreadable(name, format, error)


def parse_vector(value: Any) -> list[float] | None:
    """The numbers of a list cell, or None where the cell is not a list of at least two."""
    if isinstance(value, str):
        value = re.split(r"[,;\s]+", value.strip().strip("[]()").strip())
    if not isinstance(value, (list, tuple)) or len(value) < 2:
        return None
    try:
        return [float(x) for x in value]
    except (TypeError, ValueError):
        return None


class _Layout(NamedTuple):
    """Where a table has its ids and vectors.

    Attributes:
        file: its name.
        id_column: the column of ids, if there is one.
        columns: the list column alone, or one a dimension.
        length: of the lists; 0 where there is one column a dimension.
    """

    file: str
    id_column: str | None
    columns: list[str]
    length: int


def _layout(file: str, block: Block, id_column: str | None, vector_columns: str | None) -> _Layout:
    """The layout of a table, as its first rows have it."""
    names = list(block.cells)
    first = {name: parse_vector(_values(cells[:1])[0]) for name, cells in block.cells.items()}
    if id_column is None:
        id_column = next((name for name in names if name.lower() in _ID_NAMES), None)
    elif id_column not in names:
        raise no_column(file, [id_column], names)
    others = [name for name in names if name != id_column]
    if not others:
        raise ValueError(f"{shown(file)} has item ids only ({id_column}); vectors are missing.")
    if vector_columns is not None:
        chosen = [name for name in others if fnmatch.fnmatch(name, vector_columns)]
        if not chosen:
            raise ValueError(
                f"{shown(file)} has no column like {shown(vector_columns)}; it has {listed(names)}."
            )
    else:
        chosen = [name for name in others if first[name] is not None]
        if len(chosen) > 1:
            raise ValueError(
                f"{shown(file)} has {len(chosen)} list columns ({', '.join(chosen)}); choose one "
                "by vector_columns."
            )
        chosen = chosen or others
    length = len(first[chosen[0]] or ()) if len(chosen) == 1 else 0
    return _Layout(file, id_column, chosen, length)


class _Rows:
    """The vectors and ids of a table of which blocks are added."""

    def __init__(self, layout: _Layout) -> None:
        self._layout = layout
        self._dim = layout.length or len(layout.columns)
        self._room = np.empty((0, self._dim), dtype=np.float32)
        self._ids = _Ids()
        self._count = self._bad = self._first_bad = 0

    def add(self, block: Block) -> None:
        """Add the rows of a block.

        Raises:
            ValueError: a column of numbers has what is none.
        """
        layout, count = self._layout, len(block.rows)
        if layout.id_column is not None:
            self._ids.add(block.cells[layout.id_column])
        stop = self._count + count
        if stop > len(self._room):  # in place, where memory can be moved by its addresses alone
            length = max(stop, len(self._room) + len(self._room) // _GROWTH)
            self._room.resize((length, self._dim), refcheck=False)
        room = self._room[self._count : stop]
        with np.errstate(over="ignore", invalid="ignore"):  # not finite then, which is refused
            if layout.length:
                self._add_lists(room, block.cells[layout.columns[0]])
            else:
                self._add_numbers(room, block)
        self._count = stop

    def _add_lists(self, room: NDArray[np.float32], cells: Any) -> None:
        lists = _plain_lists(cells, self._dim)
        if lists is not None:
            room[:] = lists
            return
        for row, cell in enumerate(_values(cells)):
            vector = parse_vector(cell)
            if vector is not None and len(vector) == self._dim:
                room[row] = vector
            else:
                self._first_bad = self._first_bad if self._bad else self._count + row
                self._bad += 1

    def _add_numbers(self, room: NDArray[np.float32], block: Block) -> None:
        layout = self._layout
        try:
            for place, name in enumerate(layout.columns):
                room[:, place] = _numbers(block.cells[name])
        except (TypeError, ValueError, OverflowError) as error:
            raise ValueError(
                f"{shown(layout.file)}: not all of the columns {', '.join(layout.columns)} are "
                f"numbers ({error}); choose the vector's columns by vector_columns."
            ) from error

    def vectors(self) -> NDArray[np.float32]:
        """All vectors, float32 (N, d); ends adding.

        Raises:
            ValueError: cells of the list column are no lists of equal length.
        """
        if self._bad:
            raise ValueError(
                f"{shown(self._layout.file)}, column {shown(self._layout.columns[0])}: "
                f"{self._bad} rows (first: row {self._first_bad}) are not lists of "
                f"{self._layout.length} numbers."
            )
        self._room.resize((self._count, self._dim), refcheck=False)
        return self._room

    def ids(self) -> NDArray[Any] | None:
        """All ids (N,), if there is a column of them."""
        return None if self._layout.id_column is None else self._ids.whole()


def _values(cells: Any) -> list[Any]:
    """Cells, a list or a pyarrow array, as Python values."""
    return cells if isinstance(cells, list) else cells.to_pylist()


def _is_number(kind: Any) -> bool:
    """Whether a pyarrow type is of integers or floating numbers."""
    from pyarrow import types

    return bool(types.is_integer(kind) or types.is_floating(kind))


def _as_floats(array: NDArray[Any]) -> NDArray[np.floating[Any]]:
    """Numbers as floating ones; integers are rounded to float64 first, as by ``float``."""
    return array.astype(np.float64) if array.dtype.kind in "iu" else array


def _plain_lists(cells: Any, length: int) -> NDArray[np.floating[Any]] | None:
    """Vectors (n, length) of a pyarrow array, if it has nothing but lists of so many numbers."""
    if isinstance(cells, list) or cells.null_count:
        return None
    from pyarrow import compute, types

    kind = cells.type
    listed = types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)
    if not listed or not _is_number(kind.value_type):
        return None
    lengths = compute.list_value_length(cells).to_numpy(zero_copy_only=False)
    flat = cells.flatten()
    if flat.null_count or (lengths != length).any():
        return None
    return _as_floats(flat.to_numpy(zero_copy_only=False)).reshape(-1, length)


def _numbers(cells: Any) -> NDArray[np.floating[Any]]:
    """The numbers of cells (n,); NaN for empty ones of a typed column.

    Raises:
        TypeError, ValueError, OverflowError: one is no number.
    """
    if not isinstance(cells, list) and _is_number(cells.type):
        return _as_floats(cells.to_numpy(zero_copy_only=False))
    numbers = np.asarray(_values(cells), dtype=np.float32)
    if numbers.ndim != 1:
        raise ValueError("they are lists")
    return numbers


class _Ids:
    """Ids of which blocks are added: integers where all are, within 64 bits, else text."""

    def __init__(self) -> None:
        self._blocks: list[NDArray[Any]] = []  # as they were: integers, or text
        self._integers: list[NDArray[np.int64]] | None = []

    def add(self, cells: Any) -> None:
        """Add the ids of cells, a list or a pyarrow array, at least one."""
        if not isinstance(cells, list):
            from pyarrow import types

            if types.is_signed_integer(cells.type) and not cells.null_count:
                integers = cells.to_numpy().astype(np.int64)
                self._blocks.append(integers)
                if self._integers is not None:
                    self._integers.append(integers)
                return
        values = _values(cells)
        self._blocks.append(np.asarray([str(value) for value in values]))
        found = None if self._integers is None else _integers(values)
        if self._integers is None or found is None:
            self._integers = None
        else:
            self._integers.append(found)

    def whole(self) -> NDArray[Any]:
        """All of them (N,)."""
        if self._integers is not None:
            return np.concatenate(self._integers)
        texts = [
            np.asarray([str(i) for i in block.tolist()]) if block.dtype.kind == "i" else block
            for block in self._blocks
        ]
        return np.concatenate(texts)


def as_ids(values: Sequence[Any]) -> NDArray[Any]:
    """Integers where all of them are, within 64 bits; else text."""
    integers = _integers(values)
    return np.asarray([str(value) for value in values]) if integers is None else integers


def _integers(values: Sequence[Any]) -> NDArray[np.int64] | None:
    """The integers that ids are, int64 (n,), or None."""
    try:
        integers = [int(value) for value in values]
        # "007" and "1_000" are names, not the numbers that they can be read as.
        if all(
            str(i) == v.strip() if isinstance(v, str) else i == v
            for i, v in zip(integers, values, strict=True)
        ):
            return np.asarray(integers, dtype=np.int64)
    except (TypeError, ValueError, OverflowError):
        pass
    return None
