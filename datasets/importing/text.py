"""Logs as delimited text, read by pyarrow a block of whole rows at a time."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from recsim_drpo.core.csv_rows import CsvRows
from recsim_drpo.core.tables import Block, Malformed, parsed_lines, text_block
from recsim_drpo.datasets.importing.base import LogTable, damaged
from recsim_drpo.datasets.importing.sources import Source, UnpackedFile

_SHOWN = 200


class TextTable(LogTable):
    """Delimited text with a header line, quoted by double quotes.

    Cells come as text, so that one that does not fit its column spoils its own row, not the file.

    Args:
        source: the file.
        escape: see :class:`recsim_drpo.core.csv_rows.CsvRows`.
        block_bytes: how much is read at a time.
        max_malformed: how many malformed rows without a good one make it no table.
    """

    def __init__(
        self, source: Source, escape: str | None, block_bytes: int, max_malformed: int
    ) -> None:
        self._source, self._escape = source, escape
        self._block_bytes, self._max_malformed = block_bytes, max_malformed
        self._barren = 0  # malformed rows since the last good one
        try:
            with source.opened() as file:
                rows = self._rows(file)
                num_rows = source.size * rows.num_lines // max(1, file.done)
        except (OSError, UnicodeDecodeError) as error:
            raise damaged(source.name, "log", error) from error
        if not rows.columns:
            raise ValueError(f"{source.name!r} is empty.")
        super().__init__(source.name, rows.columns, source.size, "B", num_rows)

    def _rows(self, file: UnpackedFile) -> CsvRows:
        return CsvRows(
            file.read, self._source.name, escape=self._escape, block_bytes=self._block_bytes
        )

    def _blocks(self, columns: list[str]) -> Iterator[Block]:
        self._barren = 0
        with self._source.opened() as file:
            rows = self._rows(file)
            with ThreadPoolExecutor(1) as pool:  # reads a block while the one before is used
                blocks = self._blocks_of(rows, columns)
                following = pool.submit(next, blocks, None)
                while (block := following.result()) is not None:
                    self.done = file.done
                    following = pool.submit(next, blocks, None)
                    yield block
        self.done = self.size

    def _blocks_of(self, rows: CsvRows, columns: list[str]) -> Iterator[Block]:
        count = 0
        for data in rows:
            block = self._block(data, columns, rows, count)
            count += len(block.rows) + len(block.malformed)
            self._barren = 0 if len(block.rows) else self._barren + len(block.malformed)
            yield block
        self.notes += _notes(rows, count)

    def _block(self, data: bytes, columns: list[str], rows: CsvRows, count: int) -> Block:
        """The rows in data, of which ``count`` came before, numbered from 1."""
        if not _is_utf8(data):
            # Then columns that are not read, or malformed rows, are in another encoding.
            return self._block_of_lists(data, columns, rows, count)
        malformed: list[Malformed] = []
        table = self._parsed(data, columns, rows, malformed)
        rows.faults.clear()
        good = np.ones(table.num_rows + len(malformed), dtype=np.bool_)
        good[[number - 1 for number, *_ in malformed]] = False
        cells = {name: table.column(name).combine_chunks() for name in columns}
        faults = [(count + number, reason, text) for number, reason, text in malformed]
        return Block(count + 1 + np.flatnonzero(good), cells, faults)

    def _block_of_lists(self, data: bytes, columns: list[str], rows: CsvRows, count: int) -> Block:
        import pyarrow

        numbered = enumerate((row for _, row in parsed_lines(data, rows)), count + 1)
        block = text_block(list(numbered), columns, rows, self._source.name, "row")
        cells = {
            name: pyarrow.array([cell or None for cell in cells], pyarrow.string())
            for name, cells in block.cells.items()
        }
        return block._replace(cells=cells)

    def _parsed(
        self, data: bytes, columns: list[str], rows: CsvRows, malformed: list[Malformed]
    ) -> Any:
        """A pyarrow table of the columns, as text; malformed rows are added to ``malformed``."""
        import pyarrow
        from pyarrow import csv as arrow_csv

        def skip(row: Any) -> str:
            reason = f"{row.actual_columns} cells where {row.expected_columns} are due"
            fault = rows.faults.get(row.text, (reason, row.text[:_SHOWN]))
            malformed.append((row.number, *fault))
            # So many without a good one among them are no table, and would fill the memory.
            return "skip" if self._barren + len(malformed) < self._max_malformed else "error"

        return arrow_csv.read_csv(
            pyarrow.BufferReader(data),
            # Rows have numbers only where one thread reads.
            read_options=arrow_csv.ReadOptions(
                use_threads=False, block_size=len(data) + 1, column_names=rows.columns
            ),
            parse_options=arrow_csv.ParseOptions(
                delimiter=rows.delimiter,
                escape_char=rows.escape or False,
                invalid_row_handler=skip,
            ),
            convert_options=arrow_csv.ConvertOptions(
                column_types={name: pyarrow.string() for name in columns},
                include_columns=columns,
                strings_can_be_null=True,
                null_values=[""],
            ),
        )


def _is_utf8(data: bytes) -> bool:
    if data.isascii():
        return True
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _notes(rows: CsvRows, num_rows: int) -> list[str]:
    """Warnings about text that has been read to its end and has ``num_rows`` rows."""
    notes = []
    if not rows.ended:
        notes.append("The file does not end with a line break: its last row may have been cut off.")
    lines = rows.num_lines + (not rows.ended)
    if lines != 1 + num_rows and rows.num_lines:
        notes.append(
            f"The file has {lines:,} lines for {num_rows:,} rows and a header: blank lines, or "
            "line breaks inside quotes."
        )
    return notes
