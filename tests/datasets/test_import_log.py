from __future__ import annotations

import json
import shutil
from collections import namedtuple

import h5py
import minari
import numpy as np
import pytest
from minari.dataset._storages.hdf5_storage import HDF5Storage

from recsim_drpo import load_transitions
from recsim_drpo.datasets.importing.columns import Columns, read_columns

pytest.importorskip("pyarrow")


def test_the_schema_is_that_of_generated_datasets(shop, tmp_path):
    dataset = shop.load(shop.write(tmp_path / "log.csv", shop.GOOD))
    (episode,) = dataset.iterate_episodes()
    assert episode.observations.dtype == episode.actions.dtype == np.float32
    assert episode.terminations.all()
    assert not episode.truncations.any()
    assert len(episode.observations) == 4
    assert episode.infos["item_id"].tolist() == [-1, 1, 3, 0]  # row 0 is filler
    assert np.isnan(episode.infos["propensity"][0])
    assert dataset.spec.env_spec is None
    assert dataset.storage.metadata["logged_mean_reward"] == pytest.approx(2 / 3)
    card = (shop.folder / "README.md").read_text()
    assert "3 of 4 items were shown" in card
    assert "from 0.125 to 1" in card


def test_long_logs_are_packed_in_order(shop, tmp_path):
    size = 45_000
    rows = [f"{10 + k % 4},{k % 2},0.5,{k},{'ab'[k % 2]},{k:08}" for k in range(size)]
    rows[500] = "not,enough"
    rows[501] = "10,1,0.5,501,a"
    rows[40_777] = "10,1,0.5,?,a,0"
    path = shop.write(tmp_path / "log.csv", rows)
    assert path.stat().st_size > 2**20  # more than is read at a time
    dataset = shop.load(path)
    lengths = [len(episode.rewards) for episode in dataset.iterate_episodes()]
    assert lengths == [10_000, 10_000, 10_000, 10_000, 4_997]
    log = load_transitions(dataset, infos=["item_id"]).as_batch()
    kept = [k for k in range(size) if k not in (500, 501, 40_777)]
    assert log.observations[:, 0].tolist() == kept
    assert log.infos["item_id"].tolist() == [k % 4 for k in kept]
    assert {row[0] for row in shop.rejected()} == {"501", "502", "40778"}


def test_zeros_and_ones_take_little_room(shop, tmp_path):
    """11,000 rows of 200 categories are 8.8 MB as Minari writes them, which reads these too."""
    codes = np.random.default_rng(0).integers(200, size=11_000)
    path = shop.write(tmp_path / "log.csv", [f"10,1,0.5,{k},c{k:03},1" for k in codes])
    dataset = shop.load(path)
    with h5py.File(shop.folder / "data/main_data.hdf5") as file:
        assert list(file) == ["episode_0", "episode_1"]
        stored = [file[name]["observations"] for name in file]
        assert [one.shape for one in stored] == [(10_001, 201), (1_001, 201)]
        assert sum(one.id.get_storage_size() for one in stored) < 200_000
        assert stored[0].compression == "gzip"
    observations = [episode.observations for episode in dataset.iterate_episodes()]
    assert [one.dtype for one in observations] == [np.float32] * 2
    expected = np.concatenate([codes[:, None], np.eye(200)[codes]], axis=1)
    np.testing.assert_array_equal(load_transitions(dataset).observations(), expected)
    assert dataset.total_steps == 11_000
    assert (dataset[1].id, dataset.total_episodes) == (1, 2)


def test_another_log_can_be_coded_alike(shop, tmp_path):
    shop.load(shop.write(tmp_path / "log.csv", shop.GOOD))
    columns = Columns(**read_columns(shop.folder / "columns.json"))
    assert columns.categories == {"device": ["phone", "tablet"]}
    minari.delete_dataset("own/log-v0")
    other = shop.write(tmp_path / "b.csv", ["10,1,0.5,1,tablet,1", "10,1,0.5,1,watch,1"])
    dataset = shop.load(other, columns)
    assert load_transitions(dataset).observations().tolist() == [[1, 0, 1], [1, 0, 0]]
    assert shop.rejected() == []


def test_item_files_with_ids_of_their_own(shop, tmp_path):
    np.save(tmp_path / "vectors.npy", 3 * shop.VECTORS)
    (tmp_path / "ids.txt").write_text("10\n11\n12\n13\n")
    np.save(tmp_path / "ids.npy", np.arange(10, 14))
    path = shop.write(tmp_path / "log.csv", shop.GOOD)
    for ids in ("ids.txt", "ids.npy"):
        dataset = shop.load(
            path, items=tmp_path / "vectors.npy", item_ids=tmp_path / ids, normalize=True
        )
        log = load_transitions(dataset, infos=["item_id"]).as_batch()
        assert log.infos["item_id"].tolist() == [1, 3, 0]
        assert log.actions.tolist() == shop.VECTORS[[1, 3, 0]].tolist()
        minari.delete_dataset("own/log-v0")
    with pytest.raises(ValueError, match="not of unit length"):
        shop.load(path, items=tmp_path / "vectors.npy", item_ids=tmp_path / "ids.npy")
    with pytest.raises(ValueError, match=r"no embedding of that id .*ids are like '0', '1', '2'"):
        shop.load(path, items=tmp_path / "vectors.npy", normalize=True)
    (tmp_path / "ids.txt").write_text("10\n11\n10\n13\n")
    with pytest.raises(ValueError, match="1 item ids more than once, for example '10'"):
        shop.load(
            path, items=tmp_path / "vectors.npy", item_ids=tmp_path / "ids.txt", normalize=True
        )
    assert not minari.list_local_datasets()


def test_items_with_one_vector_are_told(shop, tmp_path):
    same = shop.VECTORS.copy()
    same[3] = same[1]
    dataset = shop.load(shop.write(tmp_path / "log.csv", shop.GOOD), items=(same, shop.ITEMS[1]))
    (note,) = dataset.storage.metadata["import"]["notes"]
    assert "2 items share their vector with another (11 = 13)" in note
    assert note in (shop.folder / "README.md").read_text()


def test_a_full_disk_is_seen_before_any_work(shop, nothing_is_left, tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 10**9, 10**6))
    rows = [f"10,1,0.5,{k % 10},phone,1" for k in range(1000)]
    with pytest.raises(OSError, match=r"about 1,0\d\d rounds need about .* GB and 0\.00 GB"):
        shop.load(shop.write(tmp_path / "log.csv", rows))
    assert nothing_is_left()


@pytest.mark.parametrize("fault", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_what_is_interrupted_leaves_nothing(shop, nothing_is_left, tmp_path, monkeypatch, fault):
    write = HDF5Storage.update_episodes

    def stop(self, episodes):
        write(self, episodes)
        assert not nothing_is_left()
        raise fault

    path = shop.write(tmp_path / "log.csv", shop.GOOD)
    monkeypatch.setattr(HDF5Storage, "update_episodes", stop)
    with pytest.raises(KeyboardInterrupt if fault is KeyboardInterrupt else OSError):
        shop.load(path)
    assert nothing_is_left()
    monkeypatch.setattr(HDF5Storage, "update_episodes", write)
    assert shop.load(path).total_steps == 3
    with pytest.raises(ValueError, match="There is a dataset 'own/log-v0' already"):
        shop.load(path)
    assert json.loads((shop.folder / "columns.json").read_text())["item"] == "sku"
