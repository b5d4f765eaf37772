"""What every table of logged interactions is, whatever it lies in."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path

from recsim_drpo.core.messages import one_line, shown
from recsim_drpo.core.table_headers import check_unique
from recsim_drpo.core.tables import Block, reading
from recsim_drpo.core.validation import unknown_name

BLOCK_ROWS = 10_000
"""Rows that are read together where a format has no blocks of its own."""


class LogTable(ABC):
    """A table of logged interactions, which can be read more than once.

    Attributes:
        path: the file; of several, or of a table that is no file, one whose name says which.
        columns: names of its columns.
        size: length of the file, in ``unit``.
        unit: of ``size`` and ``done``: ``"row"``, or ``"B"`` where the number of rows is not known.
        num_rows: its number of rows; where that is not known, an estimate.
        done: how much of ``size`` has been read.
        notes: warnings about the file, complete when all of it has been read.
        several: whether rows are of several files, and their numbers within each.
        typed: whether each column has one type in all blocks.
    """

    several = False
    typed = False

    def __init__(self, name: str, columns: list[str], size: int, unit: str, num_rows: int) -> None:
        check_unique(name, columns)
        self.path = Path(name)
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
                raise unknown_name(f"column of {str(self.path)!r}", name, self.columns)
        self.done = 0
        self.notes = []
        with reading(str(self.path), "log", damaged):
            yield from self._blocks(list(columns))

    @abstractmethod
    def _blocks(self, columns: list[str]) -> Iterator[Block]: ...


def damaged(name: str, format: str, error: Exception) -> ValueError:
    """The error for a log, or contexts, that its reader cannot read."""
    what = f"{Path(name).suffix.lower()} file of one table".strip()
    return ValueError(
        f"{shown(name)} is cut off, damaged or no {what} ({one_line(error)}); nothing was written."
    )
