from __future__ import annotations

import csv
import json
import shutil
from collections import namedtuple
from pathlib import Path

import minari
import numpy as np
import pytest
import torch

from recsim_drpo import load_transitions
from recsim_drpo.datasets import import_log as module
from recsim_drpo.datasets.import_log import import_log, import_summary
from recsim_drpo.datasets.imported import imported_items
from recsim_drpo.datasets.importing import table as log_table
from recsim_drpo.datasets.importing.columns import Columns, read_columns
from recsim_drpo.datasets.importing.table import open_log_table

pa = pytest.importorskip("pyarrow")
from pyarrow import ipc, parquet  # noqa: E402

VECTORS = np.eye(4, dtype=np.float32)
ITEMS = (VECTORS, np.array([10, 11, 12, 13]))
COLUMNS = Columns(numbers=["age"], categories=["device"], item="sku", reward="click", keep=["day"])
HEADER = "sku,click,propensity,age,device,day\n"
GOOD = ["11,1,0.5,0.25,phone,1", "13,0,0.125,-2,tablet,2", "10,1,1,3e1,phone,3"]


def write(path, rows, header=HEADER, end="\n"):
    path.write_text(header + "\n".join(rows) + end)
    return path


def load(path, columns=COLUMNS, items=ITEMS, **options):
    return import_log("own/log-v0", path, items, columns, progress=False, **options)


def refused(root):
    with (root / "own/log-v0/refused.csv").open(newline="") as file:
        return [tuple(row) for row in csv.reader(file)][1:]


def nothing_is_left(root: Path) -> bool:
    files = [path.name for path in root.rglob("*") if path.is_file()]
    return not minari.list_local_datasets() and all(name.endswith(".lock") for name in files)


def as_table(rows=GOOD):
    cells = [row.split(",") for row in rows]
    types = [int, int, float, float, str, int]
    names = HEADER.strip().split(",")
    return pa.table(
        {
            name: [kind(row[i]) for row in cells]
            for i, (name, kind) in enumerate(zip(names, types, strict=True))
        }
    )


def write_parquet(path, table):
    parquet.write_table(table, path)


def write_arrow_file(path, table):
    with ipc.new_file(path, table.schema) as writer:
        writer.write_table(table, 2)


def write_arrow_stream(path, table):
    with ipc.new_stream(path, table.schema) as writer:
        writer.write_table(table, 2)


def dictionary_coded(path, table):
    parquet.write_table(table.set_column(4, "device", table["device"].dictionary_encode()), path)


FORMATS = {
    "log.csv": lambda path, _: write(path, GOOD),
    "log.tsv": lambda path, _: write(
        path, [row.replace(",", "\t") for row in GOOD], HEADER.replace(",", "\t")
    ),
    "log.txt": lambda path, _: write(
        path, [row.replace(",", ";") for row in GOOD], "\ufeff" + HEADER.replace(",", ";")
    ),
    "windows.csv": lambda path, _: path.write_bytes(
        (HEADER + "\n".join(GOOD) + "\n").replace("\n", "\r\n").encode()
    ),
    "log.parquet": write_parquet,
    "coded.parquet": dictionary_coded,
    "log.arrow": write_arrow_file,
    "stream.arrow": write_arrow_stream,
    "log.feather": write_arrow_file,
}


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_same_rounds(minari_root, tmp_path, name):
    FORMATS[name](tmp_path / name, as_table())
    dataset = load(tmp_path / name)
    log = load_transitions(dataset, infos=["item_id", "propensity", "day"]).as_batch()
    # Numbers first, then a place for each category in the order of its text.
    assert log.observations.tolist() == [[0.25, 1, 0], [-2, 0, 1], [30, 1, 0]]
    assert log.actions.tolist() == VECTORS[[1, 3, 0]].tolist()
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
    assert refused(minari_root) == []
    vectors, ids = imported_items(dataset)
    np.testing.assert_array_equal(vectors, VECTORS)
    np.testing.assert_array_equal(ids, ITEMS[1])


def test_the_schema_is_that_of_generated_datasets(minari_root, tmp_path):
    dataset = load(write(tmp_path / "log.csv", GOOD))
    (episode,) = dataset.iterate_episodes()
    assert episode.observations.dtype == episode.actions.dtype == np.float32
    assert episode.terminations.all()
    assert not episode.truncations.any()
    assert len(episode.observations) == 4
    assert episode.infos["item_id"].tolist() == [-1, 1, 3, 0]  # row 0 is filler
    assert np.isnan(episode.infos["propensity"][0])
    assert dataset.spec.env_spec is None
    assert dataset.storage.metadata["logged_mean_reward"] == pytest.approx(2 / 3)
    card = (minari_root / "own/log-v0/README.md").read_text()
    assert "3 of 4 items were shown" in card
    assert "from 0.125 to 1" in card


def test_long_logs_are_packed_in_order(minari_root, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "ROUNDS_PER_EPISODE", 300)
    monkeypatch.setattr(log_table, "_BLOCK_BYTES", 4096)
    rows = [f"{10 + k % 4},{k % 2},0.5,{k},{'ab'[k % 2]},0" for k in range(1000)]
    rows[500] = "not,enough"
    rows[501] = "10,1,0.5,501,a"
    rows[777] = "10,1,0.5,?,a,0"
    dataset = load(write(tmp_path / "log.csv", rows))
    assert [len(one.rewards) for one in dataset.iterate_episodes()] == [300, 300, 300, 97]
    log = load_transitions(dataset, infos=["item_id"]).as_batch()
    kept = [k for k in range(1000) if k not in (500, 501, 777)]
    assert log.observations[:, 0].tolist() == kept
    assert log.infos["item_id"].tolist() == [k % 4 for k in kept]
    assert {row[0] for row in refused(minari_root)} == {"501", "502", "778"}


BAD = {
    "14,1,0.5,1,phone,1": ("sku: no embedding of that id", "14"),
    ",1,0.5,1,phone,1": ("sku: missing", ""),
    "10,2,0.5,1,phone,1": ("click: outside [0, 1]", "2"),
    "10,-0.1,0.5,1,phone,1": ("click: outside [0, 1]", "-0.1"),
    "10,yes,0.5,1,phone,1": ("click: no finite number", "yes"),
    "10,nan,0.5,1,phone,1": ("click: no finite number", "nan"),
    "10,,0.5,1,phone,1": ("click: missing", ""),
    "10,1,0,1,phone,1": ("propensity: outside (0, 1]", "0"),
    "10,1,1.01,1,phone,1": ("propensity: outside (0, 1]", "1.01"),
    "10,1,-0.5,1,phone,1": ("propensity: outside (0, 1]", "-0.5"),
    "10,1,,1,phone,1": ("propensity: missing", ""),
    "10,1,0.5,inf,phone,1": ("age: no finite number", "inf"),
    "10,1,0.5,1e39,phone,1": ("age: no finite number", "1e39"),  # no float32
    "10,1,0.5,1,,1": ("device: missing", ""),
    "10,1,0.5,1,phone,one": ("day: no finite number", "one"),
    "10,1,0.5,1": ("4 cells where 6 are due", "10,1,0.5,1"),
    "10,1,0.5,1,phone,1,2": ("7 cells where 6 are due", "10,1,0.5,1,phone,1,2"),
}


def test_every_refused_row_is_counted_and_listed(minari_root, tmp_path):
    rows = [row for bad in BAD for row in (GOOD[0], bad)]
    dataset = load(write(tmp_path / "log.csv", rows))
    expected = [(str(2 * k + 2), *what) for k, what in enumerate(BAD.values())]
    assert sorted(refused(minari_root), key=lambda row: int(row[0])) == expected
    counts = dataset.storage.metadata["import"]
    assert counts["imported"] == dataset.total_steps == len(BAD)
    assert sum(counts["refused"].values()) == len(BAD)
    assert counts["rows"] == 2 * len(BAD)
    assert counts["refused"]["propensity: outside (0, 1]"] == 3
    summary = import_summary(dataset)
    assert "refused, propensity: outside (0, 1]" in summary
    assert "row 16: '0'" in (minari_root / "own/log-v0/README.md").read_text()


def test_rewards_outside_the_range_are_refused_or_clipped(minari_root, tmp_path):
    rows = [f"10,{reward},0.5,1,phone,1" for reward in (-3, 0, 4, 9)]
    path = write(tmp_path / "log.csv", rows)
    fields = {"numbers": ["age"], "item": "sku", "reward": "click", "reward_range": (-1, 5)}
    dataset = load(path, Columns(**fields))
    assert load_transitions(dataset).rewards.tolist() == [0, 4]
    assert dataset.storage.metadata["import"]["refused"] == {"click: outside [-1, 5]": 2}
    minari.delete_dataset("own/log-v0")
    dataset = load(path, Columns(**fields, outside="clip"))
    assert load_transitions(dataset).rewards.tolist() == [-1, 0, 4, 5]
    assert dataset.storage.metadata["import"]["clipped"] == 2
    assert "reward clipped" in import_summary(dataset)


def test_logs_without_propensities(minari_root, tmp_path):
    path = write(tmp_path / "log.csv", ["10,1,3"], "item_id,reward,x\n")
    with pytest.raises(
        ValueError, match=r"column of 'log\.csv' for the propensity 'propensity'.*--no-"
    ):
        load(path, Columns(numbers=["x"]))
    dataset = load(path, Columns(numbers=["x"], propensity=None))
    with pytest.raises(ValueError, match=r"Unknown info column .*'propensity'.* Known: item_id"):
        load_transitions(dataset, infos=["propensity"])


def test_another_log_can_be_coded_alike(minari_root, tmp_path):
    load(write(tmp_path / "log.csv", GOOD))
    columns = Columns(**read_columns(minari_root / "own/log-v0/columns.json"))
    assert columns.categories == {"device": ["phone", "tablet"]}
    minari.delete_dataset("own/log-v0")
    other = write(tmp_path / "b.csv", ["10,1,0.5,1,tablet,1", "10,1,0.5,1,watch,1"])
    dataset = load(other, columns)
    assert load_transitions(dataset).observations().tolist() == [[1, 0, 1]]
    assert refused(minari_root) == [("2", "device: none of its categories", "watch")]


def test_ids_of_any_type_find_their_vectors(minari_root, tmp_path):
    table = pa.table({"item_id": [11.0, None, 13.0], "reward": [True, True, False], "x": [1, 2, 3]})
    parquet.write_table(table, tmp_path / "log.parquet")
    dataset = load(tmp_path / "log.parquet", Columns(numbers=["x"], propensity=None))
    log = load_transitions(dataset, infos=["item_id"]).as_batch()
    assert log.infos["item_id"].tolist() == [1, 3]
    assert log.rewards.tolist() == [1, 0]
    assert dataset.storage.metadata["import"]["refused"] == {"item_id: missing": 1}
    minari.delete_dataset("own/log-v0")
    named = (VECTORS, np.array(["a b", "007", "7", "é"]))
    path = write(tmp_path / "log.csv", ['" a b ",1,1', "007,1,2", "é,1,3"], "item_id,reward,x\n")
    dataset = load(path, Columns(numbers=["x"], propensity=None), named)
    assert load_transitions(dataset, infos=["item_id"]).infos["item_id"].tolist() == [0, 1, 3]


def test_item_files_with_ids_of_their_own(minari_root, tmp_path):
    np.save(tmp_path / "vectors.npy", 3 * VECTORS)
    (tmp_path / "ids.txt").write_text("10\n11\n12\n13\n")
    np.save(tmp_path / "ids.npy", np.arange(10, 14))
    path = write(tmp_path / "log.csv", GOOD)
    for ids in ("ids.txt", "ids.npy"):
        dataset = load(
            path, items=tmp_path / "vectors.npy", item_ids=tmp_path / ids, normalize=True
        )
        log = load_transitions(dataset, infos=["item_id"]).as_batch()
        assert log.infos["item_id"].tolist() == [1, 3, 0]
        assert log.actions.tolist() == VECTORS[[1, 3, 0]].tolist()
        minari.delete_dataset("own/log-v0")
    with pytest.raises(ValueError, match="not of unit length"):
        load(path, items=tmp_path / "vectors.npy", item_ids=tmp_path / "ids.npy")
    with pytest.raises(ValueError, match=r"no embedding of that id .*ids are like '0', '1', '2'"):
        load(path, items=tmp_path / "vectors.npy", normalize=True)
    (tmp_path / "ids.txt").write_text("10\n11\n10\n13\n")
    with pytest.raises(ValueError, match="1 item ids more than once, for example '10'"):
        load(path, items=tmp_path / "vectors.npy", item_ids=tmp_path / "ids.txt", normalize=True)
    assert not minari.list_local_datasets()


def test_items_with_one_vector_are_told(minari_root, tmp_path):
    same = VECTORS.copy()
    same[3] = same[1]
    dataset = load(write(tmp_path / "log.csv", GOOD), items=(same, ITEMS[1]))
    (note,) = dataset.storage.metadata["import"]["notes"]
    assert "2 items share their vector with another (11 = 13)" in note
    assert note in (minari_root / "own/log-v0/README.md").read_text()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"reward": "clik"}, "for the reward 'clik'. Did you mean 'click'"),
        ({"item": "item_id"}, "for the item 'item_id'"),
        ({"propensity": "propensties"}, "Did you mean 'propensity'"),
        ({"numbers": ["agee"]}, "Did you mean 'age'"),
        ({"numbers": ["age_*"]}, "'age_\\*'. Did you mean 'age'"),
        ({"keep": ["dya"]}, "Did you mean 'day'"),
        ({"numbers": ["*"]}, "'sku' is the item and part of the context"),
        ({"categories": ["age"]}, "'age' is the part of the context and part of the context"),
        ({"numbers": [], "categories": []}, "A context is needed"),
        ({"numbers": "age"}, "numbers='age' is text"),
        ({"reward_range": (1, 0)}, r"reward_range's largest=0 is not a number in \(1, inf\)"),
        ({"reward_range": (1,)}, "not a smallest and a largest"),
        ({"outside": "clipp"}, "Did you mean 'clip'"),
    ],
)
def test_wrong_columns_are_one_clear_error(minari_root, tmp_path, fields, message):
    usual = {"numbers": ["age"], "categories": ["device"], "item": "sku", "reward": "click"}
    path = write(tmp_path / "log.csv", GOOD)
    with pytest.raises(ValueError, match=message):
        load(path, Columns(**(usual | fields)))
    minari_root.mkdir(exist_ok=True)
    assert nothing_is_left(minari_root)


def test_columns_that_cannot_be_used_are_one_clear_error(minari_root, tmp_path):
    table = as_table().append_column("when", pa.array([0, 1, 2], pa.timestamp("s")))
    parquet.write_table(table, tmp_path / "log.parquet")
    columns = Columns(numbers=["when"], item="sku", reward="click")
    with pytest.raises(ValueError, match=r"Not one row .* 3 × when: no finite number .*1970"):
        load(tmp_path / "log.parquet", columns)
    rows = [f"10,1,0.5,1,{k},1" for k in range(1001)]
    with pytest.raises(ValueError, match=r"'device' of 'log\.csv' has more than 1,000 different"):
        load(write(tmp_path / "log.csv", rows))
    minari_root.mkdir(exist_ok=True)
    assert nothing_is_left(minari_root)


def test_an_odd_columns_file_is_one_clear_error(tmp_path):
    path = tmp_path / "columns.json"
    for text, message in (
        ("{", "is not JSON"),
        ("[1]", "no object of fields"),
        ('{"rewrd": "click"}', "Did you mean 'reward'"),
    ):
        path.write_text(text)
        with pytest.raises(ValueError, match=message):
            read_columns(path)


def damaged_files(folder):
    """Files that are no whole table: (path, message)."""
    whole = folder / "whole"
    whole.mkdir()
    parquet.write_table(as_table(), whole / "log.parquet")
    write_arrow_file(whole / "file.arrow", as_table())
    write_arrow_stream(whole / "stream.arrow", as_table())
    for path in sorted(whole.iterdir()):
        cut = folder / path.name
        cut.write_bytes(path.read_bytes()[:-16])
        yield cut, "is cut off, damaged"
    for name in ("empty.csv", "empty.parquet", "empty.arrow"):
        (folder / name).write_bytes(b"")
        yield folder / name, "is empty"
    yield write(folder / "header.csv", [], end=""), "has a header and no row"
    yield write(folder / "twice.csv", GOOD, HEADER.replace("age", "click")), "more than one column"
    (folder / "latin.csv").write_bytes((HEADER + GOOD[0]).encode() + b"\n10,1,0.5,1,\xe9,1\n")
    yield folder / "latin.csv", "is cut off, damaged .*utf-8"
    open_quote = HEADER + GOOD[0] + '\n10,1,0.5,1,"phone,1\n' + (GOOD[1] + "\n") * 100_000
    (folder / "quote.csv").write_text(open_quote)
    yield folder / "quote.csv", "is cut off, damaged"
    (folder / "log.xlsx").write_bytes(b"1")
    yield folder / "log.xlsx", r"suffix '.xlsx'; known: .csv"


def test_damaged_files_are_one_clear_error_and_leave_nothing(minari_root, tmp_path):
    for path, message in damaged_files(tmp_path):
        with pytest.raises(ValueError, match=message):
            load(path)
        minari_root.mkdir(exist_ok=True)
        assert nothing_is_left(minari_root), path
    with pytest.raises(FileNotFoundError, match="no log at"):
        load(tmp_path / "nowhere.csv")


def test_parquet_damaged_in_the_middle_leaves_nothing(minari_root, tmp_path):
    path = tmp_path / "log.parquet"
    many = as_table([f"10,1,0.5,{k},phone,{k}" for k in range(50_000)])
    parquet.write_table(many, path, compression="snappy", row_group_size=10_000)
    whole = bytearray(path.read_bytes())
    middle = len(whole) // 2
    whole[middle : middle + 4096] = b"\xff" * 4096
    path.write_bytes(bytes(whole))
    with pytest.raises(ValueError, match="is cut off, damaged"):
        load(path)
    assert nothing_is_left(minari_root)


def test_a_csv_that_was_cut_says_so(minari_root, tmp_path):
    dataset = load(write(tmp_path / "log.csv", [*GOOD, "10,1,0."], end=""))
    counts = dataset.storage.metadata["import"]
    assert counts["refused"] == {"3 cells where 6 are due": 1}
    assert "may have been cut off" in counts["notes"][0]
    minari.delete_dataset("own/log-v0")
    dataset = load(write(tmp_path / "log.csv", [*GOOD, '10,1,0.5,1,"pho'], end=""))
    assert sum(dataset.storage.metadata["import"]["refused"].values()) == 1


def test_lines_that_quotes_join_are_told(minari_root, tmp_path):
    header = HEADER.strip() + ",note\n"
    rows = [GOOD[0] + ",a", GOOD[1] + ',"open', GOOD[2] + ',b"', GOOD[2] + ",c", ""]
    dataset = load(write(tmp_path / "log.csv", rows, header))
    counts = dataset.storage.metadata["import"]
    assert counts["imported"] == 3
    assert "6 lines for 3 rows" in counts["notes"][0]


def test_rows_have_the_files_numbers(tmp_path, monkeypatch):
    monkeypatch.setattr(log_table, "_BLOCK_BYTES", 64)
    generator = np.random.default_rng(0)
    good = generator.random(400) < 0.6
    lines = [f"{k + 1},1" if good[k] else "x" for k in range(400)]
    path = write(tmp_path / "log.csv", lines, "a,b\n")
    blocks = list(open_log_table(path).blocks(["a"]))
    bad = [row for block in blocks for row, *_ in block.malformed]
    assert len(blocks) > 10
    for block in blocks:
        assert block.cells["a"].to_pylist() == [str(row) for row in block.rows]
    assert bad == (np.flatnonzero(~good) + 1).tolist()


def test_a_full_disk_is_seen_before_any_work(minari_root, tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 10**9, 10**6))
    rows = [f"10,1,0.5,{k % 10},phone,1" for k in range(1000)]
    with pytest.raises(OSError, match=r"about 1,0\d\d rounds need about .* GB and 0\.00 GB"):
        load(write(tmp_path / "log.csv", rows))
    assert nothing_is_left(minari_root)


def test_a_file_that_is_no_table_is_given_up(minari_root, tmp_path, monkeypatch):
    monkeypatch.setattr(log_table, "_MAX_MALFORMED", 50)
    load(write(tmp_path / "log.csv", ["x"] * 49 + GOOD))
    minari.delete_dataset("own/log-v0")
    with pytest.raises(ValueError, match=r"damaged .*Expected 6 columns, got 1"):
        load(write(tmp_path / "log.csv", ["x"] * 50 + GOOD))
    assert not minari.list_local_datasets()


@pytest.mark.parametrize("fault", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_what_is_interrupted_leaves_nothing(minari_root, tmp_path, monkeypatch, fault):
    monkeypatch.setattr(module, "ROUNDS_PER_EPISODE", 2)
    episode, calls = module._episode, []

    def stop(*arguments):
        calls.append(1)
        if len(calls) == 2:
            raise fault
        return episode(*arguments)

    path = write(tmp_path / "log.csv", GOOD)
    monkeypatch.setattr(module, "_episode", stop)
    with pytest.raises(KeyboardInterrupt if fault is KeyboardInterrupt else OSError):
        load(path)
    assert nothing_is_left(minari_root)
    monkeypatch.setattr(module, "_episode", episode)
    assert load(path).total_steps == 3
    with pytest.raises(ValueError, match="There is a dataset 'own/log-v0' already"):
        load(path)
    assert json.loads((minari_root / "own/log-v0/columns.json").read_text())["item"] == "sku"
