from __future__ import annotations

import json
from typing import Any

import gymnasium as gym
import h5py
import minari
import numpy as np
import pytest
from minari.data_collector import EpisodeBuffer

from recsim_drpo import load_transitions
from recsim_drpo.datasets.append_log import append_log
from recsim_drpo.datasets.import_log import import_summary
from recsim_drpo.datasets.imported import imported_context, recorded_infos
from recsim_drpo.datasets.items import resolve_items
from recsim_drpo.datasets.load import open_dataset
from recsim_drpo.datasets.soundness import (
    DamagedDatasetError,
    episodes_of,
    metadata_of,
    num_transitions,
)
from recsim_drpo.ope.drift_logs import read_compared_log
from recsim_drpo.ope.held_out import load_and_hold_out
from recsim_drpo.ope.logs import read_item_log
from recsim_drpo.ope.split import held_out_part
from recsim_drpo.runs.folder import source_of

GONE = object()


@pytest.fixture
def bandit(generate, minari_root, small_kwargs):
    """A generated dataset of 50 rounds, and its folder."""
    generate("my/log-v0", small_kwargs, num_rounds=50)
    return minari_root / "my/log-v0"


def change(folder, **values: Any) -> None:
    """Give names of the metadata other values, or none."""
    path = folder / "data" / "metadata.json"
    metadata = json.loads(path.read_text()) | values
    text = json.dumps({name: value for name, value in metadata.items() if value is not GONE})
    path.write_text(text)


def hdf5(folder) -> h5py.File:
    return h5py.File(folder / "data" / "main_data.hdf5", "r+")


def error_of(read, *arguments: Any) -> str:
    """The message with which a dataset is refused, which is one line."""
    with pytest.raises(DamagedDatasetError) as caught:
        read(*arguments)
    message = str(caught.value)
    assert message.startswith("Dataset 'my/log-v0' is damaged: ")
    assert message.endswith(
        "Delete it, minari.delete_dataset('my/log-v0'), and generate or import it again."
    )
    assert "\n" not in message
    assert len(message) <= 400
    return message


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"total_episodes": 10**15}, "it says 1,000,000,000,000,000 episodes but holds 1"),
        ({"total_episodes": -1}, "total_episodes=-1"),
        ({"total_episodes": "1"}, "total_episodes='1'"),
        ({"total_steps": None}, "total_steps=None"),
        ({"total_steps": 1.5}, "total_steps=1.5"),
        ({"dataset_id": 3}, "dataset_id=3"),
        ({"dataset_id": "x"}, "dataset_id='x' is no id"),
        ({"data_format": "zip"}, "data_format='zip'"),
        ({"observation_space": GONE}, "observation_space"),
        ({"action_space": "{"}, "Expecting property name"),
        ({"action_space": "7"}, "TypeError"),
        ({"env_spec": "{}"}, "additional_wrappers"),
        ({"env_spec": 5}, "env_spec=5"),
        ({"weights": {"expert": "x"}}, "weights.expert='x'"),
        ({"minari_version": "x" * 5000}, "xxx"),
    ],
)
def test_metadata_of_another_shape_are_refused(bandit, values, message):
    change(bandit, **values)
    assert message in error_of(open_dataset, "my/log-v0")


def test_a_space_larger_than_its_bounds_asks_for_no_memory(bandit):
    space = {"type": "Box", "dtype": "float32", "shape": [10**12], "low": 0.0, "high": 1.0}
    change(bandit, observation_space=json.dumps(space))
    assert "shape [1000000000000]" in error_of(open_dataset, "my/log-v0")
    space |= {"shape": [1], "low": [0], "high": [1], "dtype": "V2000000000"}
    change(bandit, observation_space=json.dumps({"type": "Tuple", "subspaces": [space]}))
    assert "'V2000000000'" in error_of(open_dataset, "my/log-v0")


def test_no_environment_is_made_to_open_a_dataset(bandit, tmp_path):
    """Minari asks a dataset without spaces for its environment: any callable that it names."""
    trace = tmp_path / "trace"
    spec = {
        "id": "x-v0",
        "entry_point": "os:mkdir",
        "kwargs": {"path": str(trace)},
        "additional_wrappers": [],
    }
    change(bandit, observation_space=GONE, env_spec=json.dumps(spec))
    error_of(open_dataset, "my/log-v0")
    assert not trace.exists()


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 100_000, "\0"])
def test_metadata_that_are_no_object_are_refused(bandit, text):
    (bandit / "data" / "metadata.json").write_text(text)
    error_of(open_dataset, "my/log-v0")


def test_files_that_are_gone_or_cut_short(bandit):
    path = bandit / "data" / "main_data.hdf5"
    path.write_bytes(path.read_bytes()[:-1000])
    assert "truncated" in error_of(open_dataset, "my/log-v0")
    path.unlink()
    assert "main_data.hdf5 is missing" in error_of(open_dataset, "my/log-v0")
    (bandit / "data" / "metadata.json").unlink()
    assert "metadata.json is missing" in error_of(open_dataset, "my/log-v0")


def test_as_many_transitions_as_are_said(bandit):
    assert num_transitions(open_dataset("my/log-v0")) == 50
    change(bandit, total_steps=10**15)
    message = error_of(load_transitions, "my/log-v0")
    assert "says 1,000,000,000,000,000 transitions but holds 50" in message
    error_of(read_item_log, "my/log-v0")


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ("rewards", "it has no episode_0/rewards"),
        ("observations", "episode_0 has no observations"),
        ("truncations", "episode_0 has no truncations"),
        ("infos/item_id", "'item_id'"),
    ],
)
def test_a_column_that_is_gone(bandit, column, message):
    with hdf5(bandit) as file:
        del file[f"episode_0/{column}"]
    with pytest.raises(ValueError, match=message):
        read_item_log("my/log-v0")
    with pytest.raises(ValueError, match=message):
        load_transitions("my/log-v0", infos=["item_id"])


@pytest.mark.parametrize("column", ["rewards", "actions", "infos/item_id"])
@pytest.mark.parametrize(
    "values",
    [
        7,
        b"text",
        np.zeros(50, "S3"),
        np.zeros(51, "V4"),
        np.zeros(51, complex),
        np.zeros((51, 2, 2), np.float32),
        np.zeros(3, np.float32),
    ],
)
def test_a_column_of_another_type_or_length(bandit, column, values):
    with hdf5(bandit) as file:
        del file[f"episode_0/{column}"]
        file[f"episode_0/{column}"] = values
    error_of(read_item_log, "my/log-v0")
    if np.ndim(values) != 3 or column == "actions":
        with pytest.raises(ValueError, match=r"item_id|damaged"):
            load_transitions("my/log-v0", infos=["item_id"])


@pytest.mark.parametrize("filters", [{}, {"compression": "gzip"}])
def test_what_a_column_declares_is_compared_with_its_bytes(bandit, filters):
    with hdf5(bandit) as file:
        del file["episode_0/infos/policy"]
        file.create_dataset("episode_0/infos/policy", (10**13,), "f8", chunks=(10**4,), **filters)
    assert "declares 80,000,000,000,000 bytes" in error_of(load_transitions, "my/log-v0")


def test_compressed_columns_are_read(bandit):
    """Zeros, the most that a filter can make small, are no damage."""
    before = load_transitions("my/log-v0").as_batch()
    with hdf5(bandit) as file:
        file.create_dataset(
            "episode_0/infos/zeros", data=np.zeros(10**7), chunks=(10**6,), compression="gzip"
        )
    assert (load_transitions("my/log-v0").as_batch().rewards == before.rewards).all()


def test_a_group_that_holds_itself(bandit):
    with hdf5(bandit) as file:
        file["episode_0/infos/again"] = file["episode_0/infos"]
    assert "RecursionError" in error_of(load_transitions, "my/log-v0")


def test_what_is_not_read_may_be_gone(bandit):
    before = load_transitions("my/log-v0", infos=["item_id"]).as_batch()
    with hdf5(bandit) as file:
        del file["episode_0/infos/latent_reward"]
    after = load_transitions("my/log-v0", infos=["item_id"]).as_batch()
    assert (after.rewards == before.rewards).all()
    assert (after.infos["item_id"] == before.infos["item_id"]).all()


def test_an_info_column_that_the_metadata_tell_of(bandit):
    assert recorded_infos(open_dataset("my/log-v0")) == ["item_id", "propensity"]
    with hdf5(bandit) as file:
        del file["episode_0/infos/propensity"]
    for read in (read_item_log, read_compared_log):
        with pytest.raises(ValueError, match="'propensity'"):
            read("my/log-v0")


def test_episodes_of_different_columns(minari_root):
    def episode(**infos):
        return EpisodeBuffer(
            observations=np.zeros((3, 1)),
            actions=np.ones((2, 2)),
            rewards=np.ones(2),
            terminations=np.ones(2, bool),
            truncations=np.zeros(2, bool),
            infos=infos,
        )

    item, share = {"item_id": np.zeros(3, int)}, {"propensity": np.ones(3)}
    with pytest.warns(UserWarning, match="env_spec is None"):
        minari.create_dataset_from_buffers(
            dataset_id="my/log-v0",
            buffer=[episode(**item), episode(**item, **share)],
            observation_space=gym.spaces.Box(-1, 1, (1,)),
            action_space=gym.spaces.Box(-1, 1, (2,)),
            description="d",
            eval_env="RecSimZipf-v0",
            algorithm_name="n",
            author="a",
            author_email="e",
            code_permalink="c",
        )
    for read in (read_item_log, read_compared_log):
        assert "different info columns" in error_of(read, "my/log-v0")
    numbers = [
        float(episode.rewards.sum()) for episode in episodes_of(open_dataset("my/log-v0"), [1])
    ]
    assert numbers == [2.0]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (7, "import=7"),
        ({}, "import.file"),
        ({"reward_range": [1.0, 0.0]}, "import.reward_range"),
        ({"reward_range": ["a"]}, "import.reward_range"),
        ({"imported": "x"}, "import.imported='x'"),
        ({"propensities": 3}, "import.propensities=3"),
        ({"notes": [1]}, "import.notes.0=1"),
    ],
)
def test_counts_of_an_import_of_another_shape(shop, tmp_path, value, message):
    dataset = shop.load(shop.write(tmp_path / "log.csv", shop.GOOD))
    about = metadata_of(dataset)["import"]
    change(shop.folder, **{"import": about | value if isinstance(value, dict) and value else value})
    for read in (import_summary, source_of, held_out, load_and_hold_out):
        with pytest.raises(DamagedDatasetError, match="own/log-v0") as caught:
            read(dataset)
        assert message in str(caught.value)
    with pytest.raises(DamagedDatasetError, match="own/log-v0"):
        append_log("own/log-v0", tmp_path / "log.csv", progress=False)


def test_a_log_is_not_appended_to_what_lacks_a_column(shop, tmp_path):
    log = shop.write(tmp_path / "log.csv", shop.GOOD)
    shop.load(log)
    with h5py.File(shop.folder / "data" / "main_data.hdf5", "r+") as file:
        del file["episode_0/infos/item_id"]
    before = (shop.folder / "data" / "main_data.hdf5").read_bytes()
    with pytest.raises(ValueError, match="'item_id'"):
        append_log("own/log-v0", log, progress=False)
    assert (shop.folder / "data" / "main_data.hdf5").read_bytes() == before


def held_out(dataset):
    return held_out_part(None, dataset, 0.1)


@pytest.mark.parametrize("text", ["{", "[]", '{"numbers": 3}', "[" * 100_000, '{"coding": 7}'])
def test_columns_of_another_shape(shop, tmp_path, text):
    dataset = shop.load(shop.write(tmp_path / "log.csv", shop.GOOD))
    (shop.folder / "columns.json").write_text(text)
    with pytest.raises(ValueError, match=r"columns\.json"):
        imported_context(dataset)


def test_items_that_are_damaged(shop, tmp_path):
    dataset = shop.load(shop.write(tmp_path / "log.csv", shop.GOOD))
    path = shop.folder / "items.npz"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match=r"'items\.npz' is not a readable \.npz file"):
        resolve_items(dataset)


def test_propensities_outside_their_range(shop, tmp_path):
    dataset = shop.load(shop.write(tmp_path / "log.csv", shop.GOOD))
    with h5py.File(shop.folder / "data" / "main_data.hdf5", "r+") as file:
        file["episode_0/infos/propensity"][1] = 0.0
    with pytest.raises(DamagedDatasetError, match=r"1 propensities are outside \(0, 1\]"):
        load_and_hold_out(dataset, 0.4)
