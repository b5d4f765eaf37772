from __future__ import annotations

import json
import shutil
import threading
from datetime import UTC, datetime
from pathlib import Path

import minari
import numpy as np
import pytest
from minari.dataset._storages.hdf5_storage import HDF5Storage

from recsim_drpo import load_transitions
from recsim_drpo.cli import main
from recsim_drpo.core.files import exchange
from recsim_drpo.datasets.append_log import append_log
from recsim_drpo.datasets.import_log import import_summary
from recsim_drpo.datasets.importing.columns import Columns

pytest.importorskip("pyarrow")

HEADER = "sku,click,propensity,age,device,day,at\n"
COLUMNS = Columns(
    numbers=["age"],
    categories=["device"],
    transforms={"age": "none"},
    missing="refuse",
    item="sku",
    reward="click",
    reward_range=(0, 5),
    keep=["day"],
    time="at",
)
FIRST = ["11,1,0.5,0.25,phone,1,30", "13,0,0.25,-2,tablet,2,10", "99,1,1,3,phone,3,20"]
MORE = ["12,5,0.125,1,phone,4,60", "10,2,0.5,2,watch,5,50", "10,3,0.5,2,tablet,6,40"]


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def appended(path, **options):
    return append_log("own/log-v0", path, progress=False, **{"max_refused": 1.0, **options})


@pytest.fixture
def first(shop, tmp_path):
    shop.load(shop.write(tmp_path / "first.csv", FIRST, HEADER), COLUMNS)
    return shop


def test_new_rounds_come_after_the_old_ones_coded_alike(first, tmp_path):
    coding = (first.folder / "columns.json").read_bytes()
    dataset = appended(first.write(tmp_path / "more.csv", MORE, HEADER))
    log = load_transitions(dataset, infos=["item_id", "propensity", "day", "time"]).as_batch()
    # age, phone, tablet: "watch" is none of the categories.
    assert log.observations.tolist() == [[-2, 0, 1], [0.25, 1, 0], [2, 0, 1], [1, 1, 0]]
    assert log.rewards.tolist() == pytest.approx([0, 0.2, 0.6, 1.0])
    assert log.infos["item_id"].tolist() == [3, 1, 0, 2]
    assert log.infos["propensity"].tolist() == [0.25, 0.5, 0.5, 0.125]
    assert log.infos["day"].tolist() == [2, 1, 6, 4]
    assert log.infos["time"].tolist() == [10, 30, 40, 60]
    assert (first.folder / "columns.json").read_bytes() == coding
    assert first.rejected() == [("3", "sku: no embedding of that id", "99")]
    listed = (first.folder / "refused-2.csv").read_text()
    assert listed == "row,reason,value\n2,device: none of its categories,watch\n"


def test_the_counts_are_of_all_logs_together(first, tmp_path):
    dataset = appended(first.write(tmp_path / "more.csv", MORE, HEADER))
    dataset = appended(first.write(tmp_path / "third.csv", ["13,4,1,0,phone,7,70"], HEADER))
    metadata = dataset.storage.metadata
    about = metadata["import"]
    assert about["file"] == "first.csv, more.csv, third.csv"
    assert (about["rows"], about["imported"], dataset.total_steps) == (7, 5, 5)
    assert about["refused"] == {
        "sku: no embedding of that id": 1,
        "device: none of its categories": 1,
    }
    assert about["items_shown"] == 4
    assert about["time"] == [10.0, 70.0]
    assert about["propensities"] == [0.125, 1.0]
    assert about["rewards_found"] == [0.0, 5.0]
    assert metadata["logged_mean_reward"] == pytest.approx((1 + 0 + 5 + 3 + 4) / 5)
    assert metadata["description"].startswith("5 rounds imported from")
    assert [one["imported"] for one in about["appended"]] == [2, 1]
    card = (first.folder / "README.md").read_text()
    assert "`refused.csv`, `refused-2.csv`, `refused-3.csv`" in card
    assert "first.csv, more.csv, third.csv" in import_summary(dataset)


def test_rounds_that_begin_before_the_end_are_told(first, tmp_path):
    late = first.write(tmp_path / "late.csv", ["12,5,0.5,1,phone,4,30"], HEADER)
    assert appended(late).storage.metadata["import"]["notes"] == []
    early = first.write(tmp_path / "early.csv", ["12,5,0.5,1,phone,4,29"], HEADER)
    (note,) = appended(early).storage.metadata["import"]["notes"]
    assert "'early.csv' begin before the last of those that were there" in note


@pytest.mark.parametrize("fault", ["row", "refused", "disk", "stopped"])
def test_what_fails_leaves_the_dataset_as_it_was(first, tmp_path, monkeypatch, fault):
    before = bytes_of(first.folder)
    path = first.write(tmp_path / "more.csv", MORE, HEADER)
    expected: type[BaseException] = ValueError
    if fault == "row":
        path = first.write(tmp_path / "more.csv", MORE, HEADER.replace("age", "aged"))
    elif fault == "disk":
        expected = OSError
        monkeypatch.setattr(
            shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 10**9, 10**3)
        )
    elif fault == "stopped":
        expected = KeyboardInterrupt
        write = HDF5Storage.update_episodes

        def stop(self, episodes):
            write(self, episodes)
            raise KeyboardInterrupt

        monkeypatch.setattr(HDF5Storage, "update_episodes", stop)
    with pytest.raises(expected):
        appended(path, max_refused=0.2)
    assert bytes_of(first.folder) == before
    assert minari.load_dataset("own/log-v0").total_steps == 2


def test_only_imported_datasets_with_a_unit_are_appended_to(
    first, generate, small_kwargs, tmp_path
):
    path = first.write(tmp_path / "more.csv", MORE, HEADER)
    generate("made-v0", small_kwargs)
    with pytest.raises(ValueError, match="not made by recsim-drpo import"):
        append_log("made-v0", path)
    with pytest.raises(FileNotFoundError, match="no local dataset 'own/none-v0'"):
        append_log("own/none-v0", path)
    dataset = minari.load_dataset("own/log-v0")
    about = dict(dataset.storage.metadata["import"])
    del about["reward_range"]
    dataset.storage.update_metadata({"import": about})
    with pytest.raises(ValueError, match="import its log anew, with --replace"):
        appended(path)


def test_a_replaced_dataset_is_the_new_one_or_stays(first, tmp_path):
    path = first.write(tmp_path / "more.csv", MORE, HEADER)
    before = bytes_of(first.folder)
    with pytest.raises(ValueError, match="There is a dataset 'own/log-v0' already"):
        first.load(path, COLUMNS)
    narrow = Columns(numbers=["age"], item="sku", reward="click")
    with pytest.raises(ValueError, match="Not one row"):
        first.load(path, narrow, max_refused=0.1, replace=True)
    assert bytes_of(first.folder) == before
    dataset = first.load(path, COLUMNS, replace=True)
    assert load_transitions(dataset, infos=["time"]).infos["time"].tolist() == [40, 50, 60]
    assert first.rejected() == []
    minari.delete_dataset("own/log-v0")
    assert first.load(path, COLUMNS, replace=True).total_steps == 3  # nothing was there


def test_two_folders_are_exchanged_in_one_step(tmp_path, monkeypatch):
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "name").write_text(name)

    def names():
        return [(tmp_path / name / "name").read_text() for name in ("one", "other")]

    exchange(tmp_path / "one", tmp_path / "other")
    assert names() == ["other", "one"]
    monkeypatch.setattr("recsim_drpo.core.files._exchanged", lambda one, other: False)
    exchange(tmp_path / "one", tmp_path / "other")
    assert names() == ["one", "other"]
    with pytest.raises(OSError, match="No such file"):
        exchange(tmp_path / "gone", tmp_path / "other")
    assert names() == ["one", "other"]
    monkeypatch.undo()
    with pytest.raises(OSError, match="No such file"):
        exchange(tmp_path / "gone", tmp_path / "other")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "other"]


def test_readers_find_a_dataset_at_every_moment_of_a_replacement(tmp_path):
    one, other = tmp_path / "one", tmp_path / "other"
    for folder in (one, other):
        folder.mkdir()
        (folder / "data").write_text("whole")
    stop, missing = threading.Event(), []

    def read():
        while not stop.is_set():
            if not (other / "data").is_file():
                missing.append(1)

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(2_000):
        exchange(one, other)
    stop.set()
    reader.join()
    assert missing == []


def test_append_and_replace_by_command(minari_root, tmp_path, capsys):
    np.save(tmp_path / "items.npy", np.eye(3, dtype=np.float32))
    for name, start in (("a", 0), ("b", 40)):
        days = [datetime.fromtimestamp(86_400 * (start + k), UTC).date() for k in range(40)]
        lines = [f"{k % 3},{k % 2},0.3333,{k % 7},{day}" for k, day in enumerate(days)]
        header = "item_id,reward,propensity,x,day\n"
        (tmp_path / f"{name}.csv").write_text(header + "\n".join(lines) + "\n")

    def run(*arguments):
        return main([str(argument) for argument in arguments])

    items = ["--items", tmp_path / "items.npy", "--numbers", "x", "--time", "day"]
    assert run("import", "own/log-v0", tmp_path / "a.csv", *items) == 0
    capsys.readouterr()
    assert run("import", "own/log-v0", tmp_path / "b.csv", "--append", *items) == 2
    error = capsys.readouterr().err
    assert "leave out --numbers, --time, --items." in error
    assert run("import", "own/log-v0", tmp_path / "b.csv", "--append", "--no-propensity") == 2
    assert "leave out --no-propensity" in capsys.readouterr().err
    assert run("import", "own/log-v0", tmp_path / "b.csv", "--append") == 0
    assert "80 rounds in" in capsys.readouterr().out
    times = load_transitions("own/log-v0", infos=["time"]).infos["time"]
    assert times.tolist() == [86_400.0 * k for k in range(80)]
    assert run("import", "own/log-v0", tmp_path / "b.csv", *items, "--replace") == 0
    assert minari.load_dataset("own/log-v0").total_steps == 40
    folder = minari_root / "own/log-v0"
    assert json.loads((folder / "columns.json").read_text())["time"] == "day"
    assert not (folder / "refused-2.csv").exists()
