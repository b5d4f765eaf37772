"""Columns kept beside the rounds: numbers stay numbers, texts are codes and come back."""

from __future__ import annotations

import contextlib
import csv
import json
import tempfile
import tracemalloc
from pathlib import Path

import minari
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from recsim_drpo import load_transitions
from recsim_drpo.datasets.append_log import append_log
from recsim_drpo.datasets.import_log import import_log
from recsim_drpo.datasets.imported import kept_texts
from recsim_drpo.datasets.importing import kept
from recsim_drpo.datasets.importing.columns import Columns, read_columns
from recsim_drpo.datasets.importing.requests import text_codes

pa = pytest.importorskip("pyarrow")
from pyarrow import parquet  # noqa: E402

COLUMNS = Columns(
    numbers=["age"], item="sku", reward="click", keep=["day", "device"], transforms={"age": "none"}
)
CELLS = ["a", "", "Zürich", "007", "7", "1e3", "a b", "0", "none", "true"]


def infos(dataset, *names):
    loaded = load_transitions(dataset, infos=names).infos
    return [loaded[name].numpy() for name in names]


def read_texts(dataset, name):
    return kept_texts(dataset, name, infos(dataset, name)[0]).tolist()


def test_texts_are_codes_and_come_back_and_empty_cells_cost_no_row(shop, tmp_path):
    cells = [("1", "phone"), ("", "tv, big"), ("3.5", ""), ("4", "phone"), ("5", "Zürich")]
    rows = [f'10,1,0.5,1,"{device}",{day}' for day, device in cells]
    dataset = shop.load(shop.write(tmp_path / "log.csv", rows), COLUMNS)
    assert shop.rejected() == []
    days, devices = infos(dataset, "day", "device")
    np.testing.assert_array_equal(days, [1, np.nan, 3.5, 4, 5])
    assert (days.dtype, devices.dtype) == (np.float64, np.int64)
    assert devices.tolist() == [
        *text_codes(["phone", "tv, big"]),
        -1,
        *text_codes(["phone", "Zürich"]),
    ]
    assert read_texts(dataset, "device") == ["phone", "tv, big", None, "phone", "Zürich"]
    assert kept_texts(dataset, "device", devices[:4].reshape(2, 2)).tolist() == [
        ["phone", "tv, big"],
        [None, "phone"],
    ]
    assert kept_texts(dataset, "device", np.array([-1])).tolist() == [None]
    assert read_columns(shop.folder / "columns.json")["texts"] == ["device"]
    assert [path.name for path in (shop.folder / "texts/1").iterdir()] == ["device.parquet"]
    with pytest.raises(ValueError, match="Unknown kept column of text of 'own/log-v0' 'day'"):
        kept_texts(dataset, "day", days)
    with pytest.raises(ValueError, match="has no text of code 12"):
        kept_texts(dataset, "device", np.array([12]))


@pytest.mark.parametrize("time", [None, "at"])
def test_one_late_text_makes_the_column_text_and_loses_nothing(shop, tmp_path, time):
    rows = [f"10,1,0.5,{k},phone,{f'{k:03d}' if k < 10_000 else ''},{-k}" for k in range(60_000)]
    rows.append("10,1,0.5,1,phone,late,1")
    header = "sku,click,propensity,age,device,day,at\n"
    columns = Columns(**{**vars(COLUMNS), "keep": ["day"], "time": time})
    dataset = shop.load(shop.write(tmp_path / "log.csv", rows, header), columns)
    assert shop.rejected() == []
    expected = [*(f"{k:03d}" for k in range(10_000)), *[None] * 50_000]
    expected = [*(expected[::-1] if time else expected), "late"]
    assert read_texts(dataset, "day") == expected
    notes = dataset.storage.metadata["import"]["notes"]
    note = "1 of 10,001 cells of the kept column 'day' are no numbers, such as 'late'"
    assert f"{note}: it is kept as text." in notes
    assert note in (shop.folder / "README.md").read_text()


def test_rows_that_are_refused_say_nothing_of_a_column(shop, tmp_path):
    rows = [*shop.GOOD, "99,1,0.5,1,phone,late"]
    dataset = shop.load(shop.write(tmp_path / "log.csv", rows), COLUMNS)
    assert infos(dataset, "day")[0].tolist() == [1, 2, 3]


def test_an_appended_log_and_another_log_are_kept_alike(shop, tmp_path):
    shop.load(shop.write(tmp_path / "log.csv", shop.GOOD), COLUMNS)
    more = ["10,1,0.5,1,radio,x", "10,1,0.5,1,phone,9", "10,1,0.5,1,7,"]
    shop.write(tmp_path / "more.csv", more)
    dataset = append_log("own/log-v0", tmp_path / "more.csv", progress=False)
    assert read_texts(dataset, "device") == ["phone", "tablet", "phone", "radio", "phone", "7"]
    np.testing.assert_array_equal(infos(dataset, "day")[0], [1, 2, 3, np.nan, 9, np.nan])
    assert any(
        "in this dataset it is numbers" in n for n in dataset.storage.metadata["import"]["notes"]
    )
    same = Columns(**read_columns(shop.folder / "columns.json"))
    # All of its devices are numbers, and are text nonetheless, as in the first log.
    other = import_log(
        "own/other-v0",
        shop.write(tmp_path / "other.csv", ["10,1,0.5,1,7,1"]),
        shop.ITEMS,
        same,
        progress=False,
    )
    assert read_texts(other, "device") == ["7"]
    assert infos(other, "device")[0][0] == infos(dataset, "device")[0][5]


def test_a_dataset_from_before_texts_were_kept_goes_on(shop, tmp_path):
    shop.load(shop.write(tmp_path / "log.csv", shop.GOOD))
    path = shop.folder / "columns.json"
    former = json.loads(path.read_text())
    del former["texts"]
    path.write_text(json.dumps(former))
    dataset = append_log("own/log-v0", tmp_path / "log.csv", progress=False)
    assert infos(dataset, "day")[0].tolist() == [1, 2, 3] * 2


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(cells=st.lists(st.sampled_from(CELLS), min_size=1, max_size=12), part=st.integers(0, 12))
def test_every_format_keeps_the_same_texts(cells, part):
    cells = ["text", *cells]
    columns = {"item_id": 0, "reward": 1, "x": 1}
    table = pa.table(
        {name: [value] * len(cells) for name, value in columns.items()}
        | {"note": [cell or None for cell in cells]}
    )
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        patch.setenv("MINARI_DATASETS_PATH", name)
        with Path(name, "log.csv").open("w", newline="") as file:
            csv.writer(file).writerows(
                [table.column_names, *(row.values() for row in table.to_pylist())]
            )
        Path(name, "log.jsonl").write_text("\n".join(map(json.dumps, table.to_pylist())))
        parquet.write_table(table, Path(name, "log.parquet"))
        parquet.write_table(table.slice(0, part), Path(name, "first.parquet"))
        parquet.write_table(table.slice(part), Path(name, "second.parquet"))
        logs = ["log.csv", "log.jsonl", "log.parquet", ["first.parquet", "second.parquet"]]
        for number, log in enumerate(logs):
            paths = [Path(name, one) for one in (log if isinstance(log, list) else [log])]
            columns = Columns(numbers=["x"], keep=["note"], propensity=None)
            dataset = import_log(
                f"own/log-v{number}", paths, (np.eye(2), np.arange(2)), columns, progress=False
            )
            assert read_texts(dataset, "note") == [cell or None for cell in cells]


@pytest.mark.slow
def test_memory_does_not_grow_with_the_texts(shop, tmp_path, monkeypatch):
    monkeypatch.setattr(kept, "_REMEMBERED", 2_000)
    peaks = []
    for count in (50_000, 150_000):
        rows = (f"10,1,0.5,1,user-{k:060d},1" for k in range(count))
        path = shop.write(tmp_path / "log.csv", list(rows))
        with contextlib.suppress(FileNotFoundError):
            minari.delete_dataset("own/log-v0")
        tracemalloc.start()
        dataset = shop.load(path, COLUMNS)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        codes = infos(dataset, "device")[0]
        assert len(np.unique(codes)) == count
        assert kept_texts(dataset, "device", codes[-2:])[1] == f"user-{count - 1:060d}"
    assert peaks[1] < 1.5 * peaks[0]


def test_an_infinite_number_of_a_typed_column_is_a_nan_and_no_text(shop, tmp_path):
    table = pa.table(
        {
            "age": [10.0, 20.0, 30.0],
            "sku": ["10", "20", "10"],
            "click": [1.0, 0.0, 1.0],
            "day": [300.0, np.inf, 100.0],
        }
    )
    columns = Columns(numbers=["age"], item="sku", reward="click", propensity=None, keep=["day"])
    items = tmp_path / "items.npz"
    np.savez(items, embeddings=np.eye(2, 4, dtype=np.float32), item_ids=np.array([10, 20]))
    import_log("own/typed-v0", table, items=items, columns=columns)
    np.testing.assert_array_equal(infos("own/typed-v0", "day")[0], [300.0, np.nan, 100.0])
