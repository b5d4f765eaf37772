"""Environments by id: in Gymnasium's own vector environments, and as specs in JSON."""

from __future__ import annotations

import json
import subprocess
import sys

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import EnvSpec

import recsim_drpo  # noqa: F401 - registers the environments


def test_gymnasiums_own_vector_environments():
    """In a process of its own: a forked child that waits for its parent's threads never ends."""
    script = """
import gymnasium as gym, numpy as np, torch, recsim_drpo
torch.set_num_threads(2)
gym.make("RecSimZipf-v0").reset(seed=0)  # the parent's threads are at work before the fork
native = gym.make_vec("RecSimZipf-v0", num_envs=2, vectorization_mode="vector_entry_point")
contexts, _ = native.reset(seed=5)
rewards = native.step(np.ones((2, 128), np.float32))[1]
for mode in ("sync", "async"):
    envs = gym.make_vec("RecSimZipf-v0", num_envs=2, vectorization_mode=mode)
    assert (envs.reset(seed=5)[0] == contexts).all(), mode
    assert np.allclose(envs.step(np.ones((2, 128), np.float32))[1], rewards, atol=1e-6), mode
    envs.close()
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120)


def test_spec_goes_through_json_with_its_kwargs(small_kwargs, tmp_path):
    path = tmp_path / "vectors.npy"
    vectors = np.random.default_rng(0).normal(size=(40, 8)).astype(np.float32)
    np.save(path, vectors)
    for kwargs in (
        {**small_kwargs, "delta": 0.3, "catalogue_seed": 5},
        {"embeddings": str(path), "normalize": True, "num_topics": 4},
    ):
        env = gym.make("RecSimZipf-v0", **kwargs)
        text = env.spec.to_json()
        json.loads(text)
        again = gym.make(EnvSpec.from_json(text))
        assert again.spec == env.spec
        assert again.unwrapped.world.config == env.unwrapped.world.config
        np.testing.assert_array_equal(again.reset(seed=1)[0], env.reset(seed=1)[0])
