"""The environments of sessions, scalar and vectorised."""

from __future__ import annotations

import math
import warnings

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode

import recsim_drpo  # noqa: F401 - registers the environments

ENV = "RecSimZipfSession-v0"
SMALL = {"num_items": 300, "embedding_dim": 16, "num_topics": 5}


def make_vec(num_envs, mode, **kwargs):
    vector_kwargs = {"autoreset_mode": AutoresetMode.SAME_STEP} if mode == "sync" else {}
    return gym.make_vec(
        ENV,
        num_envs=num_envs,
        vectorization_mode=mode,
        vector_kwargs=vector_kwargs,
        **SMALL,
        **kwargs,
    )


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"exposure_rate": 1.5}, "exposure_rate=1.5 is not a number in"),
        ({"satiation": -0.1}, "satiation"),
        ({"leave_base": math.nan}, "leave_base"),
        ({"leave_boredom": 2}, "leave_boredom"),
        ({"leave_disappointment": "x"}, "leave_disappointment"),
        ({"exposure_pull": -1}, "exposure_pull"),
        ({"max_steps": 0}, "max_steps"),
        ({"max_steps": 65_537}, "max_steps"),
        ({"saciation": 0.5}, "Did you mean 'satiation'"),
        ({"num_item": 5}, "Did you mean 'num_items'"),
    ],
)
def test_bad_parameters_are_named(kwargs, message):
    with pytest.raises(ValueError, match=message):
        gym.make(ENV, **kwargs)


def test_gymnasium_checker_passes_without_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(gym.make(ENV, render_mode="rgb_array", **SMALL).unwrapped)


def test_default_spaces_and_spec():
    env = gym.make(ENV)
    low = np.concatenate([np.full(10, -1), np.zeros(20)]).astype(np.float32)
    assert env.observation_space == gym.spaces.Box(low, np.ones(30, np.float32), dtype=np.float32)
    assert env.action_space == gym.spaces.Box(-1, 1, (128,), np.float32)
    assert env.spec.entry_point == "recsim_drpo.session_envs:RecSimZipfSessionEnv"
    assert env.spec.vector_entry_point == "recsim_drpo.session_envs:RecSimZipfSessionVectorEnv"


def test_a_session_ends_by_leaving_or_is_cut_off():
    env = gym.make(ENV, max_steps=4, **SMALL).unwrapped
    action = np.ones(16, np.float32)
    with pytest.raises(gym.error.ResetNeeded):
        env.step(action)
    endings = set()
    for seed in range(60):
        first, info = env.reset(seed=seed)
        assert np.isnan([info.pop(key) for key in ("latent_reward", "oracle_reward")]).all()
        assert info == {"item_id": -1, "topic": -1}
        assert not first[10:].any()
        rewards = []
        for _ in range(4):
            observation, reward, terminated, truncated, info = env.step(action)
            assert isinstance(reward, float)
            rewards.append(reward)
            assert 0.0 <= info["latent_reward"] <= info["oracle_reward"] + 1e-6
            assert info["topic"] == env.world.catalogue.topics[info["item_id"]]
            assert observation[10:].argmax() == info["topic"]
            if terminated or truncated:
                break
        endings.add((len(rewards), terminated, truncated))
        assert terminated != truncated
        with pytest.raises(gym.error.ResetNeeded):
            env.step(action)
    # Some leave in each step, also in the last that they may have; the others are cut off there.
    assert endings == {(1, True, False), (2, True, False), (3, True, False), (4, True, False)} | {
        (4, False, True)
    }


def test_actions_that_are_not_finite_show_nothing():
    env = gym.make(ENV, **SMALL).unwrapped
    env.reset(seed=0)
    bad = np.full(16, np.nan, np.float32)
    _, reward, _, _, info = env.step(bad)
    assert (reward, info["item_id"], info["topic"], info["latent_reward"]) == (0.0, -1, -1, 0.0)
    with pytest.raises(ValueError, match="expected numbers of shape"):
        env.step(np.ones(15, np.float32))


@pytest.mark.parametrize("seed", [0, 2**40])
def test_scalar_and_vector_agree(seed):
    num_envs = 5
    sync, native = make_vec(num_envs, "sync"), make_vec(num_envs, "vector_entry_point")
    assert native.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    assert native.observation_space == sync.observation_space
    np.testing.assert_array_equal(native.reset(seed=seed)[0], sync.reset(seed=seed)[0])
    generator = np.random.default_rng(0)
    ends = 0
    for _ in range(60):
        actions = generator.normal(size=(num_envs, 16)).astype(np.float32)
        actions[:, 0] += 2.0  # else few sessions meet satiation
        expected, found = sync.step(actions), native.step(actions)
        np.testing.assert_allclose(found[0], expected[0], atol=1e-6)
        np.testing.assert_allclose(found[1], expected[1], atol=1e-5)
        np.testing.assert_array_equal(found[2], expected[2])
        np.testing.assert_array_equal(found[3], expected[3])
        ended = found[2] | found[3]
        ends += int(ended.sum())
        assert ("final_obs" in found[4]) == ("final_obs" in expected[4]) == bool(ended.any())
        for i in range(num_envs):
            theirs = expected[4]["final_info"] if ended[i] else expected[4]
            for key in ("item_id", "topic", "latent_reward", "oracle_reward"):
                assert found[4][key][i] == pytest.approx(theirs[key][i], abs=1e-5)
                if ended[i]:
                    assert found[4]["final_info"][key][i] == found[4][key][i]
            if ended.any():
                assert found[4]["_final_obs"][i] == expected[4]["_final_obs"][i] == ended[i]
                if ended[i]:
                    last = expected[4]["final_obs"][i]
                    np.testing.assert_allclose(found[4]["final_obs"][i], last, atol=1e-6)
                else:
                    assert found[4]["final_obs"][i] is None
    assert ends > 20
