"""Logs of several files, packed, by standard input and in memory give one file's rounds."""

from __future__ import annotations

import gzip
import io
import json
import os
import pickle
import shutil
import sys
import threading
from dataclasses import replace

import minari
import numpy as np
import pytest

from recsim_drpo import load_transitions
from recsim_drpo.cli import main
from recsim_drpo.datasets.imported import imported_context, kept_texts
from recsim_drpo.datasets.importing.coding import ContextCoder
from recsim_drpo.datasets.importing.columns import Columns
from recsim_drpo.datasets.importing.table import open_log_table
from recsim_drpo.serving.readers import open_contexts
from tests.training.test_tasks import ELSEWHERE

pa = pytest.importorskip("pyarrow")
from pyarrow import ipc, parquet  # noqa: E402


def rounds(dataset):
    log = load_transitions(dataset, infos=["item_id", "propensity", "day"]).as_batch()
    return (
        log.observations.tolist(),
        log.rewards.tolist(),
        *(log.infos[name].tolist() for name in ("item_id", "propensity", "day")),
    )


# Numbers first, then a place for each category in the order of its text.
EXPECTED = (
    [[0.25, 1, 0], [-2, 0, 1], [30, 1, 0]],
    [1, 0, 1],
    [1, 3, 0],
    [0.5, 0.125, 1],
    [1, 2, 3],
)


def as_text(shop):
    return (shop.HEADER + "\n".join(shop.GOOD) + "\n").encode()


def as_json_lines(shop):
    return "".join(json.dumps(row) + "\n" for row in shop.as_table().to_pylist()).encode()


def write_zst(path, content):
    with pa.CompressedOutputStream(str(path), "zstd") as file:
        file.write(content)


def write_gz(path, content):
    # As `cat a.gz b.gz` makes it: of two members.
    path.write_bytes(gzip.compress(content[:20]) + gzip.compress(content[20:]))


PACKED = {
    "log.csv.gz": (write_gz, as_text),
    "log.tsv.zst": (write_zst, as_text),
    "log.jsonl": (lambda path, content: path.write_bytes(content), as_json_lines),
    "log.ndjson.gz": (write_gz, as_json_lines),
    "log.json.zst": (write_zst, as_json_lines),
}


@pytest.mark.parametrize("name", PACKED)
def test_packed_text_and_json_lines(shop, tmp_path, name):
    write, content = PACKED[name]
    write(tmp_path / name, content(shop))
    dataset = shop.load(tmp_path / name)
    assert rounds(dataset) == EXPECTED
    assert dataset.storage.metadata["import"]["notes"] == []


@pytest.mark.parametrize("name", ["log.csv.gz", "log.csv.zst"])
def test_a_packed_file_that_was_cut_is_one_clear_error(shop, nothing_is_left, tmp_path, name):
    generator = np.random.default_rng(0)
    rows = [f"10,1,0.5,{number},phone,1" for number in generator.random(200_000)]
    text = (shop.HEADER + "\n".join(rows) + "\n").encode()
    (write_gz if name.endswith("gz") else write_zst)(tmp_path / name, text)
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=f"'{name}' is cut off, damaged"):
        shop.load(tmp_path / name)
    assert nothing_is_left()


def test_several_files_are_one_log_and_rows_say_which_is_theirs(shop, tmp_path):
    folder = tmp_path / "log"
    folder.mkdir()
    shop.write(folder / "part-1.csv", [shop.GOOD[0], "99,1,0.5,1,phone,1"])
    (folder / "part-2.jsonl").write_bytes(
        b'{"sku": 13, "click": 0, "propensity": 0.125, "device": "tablet", "age": -2, "day": 2}\n'
        b'{"sku": 13\n'
    )
    parquet.write_table(shop.as_table(shop.GOOD[2:]), folder / "part-3.parquet")
    (folder / "schema.json").write_text("{}")
    names = ["part-1.csv", "part-2.jsonl", "part-3.parquet"]
    for log in ([folder / name for name in names], str(folder / "part-*"), folder):
        dataset = shop.load(log)
        assert rounds(dataset) == EXPECTED
        assert shop.rejected() == [
            ("part-1.csv", "2", "sku: no embedding of that id", "99"),
            ("part-2.jsonl", "2", "not JSON", '{"sku": 13'),
        ]
        assert "part-1.csv, row 2: '99'" in (shop.folder / "README.md").read_text()
        assert dataset.storage.metadata["import"]["file"] == "part-1.csv and 2 more"
        minari.delete_dataset("own/log-v0")


def test_folders_name_columns(shop, tmp_path):
    for folder, rows in (
        ("day=1/device=phone", [0]),
        ("day=2/device=tablet", [1]),
        ("day=3/device=phone", [2]),
        ("day=4/device=__HIVE_DEFAULT_PARTITION__", [0]),
    ):
        (tmp_path / "log" / folder).mkdir(parents=True)
        table = shop.as_table([shop.GOOD[row] for row in rows]).drop_columns(["device", "day"])
        parquet.write_table(table, tmp_path / "log" / folder / "part-0.parquet")
    (tmp_path / "log/_SUCCESS").write_text("")
    (tmp_path / "log/_delta_log").mkdir()
    (tmp_path / "log/_delta_log/0.json").write_text("{}")
    for log in (
        tmp_path / "log",
        tmp_path / "log/day=*/*/*.parquet",
        tmp_path / "log/**/*.parquet",
    ):
        assert rounds(shop.load(log, replace(shop.COLUMNS, missing="refuse"))) == EXPECTED
        file = "day=4/device=__HIVE_DEFAULT_PARTITION__/part-0.parquet"
        assert shop.rejected() == [(file, "1", "device: missing", "")]
        minari.delete_dataset("own/log-v0")


def test_a_file_without_a_column_of_the_others_is_named_before_anything_is_read(shop, tmp_path):
    shop.write(tmp_path / "a.csv", shop.GOOD)
    shop.write(tmp_path / "b.csv", shop.GOOD, shop.HEADER.replace("age", "years"))
    with pytest.raises(ValueError, match=r"'b\.csv' has no column 'age'.*'a\.csv' has one"):
        shop.load(tmp_path)
    # A column that is not used may be missing, and columns may have another order.
    shop.write(tmp_path / "b.csv", [f"1,{row}" for row in shop.GOOD], "extra," + shop.HEADER)
    assert shop.load(tmp_path).total_steps == 6


@pytest.mark.parametrize(
    ("logs", "error", "message"),
    [
        (["a.csv", "a.csv"], ValueError, "'.*a.csv' is named more than once"),
        (["a.csv", "*.csv"], ValueError, "'.*a.csv' is named more than once"),
        (["b*.csv"], FileNotFoundError, r"no file at '.*b\*.csv'"),
        (["empty"], FileNotFoundError, "no table in the folder '.*empty'"),
        (["a.csv", "nowhere.csv"], FileNotFoundError, "no file at '.*nowhere.csv'"),
        (["log.parquet.gz"], ValueError, "'log.parquet.gz' is packed; unpack it"),
        (["log.xlsx.gz"], ValueError, "suffix '.xlsx'; known: .csv"),
        (["list.json"], ValueError, r"no JSON lines.* jq -c '\.\[\]'"),
        ([], ValueError, "No log is named"),
    ],
)
def test_files_that_are_no_logs_are_one_clear_error(shop, tmp_path, logs, error, message):
    shop.write(tmp_path / "a.csv", shop.GOOD)
    (tmp_path / "empty").mkdir()
    (tmp_path / "list.json").write_text('[\n{"sku": 1},\n{"sku": 2}\n]\n')
    for name in ("log.parquet.gz", "log.xlsx.gz"):
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(error, match=message):
        open_log_table([tmp_path / log for log in logs])
    with pytest.raises(TypeError, match="type int is neither a path nor an object with __arrow_c"):
        open_log_table(3)
    with pytest.raises(ValueError, match=r"Unknown --input-format 'cvs'.* 'csv'"):
        open_log_table(tmp_path / "a.csv", format="cvs")


def test_json_lines_may_leave_cells_out_and_mix_types(shop, tmp_path):
    lines = [
        {"item": "a", "reward": 1, "x": 1},
        {"reward": True, "item": "a", "x": "2.5", "note": None},
        {"item": "a", "reward": 0},
        {"item": 7, "reward": 0.5, "x": 3},
        {"item": "a", "reward": [1], "x": 4},
    ]
    text = "\n\n".join(json.dumps(line) for line in lines) + '\n[1]\n{"item": "a", "x": "\\ud8'
    (tmp_path / "log.jsonl").write_text(text)
    raw = {"transforms": {"x": "none"}, "missing": "refuse"}
    columns = Columns(numbers=["x"], item="item", propensity=None, **raw)
    items = (shop.VECTORS[:2], np.array(["a", "7"]))
    log = load_transitions(shop.load(tmp_path / "log.jsonl", columns, items), infos=["item_id"])
    assert log.observations()[:, 0].tolist() == [1, 2.5, 3]
    assert log.rewards.tolist() == [1, 1, 0.5]
    assert log.infos["item_id"].tolist() == [0, 0, 1]
    assert {(row, reason) for row, reason, _ in shop.rejected()} == {
        ("3", "x: missing"),
        ("5", "reward: no finite number"),
        ("6", "not an object of named cells"),
        ("7", "not JSON"),
    }
    (tmp_path / "bad.jsonl").write_text('{"a": 1}\n' + "{\n" * 40_000)
    with pytest.raises(
        ValueError, match=r"damaged or no \.jsonl file .*30,000 lines that are no obj"
    ):
        list(open_log_table(tmp_path / "bad.jsonl", max_malformed=30_000).blocks(["a"]))


@pytest.mark.parametrize("format", ["csv", "jsonl", "parquet", "arrow"])
def test_standard_input_is_read_twice(shop, tmp_path, monkeypatch, format):
    file = io.BytesIO()
    if format == "parquet":
        parquet.write_table(shop.as_table(), file)
    elif format == "arrow":
        with ipc.new_stream(file, shop.as_table().schema) as writer:
            writer.write_table(shop.as_table())
    else:
        file.write(as_text(shop) if format == "csv" else as_json_lines(shop))
    file.seek(0)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(file))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "spool"))
    monkeypatch.setattr("tempfile.tempdir", None)
    (tmp_path / "spool").mkdir()
    np.savez(tmp_path / "items.npz", embeddings=shop.VECTORS, item_ids=shop.ITEMS[1])
    words = ["import", "own/log-v0", "-", "--items", str(tmp_path / "items.npz")]
    words += ["--item", "sku", "--reward", "click", "--numbers", "age", "--categories", "device"]
    words += ["--transform", "age=none", "--keep", "day"]
    words += [*([] if format == "csv" else ["--input-format", format])]
    assert main(words) == 0
    assert rounds(minari.load_dataset("own/log-v0")) == EXPECTED
    assert list((tmp_path / "spool").iterdir()) == []


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names")
def test_a_pipe_with_a_name_is_read_twice(shop, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=(tmp_path / "pipe").write_bytes, args=[as_text(shop)])
    writer.start()
    assert rounds(shop.load(tmp_path / "pipe")) == EXPECTED
    writer.join()


class Query:
    """What gives its rows once, as a cursor does."""

    def __init__(self, table):
        self.reader = table.to_reader(2)

    def __arrow_c_stream__(self, requested_schema=None):
        reader, self.reader = self.reader, None
        return reader.__arrow_c_stream__(requested_schema)


IN_MEMORY = {
    "table": lambda table: table,
    "batch": lambda table: table.to_batches()[0],
    "reader": lambda table: table.to_reader(2),
    "coded": lambda table: table.set_column(4, "device", table["device"].dictionary_encode()),
    "query": Query,
}
FRAMES = {
    "pandas": lambda pandas, table: pandas.DataFrame(table.to_pydict()),
    "polars": lambda polars, table: polars.from_arrow(table),
    "duckdb": lambda duckdb, table: duckdb.connect().from_arrow(table),
}


@pytest.mark.parametrize("name", IN_MEMORY)
def test_objects_that_speak_arrow(shop, name):
    dataset = shop.load(IN_MEMORY[name](shop.as_table()))
    assert rounds(dataset) == EXPECTED


@pytest.mark.peer
@pytest.mark.parametrize("library", FRAMES)
def test_frames_of_other_libraries_are_logs_and_contexts(shop, tmp_path, library, import_peer):
    module = import_peer(library)
    table = FRAMES[library](module, shop.as_table())
    dataset = shop.load(table)
    assert rounds(dataset) == EXPECTED
    coder = ContextCoder.of_description(imported_context(dataset))
    (piece,) = open_contexts(table, coder.dim, coding=coder, id_column="sku").pieces
    assert piece.ids == [11, 13, 10]
    assert piece.contexts.tolist() == EXPECTED[0]
    minari.delete_dataset("own/log-v0")
    # A cell that is empty there is empty here, and texts are texts.
    gaps = shop.as_table().to_pydict() | {"device": ["tv", None, "7"], "day": [1, None, 3]}
    columns = replace(shop.COLUMNS, categories=(), keep=["device", "day"])
    dataset = shop.load(FRAMES[library](module, pa.table(gaps)), columns)
    kept = load_transitions(dataset, infos=["device", "day"]).infos
    assert kept_texts(dataset, "device", kept["device"].numpy()).tolist() == ["tv", None, "7"]
    np.testing.assert_array_equal(kept["day"], [1, np.nan, 3])


def test_objects_and_files_are_one_log(shop, tmp_path):
    table = shop.as_table(["99,1,0.5,1,phone,1"])
    shop.write(tmp_path / "log.csv", shop.GOOD[:1])
    last = shop.as_table(shop.GOOD[1:])  # in the order in which they are named
    log = [table, tmp_path / "log.csv", table.to_reader(), last]
    assert rounds(shop.load(log)) == EXPECTED
    assert [row[:2] for row in shop.rejected()] == [("Table", "1"), ("RecordBatchReader", "1")]


@pytest.fixture
def mixed(shop, tmp_path):
    """Files of four kinds in folders that name a column, with rows that are refused."""
    rows = [
        f"{10 + k % 5},{k % 2},{1 / (1 + k % 3)},{k / 7},{'phone' if k % 3 else 'tv'},{k}"
        for k in range(40)
    ]
    folders = [tmp_path / "log" / f"device_kind=kind{number}" for number in range(4)]
    for folder in folders:
        folder.mkdir(parents=True)
    shop.write(folders[0] / "a.csv", [*rows[:10], "broken", '11,0,1,"open,phone,3'])
    with gzip.open(folders[1] / "b.csv.gz", "wt") as file:
        file.write(shop.HEADER + "\n".join(rows[10:20]) + "\n")
    parquet.write_table(shop.as_table(rows[20:30]), folders[2] / "c.parquet")
    lines = shop.as_table(rows[30:]).to_pylist()
    (folders[3] / "d.jsonl").write_text("\n".join(map(json.dumps, [*lines, {"sku": 1}])))
    return tmp_path / "log"


def test_files_parsed_elsewhere_make_the_same_dataset_to_the_byte(shop, mixed):
    shop.load(mixed)
    here = {path.name: path.read_bytes() for path in shop.folder.rglob("*") if path.is_file()}
    refused = shop.rejected()
    assert {row[0] for row in refused} >= {"a.csv", "d.jsonl"}
    shop.load(mixed, engine=ELSEWHERE, replace=True)
    assert {p.name: p.read_bytes() for p in shop.folder.rglob("*") if p.is_file()} == here


def test_a_file_in_a_pickle_is_read_where_it_is_not(shop, mixed):
    table = open_log_table(mixed)
    sent = pickle.dumps(table)
    expected = [block.lists() for block in table.blocks(["sku", "device_kind"])]
    shutil.rmtree(mixed)
    found = pickle.loads(sent)
    assert [block.lists() for block in found.blocks(["sku", "device_kind"])] == expected
    assert found.notes == table.notes
