"""Logs that are read in shuffled chunks as they are learnt from."""

from __future__ import annotations

import dataclasses
import shutil
import threading

import h5py
import numpy as np
import pytest
import torch

from recsim_drpo import generate_dataset, load_transitions, make_agent
from recsim_drpo.agents.fleet import Fleet
from recsim_drpo.cli.training_log import learnt_from
from recsim_drpo.cli.training_plan import Plan
from recsim_drpo.datasets.shards import shard_ids
from recsim_drpo.datasets.soundness import open_dataset
from recsim_drpo.datasets.staging import minari_root as minari_datasets
from recsim_drpo.datasets.stream import StreamedLog
from recsim_drpo.runs.unfinished import fingerprint
from recsim_drpo.training.config import TrainingConfig
from recsim_drpo.training.loop import train, train_fleet
from recsim_drpo.training.order import draw_indices


@pytest.fixture(scope="module")
def generated(tmp_path_factory, small_kwargs):
    """A folder with a log of about 1,000 rounds in episodes of different lengths."""
    root = tmp_path_factory.mktemp("minari")
    env = "RecSimZipfSession-v0"
    options = {"num_rounds": 1_000, "card": False, "progress": False}
    with minari_datasets(root):
        generate_dataset("log-v0", env=env, env_kwargs=small_kwargs, **options)
    return root


@pytest.fixture
def sessions(generated, minari_root):
    """A copy of it, which a test may change."""
    shutil.copytree(generated, minari_root)
    return open_dataset("log-v0")


def taken(stream, batch_size, first_step, count):
    """Rewards of the first chunks, and the update at which each ends."""
    chunks = stream.chunks(batch_size, first_step)
    found = [next(chunks) for _ in range(count)]
    chunks.close()
    return [(chunk.transitions.rewards.tolist(), chunk.stop) for chunk in found]


def test_every_epoch_has_every_transition_once_in_another_order(sessions):
    log = load_transitions(sessions)
    stream = StreamedLog(sessions, radius=300)
    assert (len(stream), stream.observation_dim) == (len(log), log.observation_dim)
    num_chunks = -(-len(log) // 300)
    longest = max(len(episode.rewards) for episode in sessions.iterate_episodes())
    chunks = taken(stream, 64, 0, 2 * num_chunks)
    epochs = chunks[:num_chunks], chunks[num_chunks:]
    for epoch in epochs:
        sizes = [len(rewards) for rewards, _ in epoch]
        assert sum(sizes) == len(log)
        assert max(sizes) <= 300 + longest
        everything = np.sort(np.concatenate([rewards for rewards, _ in epoch]))
        np.testing.assert_array_equal(everything, np.sort(log.rewards.numpy()))
    assert epochs[0][0][0] != epochs[1][0][0]
    assert epochs[0][0][0] != log.rewards[: len(epochs[0][0][0])].tolist()
    steps = np.diff([0, *(stop for _, stop in chunks)])
    assert steps.tolist() == [-(-len(rewards) // 64) for rewards, _ in chunks]


def test_chunks_are_those_of_the_step_wherever_one_begins(sessions):
    stream = StreamedLog(sessions, radius=300)
    whole = taken(stream, 64, 0, 7)
    for first_step in (0, 1, whole[0][1] - 1, whole[0][1], whole[3][1] + 1):
        passed = sum(stop <= first_step for _, stop in whole)
        assert taken(stream, 64, first_step, 2) == whole[passed : passed + 2]


def test_chunks_hold_whole_episodes_to_the_bit(sessions):
    log = load_transitions(sessions, infos=["item_id"])
    stream = StreamedLog(sessions, radius=300, infos=["item_id"])
    rows = {tuple(row.tolist()): k for k, row in enumerate(log.observations())}
    chunk = next(stream.chunks(64, 0)).transitions
    assert chunk.compact
    places = torch.tensor([rows[tuple(row.tolist())] for row in chunk.observations()])
    expected, found = log.take(places), chunk.as_batch()
    for ours, theirs in zip(found[:-1], expected[:-1], strict=True):
        assert torch.equal(ours, theirs)
    assert torch.equal(found.infos["item_id"], expected.infos["item_id"])
    assert torch.equal(chunk.episode_ends, log.episode_ends[places])
    dense = next(StreamedLog(sessions, radius=300, compact=False).chunks(64, 0)).transitions
    assert not dense.compact
    assert torch.equal(dense.actions, chunk.actions)


def test_learners_draw_from_the_chunk_of_their_step(sessions):
    """What an agent is given, against indices drawn into the chunks themselves."""

    class Noting:
        def __init__(self):
            self.rewards = []

        def update(self, batch):
            self.rewards.append(batch.rewards.clone())
            return {}

        def act(self, observations):
            return observations

        def state_dict(self):
            return {}

        def load_state_dict(self, state):
            pass

    stream, agent = StreamedLog(sessions, radius=300), Noting()
    train(agent, stream, TrainingConfig(40, 32, 7), seed=3, progress=False)
    chunks = taken(stream, 32, 0, 6)
    for step, rewards in enumerate(agent.rewards):
        here = torch.tensor(next(values for values, stop in chunks if step < stop))
        sizes = torch.tensor([len(here)])
        indices = draw_indices(torch.tensor([3]), sizes, step, 1, 32)[0, 0]
        assert torch.equal(rewards, here[indices])


@pytest.mark.parametrize("agent", ["bc", "drpo", "iql"])
def test_a_log_of_one_chunk_is_learnt_from_as_in_memory(sessions, agent):
    learnt = []
    for log in (load_transitions(sessions), StreamedLog(sessions, radius=10_000)):
        fleet = Fleet(
            agent, seeds=[0, 1], observation_dim=log.observation_dim, action_dim=log.action_dim
        )
        histories = train_fleet(fleet, log, TrainingConfig(12, 32, 5), progress=False)
        learnt.append((histories, fleet.learner(1).state_dict()))
    assert learnt[0][0] == learnt[1][0]
    for name, tensor in learnt[0][1].items():
        assert torch.equal(tensor, learnt[1][1][name]), name


def test_a_learner_learns_alone_what_it_learns_in_a_fleet(sessions):
    stream = StreamedLog(sessions, radius=300)
    dims = {"observation_dim": stream.observation_dim, "action_dim": stream.action_dim}
    config = TrainingConfig(60, 32, 20)
    fleet = Fleet("bc", seeds=[0, 1], **dims)
    histories = train_fleet(fleet, stream, config, progress=False)
    agent = make_agent("bc", seed=1, **dims)
    alone = train(agent, stream, config, seed=1, progress=False)
    for ours, theirs in zip(alone, histories[1], strict=True):
        assert ours == pytest.approx(theirs, rel=1e-4)
    with pytest.raises(ValueError, match="from one log that is read as it goes"):
        train_fleet(fleet, [stream, load_transitions("log-v0")], config, progress=False)


def test_shards_are_streamed_as_the_log(generate, small_kwargs):
    options = {"num_rounds": 31_000, "seed": 3}
    whole = StreamedLog(generate("log-v0", small_kwargs, **options), radius=15_000)
    names = shard_ids("log-v0", 3)
    for number, name in enumerate(names, start=1):
        generate(name, small_kwargs, shard=(number, 3), **options)
    together = StreamedLog(names, radius=15_000)
    assert taken(together, 500, 0, 6) == taken(whole, 500, 0, 6)
    assert fingerprint(together) == fingerprint(whole)
    other = generate("other-v0", small_kwargs, **{**options, "seed": 4})
    assert fingerprint(StreamedLog(other, radius=15_000)) != fingerprint(whole)


def test_a_dataset_that_changes_under_it_is_named(sessions, minari_root):
    chunks = StreamedLog(sessions, radius=100).chunks(32, 0)
    next(chunks)
    (minari_root / "log-v0/data/main_data.hdf5").touch()
    with pytest.raises(ValueError, match="'log-v0' has changed while it was learnt from"):
        [next(chunks) for _ in range(5)]


def test_a_dataset_that_is_removed_or_replaced_under_it_is_named(sessions, minari_root):
    chunks = StreamedLog(sessions, radius=100).chunks(32, 0)
    next(chunks)
    shutil.rmtree(minari_root / "log-v0")
    with pytest.raises(ValueError, match="'log-v0' has changed while it was learnt from"):
        [next(chunks) for _ in range(5)]


def test_shards_of_different_worlds_are_no_stream(generate, small_kwargs):
    generate("a-v0", small_kwargs)
    generate("b-v0", {**small_kwargs, "delta": 0.5})
    with pytest.raises(ValueError, match="'a-v0' and 'b-v0' are of different worlds: delta"):
        StreamedLog(["a-v0", "b-v0"], radius=100)


def test_what_is_wrong_with_an_episode_stops_the_training(sessions, minari_root):
    with h5py.File(minari_root / "log-v0/data/main_data.hdf5", "r+") as file:
        for episode in file.values():
            episode["rewards"][0] = np.nan
    stream = StreamedLog("log-v0", radius=200)
    dims = {"observation_dim": stream.observation_dim, "action_dim": stream.action_dim}
    with pytest.raises(ValueError, match="rewards that are NaN or infinite"):
        train(make_agent("bc", **dims), stream, TrainingConfig(100, 32, 50), progress=False)
    assert not [one for one in threading.enumerate() if one.name.startswith("stream")]


def test_of_imported_logs_no_rounds_are_held_out(shop, tmp_path):
    rows = [f"{10 + k % 4},{k % 2},0.5,{k},{'ab'[k % 2]},{k:08}" for k in range(40)]
    dataset = shop.load(shop.write(tmp_path / "log.csv", rows))
    plan = Plan(dataset.id, "bc", stream=True)
    with pytest.raises(ValueError, match="--held-out 0"):
        learnt_from(plan, [dataset], torch.device("cpu"))
    whole = dataclasses.replace(plan, held_out=0.0, shuffle_radius=7)
    log, evaluator, source = learnt_from(whole, [dataset], torch.device("cpu"))
    assert (len(log), evaluator) == (40, None)
    assert (source["held_out"], source["shuffle_radius"]) == (0.0, 7)
    with pytest.raises(ValueError, match="--decoder finds the items of the evaluations"):
        learnt_from(dataclasses.replace(whole, decoder="exact"), [dataset], torch.device("cpu"))


def test_radii_that_are_none_are_refused(sessions):
    with pytest.raises(ValueError, match="shuffle_radius=0 is not an integer at least 1"):
        StreamedLog(sessions, radius=0)
