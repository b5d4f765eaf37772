"""Logs and helpers for agents from other libraries, each skipped where its library is absent."""

from __future__ import annotations

import pytest
import torch

from recsim_drpo import Batch, generate_dataset
from recsim_drpo.runs.checkpoints import flatten


@pytest.fixture(scope="session")
def generated(tmp_path_factory, small_kwargs):
    """The folder that Minari keeps the logs in, and the logs by kind."""
    root = str(tmp_path_factory.mktemp("minari"))
    sessions = {**small_kwargs, "max_steps": 4}
    how = {"num_rounds": 200, "card": False, "progress": False}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MINARI_DATASETS_PATH", root)
        logs = {
            "rounds": generate_dataset("adapters/rounds-v0", env_kwargs=small_kwargs, **how),
            "sessions": generate_dataset(
                "adapters/sessions-v0", env="RecSimZipfSession-v0", env_kwargs=sessions, **how
            ),
        }
    return root, logs


@pytest.fixture
def datasets(generated, monkeypatch):
    """A log of rounds, packed, and one of sessions, some of which are cut off after 4 steps."""
    root, logs = generated
    monkeypatch.setenv("MINARI_DATASETS_PATH", root)
    return logs


@pytest.fixture
def d3rlpy():
    return pytest.importorskip("d3rlpy")


@pytest.fixture
def sb3(tmp_path, monkeypatch):
    """Stable-Baselines3; what it logs by itself lies in the test's folder."""
    monkeypatch.setenv("SB3_LOGDIR", str(tmp_path / "sb3"))
    return pytest.importorskip("stable_baselines3")


@pytest.fixture
def torchrl():
    return pytest.importorskip("torchrl")


@pytest.fixture
def make_batch():
    """Makes a batch of transitions from 3 to 2 dimensions."""
    return _make_batch


def _make_batch(size=6, seed=0, terminations=True):
    generator = torch.Generator().manual_seed(seed)
    observations, following = torch.randn(2, size, 3, generator=generator)
    actions = 2.0 * torch.rand(size, 2, generator=generator) - 1.0
    rewards = torch.rand(size, generator=generator)
    return Batch(observations, actions, rewards, following, torch.full((size,), terminations))


@pytest.fixture
def assert_same_state():
    """Fails where the states of two agents differ in a bit."""
    return _assert_same_state


def _assert_same_state(one, two):
    tensors, described = flatten(one.state_dict())
    others, others_described = flatten(two.state_dict())
    assert described == others_described
    assert all(torch.equal(tensors[name], others[name]) for name in tensors)
