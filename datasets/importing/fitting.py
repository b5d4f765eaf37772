"""Measure the columns of a log while it is read, and make the coder of its contexts."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsim_drpo.core.messages import shown
from recsim_drpo.datasets.importing.cells import category_text, number_values
from recsim_drpo.datasets.importing.coding import (
    MISSING,
    OTHER,
    CategoryCodes,
    ContextCoder,
    Fault,
    bucket_code,
    coded,
    faults_of,
)
from recsim_drpo.datasets.importing.columns import Columns
from recsim_drpo.datasets.importing.kept import KeptColumns
from recsim_drpo.datasets.importing.leaks import LeakCheck
from recsim_drpo.datasets.importing.rounds import RejectedRows, Rounds, read_rounds
from recsim_drpo.datasets.importing.sorting import sorted_rounds
from recsim_drpo.datasets.importing.table import LogTable
from recsim_drpo.datasets.importing.transforms import NumberMeasures
from recsim_drpo.datasets.packing import ROUNDS_PER_EPISODE

_MAX_CATEGORIES = 1_000


class ContextFitter:
    """Reads the values of a log's columns and measures those of the rows that are used.

    Categories that are not given get places as they come; :meth:`in_order` sorts them in the end.

    Args:
        columns: resolved.
        file: the log's name, for errors.
    """

    def __init__(self, columns: Columns, file: str) -> None:
        self._columns, self._file = columns, file
        self._strict = columns.missing == "refuse"
        self._given = {n: CategoryCodes(known) for n, known in columns.categories.items() if known}
        self._found: dict[str, dict[str, float]] = {
            name: {} for name, known in columns.categories.items() if not known
        }
        self._used = {name: np.zeros(0, dtype=np.bool_) for name in self._found}
        self._single: set[str] = set()
        self._extra: dict[str, set[str]] = {
            name: set() for name in (*columns.categories, *columns.hashes)
        }
        self._measures = NumberMeasures([columns.transforms[name] for name in columns.numbers])

    def values(self, cells: Mapping[str, Any]) -> NDArray[np.float64]:
        """As :meth:`.ContextCoder.values`, of pyarrow arrays.

        Raises:
            ValueError: a column has more than 1,000 categories.
        """
        parts = []
        for name in self._columns.numbers:
            parts.append(number_values(cells[name]))
            if str(cells[name].type) in ("float", "halffloat"):
                self._single.add(name)
        for name in self._columns.categories:
            parts.append(
                self._given[name].codes(cells[name])
                if name in self._given
                else coded(cells[name], self._growing(name))
            )
            if name in self._found:
                self._check_number(name)
        for name, size in self._columns.hashes.items():
            parts.append(coded(cells[name], bucket_code(size)))
        return np.stack(parts, axis=1)

    def faults(self, values: NDArray[np.float64]) -> list[Fault]:
        """As :meth:`.ContextCoder.faults`."""
        names = self._columns.context
        return faults_of(values, names, len(self._columns.numbers), strict=self._strict)

    def add(self, values: NDArray[np.float64]) -> None:
        """Measure the values of rows that are used."""
        width = len(self._columns.numbers)
        self._measures.add(values[:, :width])
        for column, name in enumerate(self._extra, start=width):
            codes = values[:, column]
            if np.isnan(codes).any():
                self._extra[name].add(MISSING)
            if (codes < 0).any():
                self._extra[name].add(OTHER)
            if name in self._found:
                used = np.zeros(len(self._found[name]), dtype=np.bool_)
                used[: len(self._used[name])] = self._used[name]
                used[codes[codes >= 0].astype(np.int64)] = True
                self._used[name] = used

    def coder(self) -> ContextCoder:
        """The coder of the log's contexts, once all rows have been added."""
        columns = self._columns
        return ContextCoder(
            {
                name: self._measures.coding(column, name in self._single)
                for column, name in enumerate(columns.numbers)
            },
            {
                name: known or sorted(self._order(name))
                for name, known in columns.categories.items()
            },
            columns.hashes,
            {
                name: [kind for kind in (OTHER, MISSING) if kind in kinds]
                for name, kinds in self._extra.items()
                if kinds
            },
            strict=self._strict,
        )

    def in_order(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Values with found categories at their places in the order of their text."""
        for column, name in enumerate(self._columns.categories, start=len(self._columns.numbers)):
            if name in self._found:
                places = {
                    text: float(place) for place, text in enumerate(sorted(self._order(name)))
                }
                new = np.array([*(places.get(text, -1.0) for text in self._found[name]), np.nan])
                codes = values[:, column]
                values[:, column] = new[np.where(np.isnan(codes), -1, codes).astype(np.int64)]
        return values

    def notes(self, coder: ContextCoder) -> list[str]:
        """Warnings about columns of numbers."""
        found = [
            self._measures.note(column, name, coding)
            for column, (name, coding) in enumerate(coder.numbers.items())
        ]
        return [note for note in found if note is not None]

    def _order(self, name: str) -> list[str]:
        """The found categories of a column that rows in use have."""
        used = self._used[name]
        return [text for text, here in zip(self._found[name], used, strict=False) if here]

    def _growing(self, name: str) -> Callable[[Any], float]:
        found = self._found[name]

        def code(cell: Any) -> float:
            text = category_text(cell)
            return np.nan if text is None else found.setdefault(text, float(len(found)))

        return code

    def _check_number(self, name: str) -> None:
        if len(self._found[name]) > _MAX_CATEGORIES:
            raise ValueError(
                f"Column {name!r} of {shown(self._file)} has more than {_MAX_CATEGORIES:,} "
                "different values; as categories each would be a dimension of the context. Leave "
                f"it out, give it fewer, or say --hash {name}=SIZE."
            )


@contextmanager
def coded_rounds(
    table: LogTable,
    columns: Columns,
    ids: NDArray[Any],
    kept: KeptColumns,
    rejected: RejectedRows,
    folder: Path,
    leaks: LeakCheck,
    progress: bool,
) -> Iterator[tuple[ContextCoder, Iterator[Rounds], list[str]]]:
    """The coder of the log's contexts, its rounds with them, and warnings about columns.

    Where the coder is not given the log is measured as it is read, and its rounds wait in a file
    in the folder: a table is read once. So do they where it is not known which columns to keep are
    text. Where columns have a time, they wait to be sorted by it.
    The values of contexts are shown to ``leaks`` in that order.
    """

    def coded(block: Rounds, values: NDArray[np.float64]) -> Rounds:
        return Rounds({**kept.kept(block), "context": coder.contexts(values)})

    if columns.coding is not None:
        coder = ContextCoder.of_description(asdict(columns))
        read = read_rounds(table, columns, coder, ids, kept, rejected, progress)
        with _in_order(read, columns, folder, wait=kept.undecided) as waiting:
            yield coder, (coded(one, one["context"]) for one in _watched(waiting, leaks)), []
        return
    fitter = ContextFitter(columns, table.path.name)

    def measured() -> Iterator[Rounds]:
        for block in read_rounds(table, columns, fitter, ids, kept, rejected, progress):
            fitter.add(block["context"])
            yield block

    with _in_order(measured(), columns, folder, wait=True) as waiting:
        coder = fitter.coder()
        rounds = (coded(one, fitter.in_order(one["context"])) for one in _watched(waiting, leaks))
        yield coder, rounds, fitter.notes(coder)


def _in_order(
    blocks: Iterator[Rounds], columns: Columns, folder: Path, *, wait: bool
) -> AbstractContextManager[Iterator[Rounds]]:
    """The rounds in the order of their time, or as they come; with ``wait`` all have been read."""
    if columns.time is not None:
        return sorted_rounds(blocks, "time", folder, ROUNDS_PER_EPISODE)
    return _spooled(blocks, folder) if wait else nullcontext(blocks)


def _watched(blocks: Iterable[Rounds], leaks: LeakCheck) -> Iterator[Rounds]:
    for block in blocks:
        if len(block):
            leaks.add(block["context"], block["reward"])
        yield block


@contextmanager
def _spooled(blocks: Iterable[Rounds], folder: Path) -> Iterator[Iterator[Rounds]]:
    """Keep rounds in a temporary file in a folder, from which they come again in their order.

    The blocks have been read when the context is entered; memory holds one of them.
    """
    with tempfile.TemporaryFile(dir=folder) as file:
        shapes = []
        for block in blocks:
            shapes.append(list(block))
            for array in block.values():
                np.save(file, array)
        file.seek(0)
        yield (Rounds({name: np.load(file) for name in names}) for names in shapes)
