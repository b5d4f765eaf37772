"""Write recommendations piece by piece: CSV, Parquet and JSON lines.

A table of recommendations has a row an item: the context's id, ``rank`` from 1, ``item_id`` and
``score``.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from recsim_drpo.core.files import atomic_file
from recsim_drpo.core.tables import require_pyarrow
from recsim_drpo.serving.formats import STREAM, format_of
from recsim_drpo.serving.readers import RESULT_COLUMNS, Ids

Write = Callable[[Ids, NDArray[Any], NDArray[np.float32]], None]


@contextmanager
def open_recommendations(path: Path, id_name: str, *, format: str | None = None) -> Iterator[Write]:
    """Open a table of recommendations, to be written in pieces; a file appears whole or not at all.

    Args:
        path: a file that is not there yet, or :data:`.formats.STREAM`.
        id_name: name of the first column.
        format: one of :data:`.formats.FORMATS`; ``None``: by the suffix, CSV of a stream.

    Yields:
        a function that writes ids (n,), item ids (n, k) and scores, float32 (n, k).

    Raises:
        FileExistsError, OSError: the file is there, or cannot be made.
        ValueError: the format is unknown, or lacks its package.
    """
    kind = format_of(path, format, "--output-format")
    if path == STREAM:
        yield _text_writer(sys.stdout, kind, id_name)
        sys.stdout.flush()
        return
    with atomic_file(path) as partial:
        if kind == "parquet":
            with _parquet_writer(partial, id_name) as write:
                yield write
        else:
            with partial.open("w", newline="", encoding="utf-8") as file:
                yield _text_writer(file, kind, id_name)


def _text_writer(file: IO[str], kind: str, id_name: str) -> Write:
    names = (id_name, *RESULT_COLUMNS)
    table = csv.writer(file, lineterminator="\n")
    started = False

    def write(ids: Ids, items: NDArray[Any], scores: NDArray[np.float32]) -> None:
        nonlocal started
        if kind == "csv" and not started:  # only now: bad input leaves no lone header
            table.writerow(names)
            started = True
        # str: the shortest decimal that is that float32.
        rows = (
            (context, rank, item, str(score))
            for context, its_items, its_scores in zip(ids, items.tolist(), scores, strict=True)
            for rank, (item, score) in enumerate(zip(its_items, its_scores, strict=True), start=1)
        )
        if kind == "csv":
            table.writerows(rows)
        else:
            for *others, score in rows:
                line = dict(zip(names, (*others, float(score)), strict=True))
                file.write(json.dumps(line, ensure_ascii=False) + "\n")

    return write


@contextmanager
def _parquet_writer(path: Path, id_name: str) -> Iterator[Write]:
    arrow = require_pyarrow("Parquet needs")
    writer = None

    def write(ids: Ids, items: NDArray[Any], scores: NDArray[np.float32]) -> None:
        nonlocal writer
        size, k = items.shape
        columns = {
            id_name: arrow.array([context for context in ids for _ in range(k)]),
            "rank": arrow.array(np.tile(np.arange(1, k + 1, dtype=np.int32), size)),
            "item_id": arrow.array(items.ravel().tolist()),
            "score": arrow.array(scores.ravel()),
        }
        table = arrow.table(columns)
        if writer is None:
            writer = arrow.parquet.ParquetWriter(path, table.schema)
        writer.write_table(table)

    try:
        yield write
    finally:
        if writer is not None:
            writer.close()
