"""Recommend's reader codes the table that was imported to the very contexts in the dataset."""

from __future__ import annotations

import csv
import json
import tempfile
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, example, given, settings, strategies as st

from recsim_drpo.core.tables import open_table
from recsim_drpo.datasets.import_log import import_log
from recsim_drpo.datasets.imported import imported_context
from recsim_drpo.datasets.importing.coding import ContextCoder
from recsim_drpo.datasets.importing.columns import Columns
from recsim_drpo.datasets.importing.transforms import TRANSFORMS
from recsim_drpo.datasets.load import load_transitions
from recsim_drpo.datasets.staging import minari_root
from recsim_drpo.serving.readers import open_contexts

pa = pytest.importorskip("pyarrow")
import pyarrow.csv as arrow_csv  # noqa: E402
from pyarrow import parquet  # noqa: E402

ITEMS = np.eye(3, dtype=np.float32), np.arange(3)
WORDS = ["TV 15\"", "a b", "true", "True", "007", "1.0", "1", "1.10", "é", "", " x ", "nan", ",",
         "7e12", "-", "2020-01-01T00:00:00", "2020-02-30 12:00:00Z", "12:30:00.500"]  # fmt: skip
FLOATS = [0.0, -0.0, 1.0, 0.1, -2.5, 1e-5, 3e20, 1700000000.25, 123456.789, float("nan")]
MOMENTS = [datetime(2020, 1, 31), datetime(2021, 2, 3, 4, 5, 6, 789000), datetime(1969, 7, 20, 20)]
MOMENTS_IN_ZONE = [moment.replace(tzinfo=UTC) for moment in MOMENTS]
DECIMALS = [Decimal("1.50"), Decimal("-3"), Decimal("0.001"), Decimal("12345678.9")]
TEXT_NUMBERS = ["1.5", " 2 ", "+3", "1e3", ".5", "7.", "true", "False", "", "nan"]
NUMBERS = [
    (pa.float64(), FLOATS),
    (pa.float32(), FLOATS),
    (pa.float16(), [0.5, 2.0, -0.1]),
    (pa.int64(), [0, -7, 1_700_000_001, 2**53 + 1]),
    (pa.uint8(), [0, 255]),
    (pa.bool_(), [True, False]),
    (pa.decimal128(12, 3), DECIMALS),
    (pa.string(), TEXT_NUMBERS),
    (pa.large_string(), TEXT_NUMBERS),
    (pa.string_view(), TEXT_NUMBERS),
    (pa.binary(), [b"1.5", b"2"]),
    (pa.null(), [None]),
]
CATEGORIES = [
    (pa.string(), WORDS),
    (pa.large_string(), WORDS),
    (pa.string_view(), WORDS),
    (pa.dictionary(pa.int32(), pa.string()), WORDS),
    (pa.binary(), [b"phone", "é".encode(), b"1"]),
    (pa.bool_(), [True, False]),
    (pa.int64(), [0, 1, -5, 2**60]),
    (pa.uint8(), [1, 2]),
    (pa.float64(), FLOATS),
    (pa.float32(), [0.0, 1.0, 0.1, -2.5, 1e-5, float("nan")]),
    (pa.decimal128(12, 3), DECIMALS),
    (pa.date32(), [date(2020, 1, 31), date(1999, 12, 31)]),
    (pa.time64("us"), [time(1, 2, 3), time(1, 2, 3, 400)]),
    *((pa.timestamp(unit), MOMENTS) for unit in ("ms", "us", "ns")),
    (pa.timestamp("us", "UTC"), MOMENTS_IN_ZONE),
    (pa.timestamp("ms", "Europe/Berlin"), MOMENTS_IN_ZONE),
    (pa.null(), [None]),
]  # fmt: skip


def columns_of(kinds):
    return st.sampled_from(kinds).flatmap(
        lambda kind: st.tuples(
            st.just(kind[0]),
            st.lists(st.none() | st.sampled_from(kind[1]), min_size=6, max_size=6),
        )
    )


def written(table, folder):
    """The table in every format, without the types that the writer of CSV does not know."""
    plain = pa.table(
        {
            name: column.cast(pa.string())
            if pa.types.is_string_view(column.type) or pa.types.is_dictionary(column.type)
            else column.cast(pa.float32()).cast(pa.float64())
            if pa.types.is_float16(column.type)
            else column
            for name, column in zip(table.column_names, table.columns, strict=True)
        }
    )
    arrow_csv.write_csv(plain, folder / "log.csv")
    with (folder / "log.jsonl").open("w") as file:
        for number, row in enumerate(table.to_pylist()):
            cells = {n: c.decode() if isinstance(c, bytes) else c for n, c in row.items()}
            if number % 2:  # what is empty need not be there
                cells = {name: cell for name, cell in cells.items() if cell is not None}
            file.write(json.dumps(cells, default=str) + "\n")
    parquet.write_table(table, folder / "log.parquet")
    return [folder / f"log.{suffix}" for suffix in ("csv", "jsonl", "parquet")]


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    numbers=columns_of(NUMBERS),
    categories=columns_of(CATEGORIES),
    hashed=columns_of(CATEGORIES),
    transform=st.sampled_from(TRANSFORMS),
    as_text=st.booleans(),
)
@example((pa.float32(), [0.1, 0.7, -2.5, 1e9, None, 3.3]), (pa.bool_(), [True, False] * 3),
         (pa.string_view(), ["a"] * 6), "standardise", False)  # fmt: skip
def test_every_type_in_every_format_is_coded_alike(numbers, categories, hashed, transform, as_text):
    # The text of a number in single precision is another number in double precision.
    assume(not (as_text and numbers[0] in (pa.float32(), pa.float16())))
    given_columns = {"x": numbers, "kind": categories, "id": hashed}
    table = pa.table(
        {"item_id": [0, 1, 2] * 2, "reward": [0, 1] * 3}
        | {name: pa.array(cells, kind) for name, (kind, cells) in given_columns.items()}
    )
    with tempfile.TemporaryDirectory() as name, minari_root(name):
        folder = Path(name) / "files"
        folder.mkdir()
        paths = written(table, folder)
        if as_text:  # what was imported is a CSV, of which a Parquet file has the text
            with open_table(paths[0], "csv", "log.csv") as text:
                (block,) = text.blocks(text.columns, 100)
            parquet.write_table(pa.table(block.cells), paths[2])
        columns = Columns(
            numbers=["x"],
            categories=["kind"],
            hashes={"id": 7},
            propensity=None,
            transforms={"x": transform},
        )
        log = paths[0] if as_text else paths[2]
        dataset = import_log("own/log-v0", log, ITEMS, columns, progress=False)
        expected = load_transitions(dataset).observations().numpy()
        assert len(expected) == 6
        coder = ContextCoder.of_description(json.loads(json.dumps(imported_context(dataset))))
        for path in paths:
            pieces = list(open_contexts(path, coder.dim, coding=coder).pieces)
            assert [piece.refused for piece in pieces] == [[]]
            np.testing.assert_array_equal(pieces[0].contexts, expected, err_msg=path.name)


def test_booleans_and_whole_numbers_of_a_csv_are_those_of_json(tmp_path):
    coder = ContextCoder.of_description(
        {"numbers": ["member"], "categories": {"plus": ["false", "true"], "room": ["1", "101"]}}
    )
    with (tmp_path / "c.csv").open("w", newline="") as file:
        csv.writer(file).writerows(
            [["member", "plus", "room"], ["True", "FALSE", "101.0"], ["0", "true", "1"]]
        )
    rows = [{"member": True, "plus": False, "room": 101}, {"member": 0, "plus": True, "room": 1.0}]
    (tmp_path / "c.jsonl").write_text("\n".join(map(json.dumps, rows)))
    for name in ("c.csv", "c.jsonl"):
        (piece,) = open_contexts(tmp_path / name, coder.dim, coding=coder).pieces
        assert piece.contexts.tolist() == [[1, 1, 0, 0, 1], [0, 0, 1, 1, 0]]
