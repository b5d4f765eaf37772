"""Measure importing a log from outside: ``python -m recsim_drpo.benchmarks.import_speed``.

A CSV of so many rows, ten numbers of context each, an item of 5,000 in 128 dimensions, a reward and
a propensity, is imported in a process of its own. Beside it stands pyarrow, which reads the same
file into memory and keeps nothing.
"""

from __future__ import annotations

import shutil
import statistics
import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from recsim_drpo.benchmarks.speed.measuring import (
    DIM,
    Goal,
    Line,
    in_fresh_process,
    parse_command,
    peak_memory,
    run_sections,
    seconds_per_call,
    unit_rows,
)
from recsim_drpo.datasets.import_log import import_log
from recsim_drpo.datasets.importing.columns import Columns
from recsim_drpo.datasets.staging import minari_root

DEFAULT_OUT = Path("benchmarks/results/import_speed.json")
DATASET = "bench/imported-v0"
_NUM_ITEMS = 5_000
_NUMBERS = 10
_CHUNK = 100_000


@dataclass(frozen=True)
class Sizes:
    """Numbers of things that are measured, and how often.

    Attributes:
        rows: of the log.
        many_rows: of the log that shows whether memory grows.
        repetitions: turns of the former.
    """

    rows: int = 1_000_000
    many_rows: int = 5_000_000
    repetitions: int = 3


QUICK = Sizes(rows=20_000, many_rows=100_000, repetitions=2)


def write_log(path: Path, num_rows: int) -> None:
    """Write a CSV of random rows."""
    import pyarrow
    from pyarrow import csv

    generator = np.random.default_rng(0)
    names = [f"x{k}" for k in range(_NUMBERS)]
    schema = pyarrow.schema(
        [("item_id", pyarrow.int64()), ("reward", pyarrow.int64()), ("propensity", "float64")]
        + [(name, pyarrow.float64()) for name in names]
    )
    with csv.CSVWriter(path, schema) as writer:
        for start in range(0, num_rows, _CHUNK):
            size = min(_CHUNK, num_rows - start)
            columns = [
                generator.integers(_NUM_ITEMS, size=size),
                generator.integers(2, size=size),
                generator.uniform(0.0001, 1.0, size).round(6),
                *generator.standard_normal((_NUMBERS, size)).round(6),
            ]
            writer.write_table(pyarrow.Table.from_arrays(columns, schema=schema))


def importing(sizes: Sizes, folder: Path) -> list[Line]:
    """Lines on importing a log, and a longer one, beside pyarrow's reading them."""
    log = folder / "log.csv"
    write_log(log, sizes.rows)
    jobs = [_import_afresh(folder, log) for _ in range(sizes.repetitions)]
    seconds, peaks, reads = (list(column) for column in zip(*jobs, strict=True))
    what = f"import {sizes.rows:,} rows of CSV"
    write_log(log, sizes.many_rows)
    many_seconds, many_peak, many_read = _import_afresh(folder, log)
    many = f"import {sizes.many_rows:,} rows of CSV"
    reader = "pyarrow reads it"
    return [
        Line(what, "s", seconds, reader, tuple(reads), Goal(high=60.0, unit="s", of_ratio=False)),
        Line(f"{what}: peak memory", "GB", peaks, goal=Goal(high=1.0, unit="GB", of_ratio=False)),
        Line(many, "s", [many_seconds], reader, (many_read,)),
        Line(
            f"{many}: growth of peak memory",
            "GB",
            [many_peak],
            f"{sizes.rows:,} rows",
            (statistics.median(peaks),),
            Goal(0.9, 1.1),
        ),
    ]


def _import_afresh(folder: Path, log: Path) -> tuple[float, float, float]:
    """Seconds and peak memory (GB) of importing, and seconds of pyarrow's reading."""
    root = folder / "datasets"
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir()
    seconds, peak = in_fresh_process(_import_job, str(root), str(log))
    return seconds, peak / 1e9, in_fresh_process(_read_job, str(log))


def _import_job(root: str, log: str) -> tuple[float, int]:
    vectors = unit_rows(_NUM_ITEMS, DIM, torch.Generator().manual_seed(0)).numpy()
    items = vectors, np.arange(_NUM_ITEMS)
    columns = Columns(numbers=["x*"])
    with minari_root(root):
        seconds = seconds_per_call(lambda: import_log(DATASET, log, items, columns, progress=False))
    return seconds, peak_memory()


def _read_job(log: str) -> float:
    from pyarrow import csv

    return seconds_per_call(lambda: csv.read_csv(log))


def main() -> None:
    """Measure, print the table and write every repetition to a JSON file."""
    command = parse_command(__doc__, DEFAULT_OUT, ["import"])
    sizes = QUICK if command.quick else Sizes()
    with tempfile.TemporaryDirectory() as folder:
        run_sections(command, sizes, {"import": partial(importing, sizes, Path(folder))})


if __name__ == "__main__":
    main()
