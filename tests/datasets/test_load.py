from __future__ import annotations

import warnings

import gymnasium as gym
import minari
import numpy as np
import pytest
import torch
from minari.data_collector import EpisodeBuffer

from recsim_drpo import (
    load_transitions,
)


def foreign_dataset(minari_root, episodes, observation_space=None, action_space=None, **extra):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return minari.create_dataset_from_buffers(
            dataset_id="foreign-v0",
            buffer=episodes,
            observation_space=observation_space or gym.spaces.Box(-9, 9, (2, 2), np.float64),
            action_space=action_space or gym.spaces.Box(-9, 9, (3,), np.float64),
            **extra,
        )


def episode_of(length, offset=0.0, infos=None, **changes):
    observations = (np.arange((length + 1) * 4.0) + offset).reshape(length + 1, 2, 2) / 100
    fields = {
        "observations": observations,
        "actions": np.arange(length * 3.0).reshape(length, 3) / 100 + offset,
        "rewards": np.arange(length) + offset,
        "terminations": np.arange(length) == length - 1,
        "truncations": np.zeros(length, bool),
        "infos": infos or {},
        **changes,
    }
    return EpisodeBuffer(**fields)


def test_any_minari_dataset_of_boxes_is_read(minari_root):
    """Next observations stay within their episode, and info row t + 1 belongs to action t."""
    infos = [{"k": np.arange(n + 1) * 10 + e} for e, n in enumerate((3, 2))]
    dataset = foreign_dataset(
        minari_root, [episode_of(3, infos=infos[0]), episode_of(2, 100.0, infos=infos[1])]
    )
    batch = load_transitions(dataset, infos=["k"]).as_batch()
    for e, (start, length, offset) in enumerate([(0, 3, 0.0), (3, 2, 100.0)]):
        rows = (np.arange((length + 1) * 4.0) + offset).reshape(length + 1, 4) / 100
        here = slice(start, start + length)
        np.testing.assert_allclose(batch.observations[here], rows[:-1], rtol=1e-6)
        np.testing.assert_allclose(batch.next_observations[here], rows[1:], rtol=1e-6)
        assert batch.terminations[here].tolist() == [False] * (length - 1) + [True]
        assert batch.infos["k"][here].tolist() == [10 * (t + 1) + e for t in range(length)]
    assert batch.rewards.tolist() == [0, 1, 2, 100, 101]
    assert batch.observations.dtype == batch.actions.dtype == batch.rewards.dtype == torch.float32
    second = minari.load_dataset("foreign-v0").filter_episodes(lambda e: e.id == 1)
    assert load_transitions(second).rewards.tolist() == [100, 101]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"rewards": np.array([0.0, np.nan, np.inf])},
            "has 2 rewards that are NaN or infinite, of 3",
        ),
        ({"actions": np.full((3, 3), np.nan)}, "has 9 actions"),
        ({"observations": np.full((4, 2, 2), np.inf)}, "has 16 observations"),
        ({"observations": np.zeros((3, 2, 2))}, "3 rewards and 3 observations"),
    ],
)
def test_damaged_datasets_are_refused_with_counts(minari_root, changes, message):
    dataset = foreign_dataset(minari_root, [episode_of(3, **changes)])
    with pytest.raises(ValueError, match=message):
        load_transitions(dataset)


def test_datasets_that_do_not_fit_are_refused(minari_root):
    episode = episode_of(2, actions=np.array([0, 1]))
    dataset = foreign_dataset(minari_root, [episode], action_space=gym.spaces.Discrete(2))
    with pytest.raises(ValueError, match="action space is Discrete"):
        load_transitions(dataset)
    minari.delete_dataset("foreign-v0")
    dataset = foreign_dataset(minari_root, [episode_of(2, infos={"score": np.zeros(3)})])
    with pytest.raises(ValueError, match="Did you mean 'score'"):
        load_transitions(dataset, infos=["scores"])
    with pytest.raises(FileNotFoundError, match="missing-v0"):
        load_transitions("missing-v0")
    with pytest.raises(ValueError, match="device='cuda:33'"):
        load_transitions(dataset, device="cuda:33")


def test_sampling_is_seeded_uniform_and_aligned(generate, small_kwargs):
    transitions = load_transitions(generate("s-v0", small_kwargs, num_rounds=50), infos=["item_id"])
    full = transitions.as_batch()

    def draw(seed, size=64):
        return transitions.sample(size, torch.Generator().manual_seed(seed))

    assert torch.equal(draw(0).rewards, draw(0).rewards)
    assert not torch.equal(draw(0).rewards, draw(1).rewards)
    big = draw(2, 50_000)
    keys = {tuple(row.tolist()): k for k, row in enumerate(full.observations)}
    found = torch.tensor([keys[tuple(row.tolist())] for row in big.observations])
    for name in ("actions", "rewards", "next_observations"):
        assert torch.equal(getattr(big, name), getattr(full, name)[found])
    assert torch.equal(big.infos["item_id"], full.infos["item_id"][found])
    counts = torch.bincount(found, minlength=50).double()
    assert float(((counts - 1000) ** 2 / 1000).sum()) < 95  # χ² of 49 degrees: p < 1e-4
    with pytest.raises(ValueError, match="batch_size=0"):
        draw(0, 0)
