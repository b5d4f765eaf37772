from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest

from recsim_drpo import evaluate, make_agent


class Fixed:
    """Shows everyone the same item, as NumPy arrays: a policy from elsewhere."""

    def __init__(self, world, item, scale=1.0):
        self.action = scale * world.catalogue.embeddings[item]

    def act(self, observations):
        return np.repeat(self.action[None], len(observations), axis=0)


def test_an_environment_may_be_given_by_id_instance_or_world(small_world, small_kwargs):
    policy = Fixed(small_world, 5)
    expected = evaluate(policy, small_world, num_users=20)
    by_id = evaluate(policy, "RecSimZipf-v0", num_users=20, env_kwargs=small_kwargs)
    env = gym.make("RecSimZipf-v0", **small_kwargs)
    assert by_id == expected == evaluate(policy, env, num_users=20)
    with pytest.raises(ValueError, match="made already"):
        evaluate(policy, env, env_kwargs=small_kwargs)
    with pytest.raises(ValueError, match="no simulated world"):
        evaluate(policy, gym.make("CartPole-v1"))
    limited = gym.wrappers.TimeLimit(gym.wrappers.RecordEpisodeStatistics(env), 5)
    assert evaluate(policy, limited, num_users=20) == expected
    with pytest.raises(
        ValueError, match=r"ClipAction changes what a policy sees or does.*unwrapped"
    ):
        evaluate(policy, gym.wrappers.ClipAction(env))


def test_errors(small_world):
    agent = make_agent("bc", observation_dim=10, action_dim=8)
    with pytest.raises(ValueError, match=r"takes \(20, 16\)"):
        evaluate(agent, small_world, num_users=20)
    with pytest.raises(ValueError, match=r"expected \(B, 9\)"):
        evaluate(make_agent("bc", observation_dim=9, action_dim=16), small_world, num_users=20)
    with pytest.raises(ValueError, match="num_users=0"):
        evaluate(agent, small_world, num_users=0)
    with pytest.raises(ValueError, match="Did you mean 'test'"):
        evaluate(agent, small_world, split="tests")
    with pytest.raises(ValueError, match="seed=-2"):
        evaluate(agent, small_world, seed=-2)


def test_an_object_that_does_not_act(small_world):
    with pytest.raises(TypeError, match="object has no method 'act'"):
        evaluate(object(), small_world, num_users=5)
