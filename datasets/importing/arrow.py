"""Logs in Arrow's formats: Parquet, Arrow files and streams, and any object that speaks Arrow."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from recsim_drpo.core.tables import Block, arrow_block, open_table, reading
from recsim_drpo.datasets.importing.base import BLOCK_ROWS, LogTable, damaged
from recsim_drpo.datasets.importing.sources import Source, Spooled

_END_OF_STREAM = b"\xff\xff\xff\xff\x00\x00\x00\x00"
_IN_MEMORY = ("pyarrow", "pandas", "polars")


class ParquetTable(LogTable):
    """Parquet, a batch at a time."""

    typed = True

    def __init__(self, source: Source) -> None:
        self._source = source
        with self._opened() as table:
            super().__init__(source.name, table.columns, table.num_rows, "row", table.num_rows)

    @contextmanager
    def _opened(self) -> Iterator[Any]:
        with ExitStack() as stack:
            # Of a path pyarrow reads without Python.
            file = self._source.path or stack.enter_context(self._source.stored())
            name = self._source.name
            yield stack.enter_context(open_table(file, "parquet", name, unreadable=damaged))

    def _blocks(self, columns: list[str]) -> Iterator[Block]:
        with self._opened() as table:
            for block in table.blocks(columns, BLOCK_ROWS):
                yield block._replace(rows=block.rows + 1)
                self.done += len(block.rows)


class ArrowTable(LogTable):
    """An Arrow file, or an Arrow stream, mapped into memory."""

    typed = True

    def __init__(self, source: Source) -> None:
        self._source = source
        with reading(source.name, "log", damaged), self._opened() as reader:
            names = reader.schema.names
        num_rows = source.size // (8 * max(1, len(names)))
        super().__init__(source.name, names, source.size, "B", num_rows)

    def _blocks(self, columns: list[str]) -> Iterator[Block]:
        with self._opened() as reader:
            if hasattr(reader, "num_record_batches"):
                batches = map(reader.get_batch, range(reader.num_record_batches))
            else:
                batches = iter(reader)
            first = 1
            for batch in batches:
                yield from _parts(batch, columns, first)
                first += batch.num_rows
                self.done = min(self.size, self.done + batch.nbytes)
        self.done = self.size

    @contextmanager
    def _opened(self) -> Iterator[Any]:
        import pyarrow
        from pyarrow import ipc

        with ExitStack() as stack:
            if self._source.path is None:
                stored = stack.enter_context(self._source.stored())
                file = pyarrow.PythonFile(stored, "r")
            else:
                file = pyarrow.memory_map(str(self._source.path))
            try:
                reader = ipc.open_file(file)
            except pyarrow.ArrowInvalid:
                file.seek(file.size() - min(len(_END_OF_STREAM), file.size()), io.SEEK_SET)
                if file.read() != _END_OF_STREAM:
                    raise OSError("neither a footer nor the end of a stream") from None
                file.seek(0)
                reader = ipc.open_stream(file)
            yield reader


class MemoryTable(LogTable):
    """A table in memory that gives its rows as an Arrow stream, again and again.

    Args:
        table: it has the method ``__arrow_c_stream__``.
    """

    typed = True

    def __init__(self, table: Any) -> None:
        import pyarrow

        self._table = table
        reader = pyarrow.RecordBatchReader.from_stream(table)
        size = len(table)
        super().__init__(type(table).__name__, reader.schema.names, size, "row", size)

    def _blocks(self, columns: list[str]) -> Iterator[Block]:
        import pyarrow

        first = 1
        for batch in pyarrow.RecordBatchReader.from_stream(self._table):
            yield from _parts(batch, columns, first)
            first += batch.num_rows
            self.done = first - 1


def _parts(batch: Any, columns: list[str], first: int) -> Iterator[Block]:
    for start in range(0, batch.num_rows, BLOCK_ROWS):
        part = batch.slice(start, BLOCK_ROWS)
        yield arrow_block(first + start + np.arange(part.num_rows), columns, part)


@dataclass(frozen=True)
class NamedStream:
    """A reader of rows, which gives them once, and the name of what they are of."""

    name: str
    reader: Any

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        return self.reader.__arrow_c_stream__(requested_schema)


def table_of_stream(table: Any) -> LogTable:
    """The log in an object with the method ``__arrow_c_stream__``.

    A table in memory is read where it is. Of anything else, a reader or a query that may give its
    rows once, or in another order when it is asked again, a temporary file keeps them.
    """
    import pyarrow
    from pyarrow import ipc

    package = type(table).__module__.partition(".")[0]
    if package in _IN_MEMORY and hasattr(table, "__len__"):
        return MemoryTable(table)
    if isinstance(table, NamedStream):  # itself, since a C stream makes text of Python's errors
        name, reader = table.name, table.reader
    else:
        name, reader = type(table).__name__, pyarrow.RecordBatchReader.from_stream(table)
    source = Spooled(name, "arrow")
    with source.filling() as file, ipc.new_stream(file, reader.schema) as writer:
        for batch in reader:
            writer.write_batch(batch)
    return ArrowTable(source)
