from __future__ import annotations

import io

import minari
import numpy as np
import pytest
import torch

from recsim_drpo import load_transitions
from recsim_drpo.datasets.imported import imported_items
from recsim_drpo.datasets.importing.columns import Columns
from recsim_drpo.datasets.importing.table import open_log_table

pytest.importorskip("pyarrow")
from pyarrow import ipc, parquet


def write_arrow_file(path, table):
    with ipc.new_file(path, table.schema) as writer:
        writer.write_table(table, 2)


def write_arrow_stream(path, table):
    with ipc.new_stream(path, table.schema) as writer:
        writer.write_table(table, 2)


def write_coded(path, table):
    parquet.write_table(table.set_column(4, "device", table["device"].dictionary_encode()), path)


def write_views(path, table):
    import pyarrow

    views = table["device"].cast(pyarrow.string_view())
    parquet.write_table(table.set_column(4, "device", views), path)


def write_coded_views(path, table):
    import pyarrow

    views = pyarrow.array(["phone", "tablet"]).cast(pyarrow.string_view())
    coded = pyarrow.DictionaryArray.from_arrays(pyarrow.array([0, 1, 0]), views)
    write_arrow_file(path, table.set_column(4, "device", coded))


def delimited(delimiter, start=""):
    def write(shop, path):
        rows = [row.replace(",", delimiter) for row in shop.GOOD]
        shop.write(path, rows, start + shop.HEADER.replace(",", delimiter))

    return write


def with_line_ends_of_windows(shop, path):
    text = shop.write(path, shop.GOOD).read_text()
    path.write_bytes(text.replace("\n", "\r\n").encode())


def of_table(write):
    return lambda shop, path: write(path, shop.as_table())


FORMATS = {
    "log.csv": delimited(","),
    "log.tsv": delimited("\t"),
    "log.txt": delimited(";", "\ufeff"),
    "windows.csv": with_line_ends_of_windows,
    "log.parquet": of_table(lambda path, table: parquet.write_table(table, path)),
    "coded.parquet": of_table(write_coded),
    "views.parquet": of_table(write_views),
    "coded_views.arrow": of_table(write_coded_views),
    "log.arrow": of_table(write_arrow_file),
    "stream.arrow": of_table(write_arrow_stream),
    "log.feather": of_table(write_arrow_file),
}


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_same_rounds(shop, tmp_path, name):
    FORMATS[name](shop, tmp_path / name)
    dataset = shop.load(tmp_path / name)
    log = load_transitions(dataset, infos=["item_id", "propensity", "day"]).as_batch()
    # Numbers first, then a place for each category in the order of its text.
    assert log.observations.tolist() == [[0.25, 1, 0], [-2, 0, 1], [30, 1, 0]]
    assert log.actions.tolist() == shop.VECTORS[[1, 3, 0]].tolist()
    assert log.rewards.tolist() == [1, 0, 1]
    assert log.terminations.all()
    assert log.infos["item_id"].tolist() == [1, 3, 0]
    assert log.infos["propensity"].tolist() == [0.5, 0.125, 1]
    assert log.infos["day"].tolist() == [1, 2, 3]
    assert log.infos["item_id"].dtype == torch.int64
    assert log.infos["propensity"].dtype == torch.float64
    counts = dataset.storage.metadata["import"]
    assert (counts["rows"], counts["imported"], counts["refused"]) == (3, 3, {})
    assert counts["notes"] == []
    assert shop.rejected() == []
    vectors, ids = imported_items(dataset)
    np.testing.assert_array_equal(vectors, shop.VECTORS)
    np.testing.assert_array_equal(ids, shop.ITEMS[1])


def damaged_files(shop, folder):
    """Files that are no whole table: (path, message)."""
    whole = folder / "whole"
    whole.mkdir()
    parquet.write_table(shop.as_table(), whole / "log.parquet")
    write_arrow_file(whole / "file.arrow", shop.as_table())
    write_arrow_stream(whole / "stream.arrow", shop.as_table())
    for path in sorted(whole.iterdir()):
        cut = folder / path.name
        cut.write_bytes(path.read_bytes()[:-16])
        yield cut, "is cut off, damaged"
    for name in ("empty.csv", "empty.parquet", "empty.arrow"):
        (folder / name).write_bytes(b"")
        yield folder / name, "is empty"
    yield shop.write(folder / "header.csv", [], end=""), "has a header and no row"
    yield (
        shop.write(folder / "twice.csv", shop.GOOD, shop.HEADER.replace("age", "click")),
        "more than one column",
    )
    (folder / "latin.csv").write_bytes(
        (shop.HEADER + shop.GOOD[0]).encode() + b"\n10,1,0.5,1,\xe9,1\n"
    )
    yield folder / "latin.csv", "row 2: column 'device' is not UTF-8 text.* iconv -f ISO-8859-1"
    (folder / "log.xlsx").write_bytes(b"1")
    yield folder / "log.xlsx", r"suffix '.xlsx'; known: .csv"


def test_damaged_files_are_one_clear_error_and_leave_nothing(shop, nothing_is_left, tmp_path):
    for path, message in damaged_files(shop, tmp_path):
        with pytest.raises(ValueError, match=message):
            shop.load(path)
        assert nothing_is_left(), path
    with pytest.raises(FileNotFoundError, match="no file at"):
        shop.load(tmp_path / "nowhere.csv")


def test_parquet_damaged_in_the_middle_leaves_nothing(shop, nothing_is_left, tmp_path):
    path = tmp_path / "log.parquet"
    many = shop.as_table([f"10,1,0.5,{k},phone,{k}" for k in range(50_000)])
    parquet.write_table(many, path, compression="snappy", row_group_size=10_000)
    whole = bytearray(path.read_bytes())
    middle = len(whole) // 2
    whole[middle : middle + 4096] = b"\xff" * 4096
    path.write_bytes(bytes(whole))
    with pytest.raises(ValueError, match="is cut off, damaged"):
        shop.load(path)
    assert nothing_is_left()


def test_a_csv_that_was_cut_says_so(shop, tmp_path):
    dataset = shop.load(shop.write(tmp_path / "log.csv", [*shop.GOOD, "10,1,0."], end=""))
    counts = dataset.storage.metadata["import"]
    assert counts["refused"] == {"3 cells where 6 are due": 1}
    assert "may have been cut off" in counts["notes"][0]
    minari.delete_dataset("own/log-v0")
    dataset = shop.load(shop.write(tmp_path / "log.csv", [*shop.GOOD, '10,1,0.5,1,"pho'], end=""))
    assert sum(dataset.storage.metadata["import"]["refused"].values()) == 1


def test_lines_that_quotes_join_are_told(shop, tmp_path):
    header = shop.HEADER.strip() + ",note\n"
    rows = [
        shop.GOOD[0] + ",a",
        shop.GOOD[1] + ',"open',
        shop.GOOD[2] + ',b"',
        shop.GOOD[2] + ",c",
        "",
    ]
    dataset = shop.load(shop.write(tmp_path / "log.csv", rows, header))
    counts = dataset.storage.metadata["import"]
    assert counts["imported"] == 3
    assert "6 lines for 3 rows" in counts["notes"][0]


def test_a_quote_that_is_no_end_costs_its_own_row_alone(shop, tmp_path):
    header = "sku,title,click,propensity,age\n"
    rows = [
        '11,"TV 15""",1,0.5,1',
        '12,"TV 15\\"",0,0.25,2',
        '13,"a ""new""\nTV",1,0.75,3',
        '10,"TV" 15,1,0.5,4',
        '11,TV 15",0,0.5,5',
        '12,"TV,1,0.5,6',
        "13,TV,1,0.5,7",
    ]
    path = shop.write(tmp_path / "log.csv", rows, header)
    columns = Columns(numbers=["age"], item="sku", reward="click", transforms={"age": "none"})
    log = load_transitions(shop.load(path, columns), infos=["item_id", "propensity"]).as_batch()
    assert log.observations[:, 0].tolist() == [1, 3, 5, 7]
    assert log.infos["item_id"].tolist() == [1, 3, 1, 3]
    assert log.rewards.tolist() == [1, 1, 0, 1]
    assert log.infos["propensity"].tolist() == [0.5, 0.75, 0.5, 0.5]
    backslash = "text after a closing quote (is the backslash an escape? --escape '\\')"
    assert shop.rejected() == [
        ("2", backslash, f"line 3: {rows[1]}"),
        ("4", "text after a closing quote", f"line 6: {rows[3]}"),
        ("6", "a quote that is never closed", f"line 8: {rows[5]}"),
    ]
    minari.delete_dataset("own/log-v0")
    log = load_transitions(shop.load(path, columns, escape="\\"), infos=["item_id"]).as_batch()
    assert log.observations[:, 0].tolist() == [1, 2, 3, 5, 7]
    assert log.rewards.tolist() == [1, 0, 1, 0, 1]


def test_what_is_not_read_may_be_long_or_in_another_encoding(shop, tmp_path):
    header = shop.HEADER.strip() + ",note\n"
    notes = [b"caf\xe9", b'"' + b"long, " * 500_000 + b'"', b""]
    rows = [row.encode() + b"," + note for row, note in zip(shop.GOOD, notes, strict=True)]
    rows.insert(1, b"short,\xe9")
    (tmp_path / "log.csv").write_bytes(header.encode() + b"\n".join(rows) + b"\n")
    log = load_transitions(shop.load(tmp_path / "log.csv"), infos=["item_id"]).as_batch()
    assert log.infos["item_id"].tolist() == [1, 3, 0]
    ((row, _, value),) = shop.rejected()
    assert (row, value) == ("2", "short,\ufffd")


def test_rows_have_the_files_numbers(shop, tmp_path):
    generator = np.random.default_rng(0)
    good = generator.random(400) < 0.6
    lines = [f"{k + 1},1" if good[k] else "x" for k in range(400)]
    path = shop.write(tmp_path / "log.csv", lines, "a,b\n")
    blocks = list(open_log_table(path, block_bytes=64).blocks(["a"]))
    bad = [row for block in blocks for row, *_ in block.malformed]
    assert len(blocks) > 10
    for block in blocks:
        assert block.cells["a"].to_pylist() == [str(row) for row in block.rows]
    assert bad == (np.flatnonzero(~good) + 1).tolist()


def test_a_file_that_is_no_table_is_given_up(shop, tmp_path):
    path = shop.write(tmp_path / "log.csv", [*["x"] * 49, *shop.GOOD])
    (block,) = open_log_table(path, max_malformed=50).blocks(["sku"])
    assert block.cells["sku"].to_pylist() == ["11", "13", "10"]
    path = shop.write(tmp_path / "log.csv", [*["x"] * 50, *shop.GOOD])
    with pytest.raises(ValueError, match=r"damaged .*Expected 6 columns, got 1"):
        list(open_log_table(path, max_malformed=50).blocks(["sku"]))


def damaged_arrow(table, path, wrong):
    """Write a table whose offsets of phone, tablet and phone have another number in them."""
    sink = io.BytesIO()
    with ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    right = np.array([0, 5, 11, 16], dtype="<i4").tobytes()
    content = sink.getvalue()
    assert content.count(right) == 1
    path.write_bytes(content.replace(right, np.array([0, 5, wrong, 16], dtype="<i4").tobytes()))


@pytest.mark.parametrize("wrong", [2**31 - 1, -(2**31), 3, 2**20])
def test_arrow_with_offsets_beyond_its_memory_is_refused(shop, nothing_is_left, tmp_path, wrong):
    damaged_arrow(shop.as_table(), tmp_path / "log.arrow", wrong)
    with pytest.raises(ValueError, match="is cut off, damaged") as refused:
        shop.load(tmp_path / "log.arrow")
    assert len(str(refused.value).splitlines()) == 1
    assert nothing_is_left()


def test_a_json_line_that_is_nested_too_deeply_costs_its_own_row_alone(shop, tmp_path):
    good = '{"sku": 11, "click": 1, "propensity": 0.5, "age": 1, "device": "a", "day": 1}\n'
    (tmp_path / "log.jsonl").write_text(good + "[" * 100_000 + "\n" + good)
    assert shop.load(tmp_path / "log.jsonl").total_steps == 2
    assert [(row, why) for row, why, _ in shop.rejected()] == [("2", "not JSON")]
