"""Columns of a log that are kept beside its rounds: numbers as they are, texts as codes.

Codes are those of requests (:func:`.requests.text_codes`): equal for equal texts, in every log. The
texts themselves lie beside the dataset, in a Parquet file a column, and come back by
:func:`recsim_drpo.datasets.imported.kept_texts`.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from recsim_drpo.datasets.importing.base import LogTable
from recsim_drpo.datasets.importing.cells import NO_NUMBER, number_values
from recsim_drpo.datasets.importing.columns import Columns
from recsim_drpo.datasets.importing.requests import text_codes
from recsim_drpo.datasets.importing.table import texts

TEXTS = "texts"
"""The folder, beside an imported dataset, with the texts of its kept columns, log by log."""

NO_TEXT = -1
"""The code of an empty cell."""

_CODE = "\0code"
_REMEMBERED = 200_000


def texts_file(folder: Path, log: int, column: str) -> Path:
    """The file with the texts of a column in the log of this number, from 1, of a dataset."""
    return folder / TEXTS / str(log) / f"{quote(column, safe=' ')}.parquet"


class KeptColumns:
    """Reads the columns to keep; which are text is known once all blocks have been read.

    A column is text if a cell of it is neither empty nor a number. Until that is known both are
    carried. Memory holds a bounded number of texts: one that was forgotten is written again.

    Args:
        columns: resolved; ``texts`` says which kept columns are text, ``None`` where that is to be
            found.
        table: the log.
        folder: of the dataset, in which the texts are written.
        log: number of the log in the dataset, from 1.
    """

    def __init__(self, columns: Columns, table: LogTable, folder: Path, log: int) -> None:
        self._names, self._folder, self._log = columns.keep, folder, log
        self._decided = None if columns.texts is None else set(columns.texts)
        self._typed = table.typed
        self._examples: dict[str, str] = {}
        self._odd = dict.fromkeys(columns.keep, 0)
        self._filled = dict.fromkeys(columns.keep, 0)
        self._writers = {name: _TextsWriter(texts_file(folder, log, name)) for name in columns.keep}

    @property
    def undecided(self) -> bool:
        """Whether all blocks have to be read before it is known which columns are text."""
        return bool(self._names) and self._decided is None

    @property
    def texts(self) -> list[str]:
        """The columns that are text."""
        return [name for name in self._names if self._is_text(name)]

    @property
    def notes(self) -> list[str]:
        """Warnings about columns that hold numbers and texts."""
        notes = []
        for name in self._names:
            odd, filled = self._odd[name], self._filled[name]
            found = f"{odd:,} of {filled:,} cells of the kept column {name!r} are no numbers"
            example = f"such as {self._examples.get(name, '')!r}"
            if self._decided is None and 0 < odd < filled:
                notes.append(f"{found}, {example}: it is kept as text.")
            elif self._decided is not None and odd and not self._is_text(name):
                notes.append(f"{found}, {example}; in this dataset it is numbers: they are NaN.")
        return notes

    def _is_text(self, name: str) -> bool:
        return self._odd[name] > 0 if self._decided is None else name in self._decided

    def read(self, cells: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
        """Arrays of the rows that are used, of pyarrow arrays of their cells; see :meth:`kept`."""
        return {key: array for name in self._names for key, array in self._read(name, cells[name])}

    def _read(self, name: str, cells: Any) -> list[tuple[str, NDArray[Any]]]:
        arrays: list[tuple[str, NDArray[Any]]] = []
        decided = self._decided is not None
        typed = self._typed and _is_number(cells.type)  # what is infinite there is no text
        if not (decided and self._is_text(name)):
            values = number_values(cells)
            odd = values == NO_NUMBER
            if odd.any():
                self._examples.setdefault(name, str(cells[int(odd.argmax())].as_py()))
            self._odd[name] += 0 if typed else int(odd.sum())
            self._filled[name] += int((~np.isnan(values)).sum())
            arrays.append((name, np.where(odd, np.nan, values)))
        if self._is_text(name) if decided else not typed:
            arrays.append((name + _CODE, self._codes(name, cells)))
        return arrays

    def _codes(self, name: str, cells: Any) -> NDArray[np.int64]:
        """Codes of cells, whose texts are written; :data:`NO_TEXT` for empty ones."""
        encoded = texts(cells).dictionary_encode()
        known = encoded.dictionary.to_pylist()
        coded = [
            code if text else NO_TEXT for code, text in zip(text_codes(known), known, strict=True)
        ]
        self._writers[name].add(dict(zip(coded, known, strict=True)))
        places = encoded.indices.fill_null(len(known)).to_numpy(zero_copy_only=False)
        return np.asarray(np.array([*coded, NO_TEXT], dtype=np.int64)[places])

    def kept(self, rounds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Columns of rounds, with those of :meth:`read` as what they are, float64 or int64."""
        chosen = {name: value for name, value in rounds.items() if not name.endswith(_CODE)}
        for name in self._names:
            if self._is_text(name):
                chosen[name] = rounds[name + _CODE]
        return chosen

    def close(self) -> None:
        """End the files of the columns that are text, and remove the others."""
        for name, writer in self._writers.items():
            writer.close()
            if not self._is_text(name):
                writer.path.unlink(missing_ok=True)
        if not self.texts:
            shutil.rmtree(self._folder / TEXTS / str(self._log), ignore_errors=True)


def _is_number(kind: Any) -> bool:
    from pyarrow import types

    tests = (types.is_integer, types.is_floating, types.is_boolean, types.is_decimal)
    return any(test(kind) for test in tests)


class _TextsWriter:
    """Writes codes and texts to a file, which is made with the first of them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._writer: Any = None
        self._known: set[int] = set()

    def add(self, texts: Mapping[int, str]) -> None:
        """Write texts by code; of those that were written lately none."""
        new = {
            code: text
            for code, text in texts.items()
            if code != NO_TEXT and code not in self._known
        }
        if not new:
            return
        import pyarrow
        from pyarrow import parquet

        table = pyarrow.table(
            {
                "code": pyarrow.array(list(new), pyarrow.int64()),
                "text": pyarrow.array(list(new.values()), pyarrow.string()),
            }
        )
        if self._writer is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._writer = parquet.ParquetWriter(self.path, table.schema, compression="zstd")
        self._writer.write_table(table)
        if len(self._known) + len(new) > _REMEMBERED:
            self._known.clear()
        self._known.update(new)

    def close(self) -> None:
        """End the file."""
        if self._writer is not None:
            self._writer.close()
