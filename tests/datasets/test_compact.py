"""Logs whose actions are held as ids of one table of items."""

from __future__ import annotations

import dataclasses

import minari
import numpy as np
import pytest
import torch

from recsim_drpo import load_transitions
from recsim_drpo.agents.fleet import Fleet
from recsim_drpo.datasets.load import transitions_of_episodes
from recsim_drpo.datasets.soundness import open_dataset
from recsim_drpo.training.config import TrainingConfig
from recsim_drpo.training.loop import train_fleet

CPU = torch.device("cpu")
TABLE = np.arange(8, dtype=np.float32).reshape(4, 2) / 8


def assert_same_bits(one, other):
    for name in ("observations", "actions", "rewards", "next_observations", "terminations"):
        ours, theirs = getattr(one, name), getattr(other, name)
        assert ours.dtype == theirs.dtype
        assert ours.numpy().tobytes() == theirs.numpy().tobytes()


@pytest.mark.parametrize("env", ["RecSimZipf-v0", "RecSimZipfSession-v0"])
def test_generated_logs_hold_ids_and_give_the_same_batches(generate, small_kwargs, env):
    dataset = generate("log-v0", small_kwargs, env=env, num_rounds=900)
    log, dense = (load_transitions(dataset, compact=given) for given in (True, False))
    assert log.compact
    assert not dense.compact
    assert_same_bits(log.as_batch(), dense.as_batch())
    indices = torch.randint(len(log), (3, 64), generator=torch.Generator().manual_seed(0))
    assert_same_bits(log.take(indices), dense.take(indices))
    assert torch.equal(log.actions, dense.actions)


def test_fleets_learn_the_same_to_the_bit(generate, small_kwargs):
    dataset = generate("log-v0", small_kwargs)
    learnt = []
    for compact in (True, False):
        log = load_transitions(dataset, compact=compact)
        assert log.compact == compact
        fleet = Fleet(
            "drpo", seeds=[0, 1], observation_dim=log.observation_dim, action_dim=log.action_dim
        )
        histories = train_fleet(fleet, log, TrainingConfig(20, 32, 10), progress=False)
        learnt.append((histories, fleet.learner(1).state_dict()))
    assert learnt[0][0] == learnt[1][0]
    for name, tensor in learnt[0][1].items():
        assert torch.equal(tensor, learnt[1][1][name]), name


def test_imported_logs_hold_ids_of_their_own_items(shop, tmp_path):
    rows = [f"{10 + k % 4},{k % 2},0.5,{k},{'ab'[k % 2]},{k:08}" for k in range(40)]
    dataset = shop.load(shop.write(tmp_path / "log.csv", rows))
    log, dense = (load_transitions(dataset, compact=given) for given in (True, False))
    assert log.compact
    assert_same_bits(log.as_batch(), dense.as_batch())


def test_logs_of_less_than_the_catalogue_hold_actions(generate, small_kwargs):
    """300 items of 16 numbers and an id a round, against 16 numbers a round: from 321 rounds on."""
    for rounds, compact in ((320, False), (321, True)):
        dataset = generate(f"log{rounds}-v0", small_kwargs, num_rounds=rounds)
        assert load_transitions(dataset).compact == compact


def test_logs_of_another_catalogue_hold_actions(generate, small_kwargs, minari_root):
    dataset = generate("log-v0", small_kwargs)
    dense = load_transitions(dataset, compact=False).as_batch()
    dataset.storage.update_metadata({"catalogue_checksum": "0" * 64})
    other = load_transitions(open_dataset("log-v0"))
    assert not other.compact
    assert_same_bits(other.as_batch(), dense)


def test_logs_whose_catalogue_is_gone_hold_actions(generate, tmp_path):
    vectors = np.random.default_rng(0).normal(size=(50, 8)).astype(np.float32)
    path = tmp_path / "items.npy"
    np.save(path, vectors)
    kwargs = {"embeddings": str(path), "normalize": True, "num_topics": 3}
    generate("log-v0", kwargs)
    before = load_transitions("log-v0")
    path.unlink()
    after = load_transitions("log-v0")
    assert (before.compact, after.compact) == (True, False)
    assert_same_bits(before.as_batch(), after.as_batch())


def episodes(generate, small_kwargs):
    dataset = generate("log-v0", small_kwargs)
    (whole,) = dataset.iterate_episodes()
    return [
        minari.data_collector.EpisodeBuffer(
            observations=whole.observations[start : start + 101],
            actions=TABLE[ids],
            rewards=whole.rewards[start : start + 100],
            terminations=whole.terminations[start : start + 100],
            truncations=whole.truncations[start : start + 100],
            infos={"item_id": np.concatenate([[-1], ids])},
        )
        for start, ids in ((0, np.arange(100) % 4), (100, np.arange(100) % 3))
    ]


def read(buffers, table=TABLE):
    widths = {"observation": buffers[0].observations.shape[1], "action": 2}
    return transitions_of_episodes(buffers, 200, 2, widths, (), CPU, "log", table)


def minus_zero(episode):
    actions = episode.actions.copy()
    actions[0, 0] = -0.0
    return {"actions": actions}


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(minus_zero, id="another bit"),
        pytest.param(lambda episode: {"infos": {}}, id="no ids"),
        pytest.param(
            lambda episode: {"infos": {"item_id": episode.infos["item_id"] - 2}}, id="below"
        ),
        pytest.param(
            lambda episode: {"infos": {"item_id": episode.infos["item_id"] + 2}}, id="above"
        ),
        pytest.param(
            lambda episode: {"infos": {"item_id": episode.infos["item_id"] / 1.0}}, id="reals"
        ),
        pytest.param(
            lambda episode: {"infos": {"item_id": episode.infos["item_id"][1:]}}, id="too few"
        ),
    ],
)
@pytest.mark.parametrize("place", [0, 1])
def test_actions_that_are_no_rows_of_the_table_are_held(generate, small_kwargs, change, place):
    """From the first episode on that is of no use; those before it are looked up again."""
    buffers = episodes(generate, small_kwargs)
    assert read(buffers).compact
    buffers[place] = dataclasses.replace(buffers[place], **change(buffers[place]))
    log = read(buffers)
    assert not log.compact
    expected = np.concatenate([buffer.actions for buffer in buffers])
    assert log.actions.numpy().tobytes() == expected.tobytes()


def test_actions_that_are_not_finite_are_counted(generate, small_kwargs):
    buffers = episodes(generate, small_kwargs)
    actions = buffers[1].actions.copy()
    actions[3] = np.nan
    buffers[1] = dataclasses.replace(buffers[1], actions=actions)
    with pytest.raises(ValueError, match="has 2 actions that are NaN or infinite, of 400"):
        read(buffers)
