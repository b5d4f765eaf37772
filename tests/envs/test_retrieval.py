"""Environments whose items are found by faiss: alone, many, in sessions, by JSON, in processes."""

import subprocess
import sys

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.envs.registration import EnvSpec

from recsim_drpo.envs.registration import ENV_ID, SESSION_ENV_ID
from recsim_drpo.envs.spec import WorldSpec

WHOLE = "faiss:IVF8,Flat?nprobe=8"


def steps(env, count=20):
    """Items that a fixed sequence of actions shows."""
    generator = np.random.default_rng(0)
    env.reset(seed=0)
    items = []
    for _ in range(count):
        _, _, terminated, truncated, info = env.step(
            generator.standard_normal(16).astype(np.float32)
        )
        items.append(info["item_id"])
        if terminated or truncated:
            env.reset()
    return items


@pytest.mark.parametrize("env_id", [ENV_ID, SESSION_ENV_ID])
def test_all_lists_show_what_exact_search_shows(indexes, small_kwargs, env_id):
    exact = gym.make(env_id, **small_kwargs)
    by_faiss = gym.make(env_id, decoder=WHOLE, **small_kwargs)
    assert steps(by_faiss) == steps(exact)
    assert by_faiss.unwrapped.world.decoder.name == WHOLE


@pytest.mark.parametrize("env_id", [ENV_ID, SESSION_ENV_ID])
def test_many_at_once_show_the_same(indexes, small_kwargs, env_id):
    actions = np.random.default_rng(1).standard_normal((7, 16)).astype(np.float32)
    shown = []
    for decoder in ("exact", WHOLE):
        envs = gym.make_vec(env_id, 7, "vector_entry_point", decoder=decoder, **small_kwargs)
        envs.reset(seed=0)
        shown.append(envs.step(actions)[4]["item_id"].tolist())
    assert shown[0] == shown[1]


@pytest.mark.parametrize("env_id", [ENV_ID, SESSION_ENV_ID])
def test_a_spec_survives_json(indexes, small_kwargs, env_id):
    spec = gym.make(env_id, decoder=WHOLE, **small_kwargs).spec
    again = gym.make(EnvSpec.from_json(spec.to_json()))
    assert again.unwrapped.world.decoder.name == WHOLE
    ours = WorldSpec.of(spec)
    assert ours.decoder == WHOLE
    assert ours.decoded_by("exact").world() is ours.decoded_by("exact").world() or ours.has_sessions
    assert ours.decoded_by(None) is ours
    assert WorldSpec.of(gym.make(env_id, **small_kwargs).spec).decoder == "exact"


@pytest.mark.parametrize("env_id", [ENV_ID, SESSION_ENV_ID])
def test_what_does_not_fit_is_refused_when_it_is_made(indexes, small_kwargs, env_id):
    with pytest.raises(ValueError, match=r"nprobe of decoder .*=9 is not an integer from 1 to 8"):
        gym.make(env_id, decoder="faiss:IVF8,Flat?nprobe=9", **small_kwargs)
    assert not indexes.exists()


def test_forked_environments_do_not_wait_for_ever(indexes):
    """In a process of its own, as of tests/envs/test_registration.py, with faiss in the parent."""
    code = """
import gymnasium as gym, numpy as np, recsim_drpo
kwargs = dict(num_items=2000, decoder="faiss:IVF16,Flat?nprobe=16")
env = gym.make("RecSimZipf-v0", **kwargs)
many = env.unwrapped.world.decode(env.unwrapped.world.embeddings)  # its threads are at work
env.reset(seed=0)
envs = gym.make_vec("RecSimZipf-v0", 2, "async", vector_kwargs={"context": "fork"}, **kwargs)
envs.reset(seed=0)
print(envs.step(np.ones((2, 128), np.float32))[4]["item_id"].shape)
envs.close()
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, timeout=120
    )
    assert done.stdout.strip() == "(2,)", done.stderr


def test_items_of_equal_vectors(indexes):
    vectors = torch.eye(8)[torch.arange(24) // 3].numpy()
    env = gym.make(ENV_ID, embeddings=vectors, num_topics=2, decoder="faiss:IVF2,Flat?nprobe=2")
    env.reset(seed=0)
    assert env.step(vectors[5])[4]["item_id"] == 3
