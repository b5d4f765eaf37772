"""Logs as JSON lines: an object of named cells on every line."""

from __future__ import annotations

import io
import itertools
import json
from collections.abc import Iterator
from typing import Any

import numpy as np

from recsim_drpo.core.csv_rows import MAX_ROW_BYTES
from recsim_drpo.core.json_text import json_value
from recsim_drpo.core.tables import Block, Malformed
from recsim_drpo.datasets.importing.base import BLOCK_ROWS, LogTable, damaged
from recsim_drpo.datasets.importing.sources import Source

_SHOWN = 200


class JsonLinesTable(LogTable):
    """JSON lines; a cell that a line does not name is empty.

    Its columns are those that the first 10,000 lines name.

    Args:
        source: the file.
        max_malformed: how many malformed lines without a good one make it no table.
    """

    def __init__(self, source: Source, max_malformed: int) -> None:
        self._source, self._max_malformed = source, max_malformed
        columns: dict[str, None] = {}
        try:
            with source.opened() as file:
                lines = list(itertools.islice(self._lines(file), BLOCK_ROWS))
                num_rows = len(lines) * source.size // max(1, file.done)
        except OSError as error:
            raise damaged(source.name, "log", error) from error
        for row, _, _ in lines:
            columns |= dict.fromkeys(row or {})
        if not columns or lines[0][2].lstrip().startswith("["):
            fault = f" ({lines[0][1]}: {lines[0][2]!r})" if lines else ""
            raise ValueError(
                f"{source.name!r} is no JSON lines: it has no object of named cells{fault}. Of a "
                "list of objects, jq -c '.[]' makes lines."
            )
        super().__init__(source.name, list(columns), source.size, "B", num_rows)

    def _lines(self, file: io.RawIOBase) -> Iterator[tuple[dict[str, Any] | None, str, str]]:
        """The lines that are not blank: cells, or ``None`` with what is wrong and the text."""
        buffered = io.BufferedReader(file, 2**20)
        for line in iter(lambda: buffered.readline(MAX_ROW_BYTES), b""):
            if len(line) >= MAX_ROW_BYTES:
                raise ValueError(
                    f"{self._source.name!r} has a line of {MAX_ROW_BYTES / 2**20:g} MiB or more."
                )
            if line.strip():
                yield _parsed(line)

    def _blocks(self, columns: list[str]) -> Iterator[Block]:
        barren = count = 0
        with self._source.opened() as file:
            lines = self._lines(file)
            while read := list(itertools.islice(lines, BLOCK_ROWS)):
                rows = [row for row, _, _ in read if row is not None]
                malformed: list[Malformed] = [
                    (number, reason, text)
                    for number, (row, reason, text) in enumerate(read, count + 1)
                    if row is None
                ]
                barren = 0 if rows else barren + len(malformed)
                if barren >= self._max_malformed:
                    raise OSError(f"{barren:,} lines that are no objects of named cells")
                good = [
                    number for number, (row, _, _) in enumerate(read, count + 1) if row is not None
                ]
                self.done = file.done
                count += len(read)
                cells = {name: _array([row.get(name) for row in rows]) for name in columns}
                yield Block(np.array(good, dtype=np.int64), cells, malformed)
        self.done = self.size


def _parsed(line: bytes) -> tuple[dict[str, Any] | None, str, str]:
    text = line[:_SHOWN].decode(errors="replace").rstrip("\r\n")
    try:
        row = json_value(line.decode("utf-8-sig"))
    except ValueError:  # UnicodeDecodeError too
        return None, "not JSON", text
    if not isinstance(row, dict):
        return None, "not an object of named cells", text
    return row, "", ""


def _array(values: list[Any]) -> Any:
    """Cells as a pyarrow array; as text, where they are not of one type."""
    import pyarrow

    try:
        array = pyarrow.array(values)
    except (pyarrow.ArrowInvalid, pyarrow.ArrowTypeError, OverflowError):
        return pyarrow.array(map(_text, values), pyarrow.string())
    return array.cast(pyarrow.string()) if pyarrow.types.is_null(array.type) else array


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)
