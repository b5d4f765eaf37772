"""Write recommendations piece by piece: CSV, Parquet and JSON lines.

A table of recommendations has a row an item: the context's id, ``rank`` from 1, ``item_id``,
``score`` and, where items were drawn at random, ``propensity``.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from recsim_drpo.core.files import atomic_file
from recsim_drpo.core.messages import shown
from recsim_drpo.core.spreadsheets import plain_cells
from recsim_drpo.core.tables import require_pyarrow
from recsim_drpo.serving.formats import STREAM, format_of
from recsim_drpo.serving.readers import RESULT_COLUMNS, Ids

PROPENSITY = "propensity"
"""The column after those, where items were drawn at random."""


class Recommendations(NamedTuple):
    """Items for n contexts.

    Attributes:
        ids: (n,), of the contexts.
        items: (n, k), ids of items, the first first.
        scores: float32 (n, k).
        propensities: float64 (n, k), or ``None`` where nothing was drawn.
        counts: int64 (n,), how many of the k there are; ``None``: all.
    """

    ids: Ids
    items: NDArray[Any]
    scores: NDArray[np.float32]
    propensities: NDArray[np.float64] | None = None
    counts: NDArray[np.int64] | None = None

    def columns(self) -> list[list[Any] | NDArray[Any]]:
        """Ids, ranks, items, scores and, if there are, propensities, a row an item."""
        size, k = self.items.shape
        ranks = np.tile(np.arange(1, k + 1, dtype=np.int32), size)
        columns = [ranks, self.items.ravel(), self.scores.ravel()]
        if self.propensities is not None:
            columns.append(self.propensities.ravel())
        counts = [k] * size
        if self.counts is not None:
            there = ranks <= np.repeat(self.counts, k)
            columns, counts = [column[there] for column in columns], self.counts.tolist()
        ids = [name for name, count in zip(self.ids, counts, strict=True) for _ in range(count)]
        return [ids, *columns]


Write = Callable[[Recommendations], None]


@contextmanager
def open_recommendations(
    path: Path,
    id_name: str,
    *,
    format: str | None = None,
    propensities: bool = False,
    excel_safe: bool = False,
) -> Iterator[Write]:
    """Open a table of recommendations, to be written in pieces; a file appears whole or not at all.

    Args:
        path: a file that is not there yet, or :data:`.formats.STREAM`.
        id_name: name of the first column.
        format: one of :data:`.formats.FORMATS`; ``None``: by the suffix, CSV of a stream.
        propensities: whether there is a column of them.
        excel_safe: see :func:`recsim_drpo.core.spreadsheets.plain_cell`; of CSV.

    Yields:
        a function that writes recommendations.

    Raises:
        FileExistsError, OSError: the file is there, or cannot be made.
        ValueError: the format is unknown, or lacks its package; the ids are called as another
            column; ``excel_safe`` is asked of another format.
    """
    kind = format_of(path, format, "--output-format")
    if excel_safe and kind != "csv":
        raise ValueError(f"excel_safe (--excel-safe) is about CSV; {kind} has no formulas.")
    names = [id_name, *RESULT_COLUMNS, *([PROPENSITY] if propensities else [])]
    if id_name in names[1:]:
        raise ValueError(f"The ids cannot be called {shown(id_name)}: results have that column.")
    if path == STREAM:
        yield _text_writer(sys.stdout, kind, names, excel_safe)
        sys.stdout.flush()
        return
    with atomic_file(path) as partial:
        if kind == "parquet":
            with _parquet_writer(partial, names) as write:
                yield write
        else:
            with partial.open("w", newline="", encoding="utf-8") as file:
                yield _text_writer(file, kind, names, excel_safe)


def _text_writer(file: IO[str], kind: str, names: Sequence[str], excel_safe: bool) -> Write:
    table = csv.writer(file, lineterminator="\n")
    started = False

    def write(piece: Recommendations) -> None:
        nonlocal started
        if kind == "csv" and not started:  # only now: bad input leaves no lone header
            table.writerow(plain_cells(names) if excel_safe else names)
            started = True
        ids, ranks, items, scores, *others = piece.columns()
        # str of a float32: the shortest decimal that is that number.
        values = [ids, np.asarray(ranks).tolist(), np.asarray(items).tolist(), map(str, scores)]
        if excel_safe:
            values[0], values[2] = plain_cells(values[0]), plain_cells(values[2])
        rows = zip(*values, *(np.asarray(other).tolist() for other in others), strict=True)
        if kind == "csv":
            table.writerows(rows)
        else:
            for context, rank, item, score, *rest in rows:
                line = dict(zip(names, (context, rank, item, float(score), *rest), strict=True))
                file.write(json.dumps(line, ensure_ascii=False) + "\n")

    return write


@contextmanager
def _parquet_writer(path: Path, names: Sequence[str]) -> Iterator[Write]:
    arrow = require_pyarrow("Parquet needs")
    writer = None

    def write(piece: Recommendations) -> None:
        nonlocal writer
        columns = piece.columns()
        if not len(columns[0]) and writer is None:  # of no rows the types are unknown
            return
        columns[2] = np.asarray(columns[2]).tolist()
        table = arrow.table(dict(zip(names, map(arrow.array, columns), strict=True)))
        if writer is None:
            writer = arrow.parquet.ParquetWriter(path, table.schema)
        writer.write_table(table.cast(writer.schema))

    try:
        yield write
        if writer is None:
            arrow.parquet.write_table(arrow.table({name: [] for name in names}), path)
    finally:
        if writer is not None:
            writer.close()
