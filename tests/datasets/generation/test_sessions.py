"""Logs of sessions: whole sessions as the world says, with exact propensities."""

from __future__ import annotations

import math
import re
import sys

import numpy as np
import pytest
import torch

from recsim_drpo import (
    SessionConfig,
    generate_dataset,
    load_transitions,
    make_sessions,
    simulate_transitions,
)
from recsim_drpo.datasets.generation import sessions as generation_of_sessions
from recsim_drpo.datasets.generation.sessions import SessionLog
from recsim_drpo.simulator.reference_policies import session_logging_agent

ENV = "RecSimZipfSession-v0"
SMALL = {"num_items": 300, "embedding_dim": 16, "num_topics": 5}
NUM_ROUNDS = 600


INFOS = ["item_id", "topic", "policy", "propensity", "latent_reward", "oracle_reward"]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """Sessions of at most five steps."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("MINARI_DATASETS_PATH", str(tmp_path_factory.mktemp("minari")))
        yield generate_dataset(
            "sessions/check-v0",
            env=ENV,
            env_kwargs={**SMALL, "max_steps": 5},
            num_rounds=NUM_ROUNDS,
            seed=3,
            card=False,
            progress=False,
        )


def simulate(**options):
    log = simulate_transitions(env=ENV, infos=INFOS, **{"env_kwargs": SMALL, **options})
    return log.as_batch()


def test_a_dataset_holds_whole_sessions(dataset):
    total = 0
    endings = set()
    for episode in dataset.iterate_episodes():
        size = len(episode.rewards)
        assert total < NUM_ROUNDS, "a session more than was needed"
        total += size
        assert episode.observations.shape == (size + 1, 15)
        assert not (episode.terminations[:-1] | episode.truncations[:-1]).any()
        assert episode.terminations[-1] != episode.truncations[-1]
        assert not episode.truncations[-1] or size == 5
        endings.add((size, bool(episode.terminations[-1])))
        assert sorted(episode.infos) == sorted(INFOS)
        for name in INFOS:
            column = episode.infos[name]
            assert column.shape == (size + 1,)
            assert column[0] == -1 if column.dtype.kind == "i" else np.isnan(column[0])
    assert total == dataset.total_steps >= NUM_ROUNDS
    assert {(5, False), (5, True), (1, True)} <= endings


def test_the_environment_tells_the_same_of_the_logged_actions(dataset):
    env = dataset.recover_environment().unwrapped
    log = SessionLog(session_logging_agent(env.sessions, "medium"), env.sessions)
    episodes = [
        *zip(range(60), dataset.iterate_episodes(range(60)), strict=True),
        *zip(range(1_000, 1_020), log.block(3, 1_000, NUM_ROUNDS)[:20], strict=True),
    ]
    first, _ = env.reset(seed=3)
    current = 0
    for number, episode in episodes:
        for _ in range(current, number):
            first, _ = env.reset()
        current = number
        np.testing.assert_array_equal(episode.observations[0], first)
        for t in range(len(episode.rewards)):
            observation, reward, terminated, truncated, info = env.step(episode.actions[t])
            np.testing.assert_allclose(observation, episode.observations[t + 1], atol=1e-6)
            assert reward == pytest.approx(episode.rewards[t], abs=1e-5)
            assert (terminated, truncated) == (episode.terminations[t], episode.truncations[t])
            for name, value in info.items():
                assert episode.infos[name][t + 1] == pytest.approx(value, abs=1e-5), name


def test_transitions_bootstrap_from_truncated_sessions(dataset):
    batch = load_transitions(dataset, infos=INFOS).as_batch()
    done = 0
    truncated = 0
    for episode in dataset.iterate_episodes():
        rows = slice(done, done + len(episode.rewards))
        np.testing.assert_array_equal(batch.observations[rows], episode.observations[:-1])
        np.testing.assert_array_equal(batch.next_observations[rows], episode.observations[1:])
        np.testing.assert_array_equal(batch.terminations[rows], episode.terminations)
        truncated += bool(episode.truncations[-1])
        done = rows.stop
    assert truncated > 20
    # Fifth steps: after four the exposures sum to 1 - 0.75⁴, after three to 1 - 0.75³.
    last = batch.observations[:, 10:].sum(1) > 1 - 0.75**3 + 1e-6
    assert 0 < int(batch.terminations[last].sum()) < int(last.sum())


def test_propensities_are_the_mixtures_at_the_interest_of_the_moment():
    weights = {"expert": 0.2, "popularity": 0.5, "random": 0.3}
    batch = simulate(scenario=weights, num_rounds=900)
    sessions = make_sessions(**SMALL)
    agent = session_logging_agent(sessions, weights)
    probabilities = agent.probabilities(sessions.tastes(batch.observations))
    np.testing.assert_allclose(probabilities.sum(1), 1.0, atol=1e-9)
    items = batch.infos["item_id"]
    expected = probabilities.gather(1, items[:, None])[:, 0]
    np.testing.assert_allclose(batch.infos["propensity"], expected, rtol=5e-5)
    # Not those of the interest that the session began with.
    frozen = agent.probabilities(sessions.world.tastes(batch.observations[:, :10]))
    assert (frozen.gather(1, items[:, None])[:, 0] / expected - 1).abs().max() > 0.1
    # E[1 / propensity] = N under the log, for items that are drawn from it.
    inverse = 1.0 / batch.infos["propensity"]
    error = float(inverse.std()) / math.sqrt(len(inverse))
    assert float(inverse.mean()) == pytest.approx(300, abs=4 * error)
    shares = np.bincount(batch.infos["policy"], minlength=3) / len(items)
    np.testing.assert_allclose(shares, [0.3, 0.5, 0.2], atol=0.06)


def test_a_longer_log_begins_with_the_shorter_one_whatever_the_threads(monkeypatch):
    kwargs = {**SMALL, "max_steps": 5}  # about 4,100 rounds of a thousand sessions
    short = simulate(num_rounds=5_000, env_kwargs=kwargs)
    with monkeypatch.context() as patched:
        patched.setattr(torch, "get_num_threads", lambda: 2)  # workers; a block has one thread
        long = simulate(num_rounds=9_000, env_kwargs=kwargs)
    torch.set_num_threads(1)
    size = len(short.rewards)
    assert 5_000 <= size < 5_005
    for name in ("observations", "actions", "rewards", "next_observations", "terminations"):
        assert torch.equal(getattr(long, name)[:size], getattr(short, name)), name


def test_environment_card_and_metadata(minari_root, monkeypatch, usual_reference_users):
    monkeypatch.setattr(generation_of_sessions, "_REFERENCE_USERS", usual_reference_users)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)  # a card without its pictures
    kwargs = {**SMALL, "max_steps": 4, "satiation": 0.9}
    dataset = generate_dataset(
        "card-v0", env=ENV, env_kwargs=kwargs, num_rounds=600, progress=False
    )
    env, evaluation_env = (dataset.recover_environment(eval_env=e) for e in (False, True))
    assert env.unwrapped.sessions.config == SessionConfig(max_steps=4, satiation=0.9)
    assert (env.unwrapped.split, evaluation_env.unwrapped.split) == ("train", "test")
    first = dataset[0].observations[0]
    np.testing.assert_array_equal(env.reset(seed=0)[0], first)
    metadata = dataset.storage.metadata
    assert metadata["ref_min_score"] < metadata["ref_max_score"]
    assert metadata["num_episodes_average_score"] == 500
    assert "Bootstrap from the next" in metadata["packing"]["rule"]
    card = (minari_root / "card-v0" / "README.md").read_text()
    lengths = np.array([len(episode.rewards) for episode in dataset.iterate_episodes()])
    assert f"{len(lengths):,} sessions of {lengths.mean():.2f} rounds on average" in card
    for share in (0.1, 0.5, 0.9, 1.0):
        length = np.quantile(lengths, share, method="inverted_cdf")
        assert re.search(rf"\| {share:.0%} +\| +{length} \|", card), share
    assert "mean observed return of a session" in card
    with pytest.raises(ValueError, match="Unknown environment 'RecSimZip-v0'"):
        generate_dataset("no-v0", env="RecSimZip-v0")
