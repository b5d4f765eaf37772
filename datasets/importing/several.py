"""Several tables as one log, one after another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from recsim_drpo.core.executor import Engine
from recsim_drpo.core.table_headers import no_column
from recsim_drpo.core.tables import Block
from recsim_drpo.datasets.importing.base import LogTable


class PartitionTable(LogTable):
    """A table whose folders name further columns, each of which has one value.

    Args:
        table: the table; a column of its own goes before a folder's.
        partition: the values by column, ``None`` for empty cells.
    """

    def __init__(self, table: LogTable, partition: Mapping[str, str | None]) -> None:
        self._table = table
        self._values = {name: v for name, v in partition.items() if name not in table.columns}
        columns = [*table.columns, *self._values]
        super().__init__(table.path.name, columns, table.size, table.unit, table.num_rows)
        self.path, self.typed = table.path, table.typed

    def _blocks(self, columns: list[str]) -> Iterator[Block]:
        import pyarrow

        own = [name for name in columns if name not in self._values]
        for block in self._table.blocks(own or self._table.columns[:1]):
            constant = {
                name: pyarrow.repeat(pyarrow.scalar(value, pyarrow.string()), len(block.rows))
                for name, value in self._values.items()
            }
            self.done = self._table.done
            yield block._replace(cells={name: (constant | block.cells)[name] for name in columns})
        self.notes += self._table.notes


class SeveralTables(LogTable):
    """Tables one after another; their columns need not have one order.

    Args:
        tables: at least one.
        engine: what reads them, a task a table; the blocks and their order are the same.
    """

    several = True

    def __init__(self, tables: Sequence[LogTable], engine: Engine) -> None:
        self._tables, self._engine = tables, engine
        first = str(tables[0].path)
        name = f"{first} and {len(tables) - 1:,} more"
        columns = dict.fromkeys(name for table in tables for name in table.columns)
        size = sum(table.num_rows for table in tables)
        super().__init__(name, list(columns), size, "row", size)

    def _blocks(self, columns: list[str]) -> Iterator[Block]:
        for table in self._tables:
            missing = [name for name in columns if name not in table.columns]
            if missing:
                with_it = next(t.path for t in self._tables if missing[0] in t.columns)
                mend = f" {str(with_it)!r} has one; logs with other columns are imported apart."
                raise no_column(str(table.path), missing, table.columns, mend)
        tasks = [partial(_read, table=table) for table in self._tables]
        coming, before = iter(self._tables), 0
        table = next(coming)
        for value in self._engine.results(columns, tasks, in_order=True):
            if isinstance(value, _Read):
                self.done = before + int(table.num_rows * value.done / max(1, table.size))
                yield value.block._replace(file=str(table.path))
                continue
            before += table.num_rows
            self.done = before
            self.notes += [f"{table.path}: {note}" for note in value]
            table = next(coming, table)


class _Read(NamedTuple):
    """A block of a table, and how much of the table has been read with it."""

    block: Block
    done: int


def _read(columns: Sequence[str], table: LogTable) -> Iterator[_Read | list[str]]:
    """The blocks of a table, and in the end its notes."""
    for block in table.blocks(columns):
        yield _Read(block, table.done)
    yield table.notes
