"""Every keyword of every registered environment, given anything: an answer or one clear line."""

from __future__ import annotations

from dataclasses import fields

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given, settings

import recsim_drpo
from recsim_drpo.envs.registration import ENVIRONMENTS
from recsim_drpo.simulator.config import SessionConfig, WorldConfig
from tests.anything import ANYTHING, a_machine_of, refused_in_one_line

SMALL = {"num_items": 40, "embedding_dim": 4, "num_topics": 3}
KEYWORDS = [
    (env_id, keyword)
    for env_id, entry in ENVIRONMENTS.items()
    for keyword in (
        *("split", "device", "num_envs", "render_mode"),
        *(field.name for field in fields(WorldConfig)),
        *(field.name for field in fields(SessionConfig) if entry.has_sessions),
    )
]


@pytest.fixture(autouse=True, scope="module")
def small_machine():
    with a_machine_of(2**26):
        yield


def play(env) -> None:
    """Two steps, all of whose numbers are finite, and the observations within their bounds."""
    observations, _ = env.reset(seed=1)
    env.action_space.seed(0)
    for _ in range(2):
        assert env.observation_space.contains(observations)
        observations, rewards, terminated, truncated, _ = env.step(env.action_space.sample())
        assert np.isfinite(rewards).all()
        if isinstance(env, gym.Env) and (terminated or truncated):
            observations, _ = env.reset()


@pytest.mark.parametrize(("env_id", "keyword"), KEYWORDS)
@settings(max_examples=25, deadline=None)
@given(value=ANYTHING)
def test_any_value_is_played_with_or_refused(env_id, keyword, value):
    kwargs = {"num_envs": 2, **SMALL, keyword: value}
    vectorized = refused_in_one_line(
        lambda: play(gym.make_vec(env_id, vectorization_mode="vector_entry_point", **kwargs))
    )
    if keyword not in ("num_envs", "render_mode"):  # which Gymnasium reads first, in its own words
        del kwargs["num_envs"]
        scalar = refused_in_one_line(lambda: play(gym.make(env_id, **kwargs)))
        assert scalar == vectorized


@pytest.mark.parametrize("env_id", ENVIRONMENTS)
@pytest.mark.parametrize(
    "sizes",
    [
        {"num_items": 10**12},
        {"num_items": 2**63},
        {"num_items": 10**400},
        {"num_items": 10**7, "embedding_dim": 1024, "num_topics": 10**6},
        {"num_topics": 10**15},
        {"context_dim": 10**13},
        {"num_envs": 10**13},
    ],
    ids=str,
)
def test_what_would_not_fit_says_what_it_takes_before_it_is_made(env_id, sizes):
    # What memory there is differs between machines; of petabytes there are none.
    pattern = r"would take (over )?\d.* [TPE]iB of memory, and there are \d.* [KMGT]iB; make "
    with pytest.raises(ValueError, match=pattern):
        gym.make_vec(env_id, **{"num_envs": 1, "vectorization_mode": "vector_entry_point"} | sizes)


@pytest.mark.parametrize("env_id", ENVIRONMENTS)
@pytest.mark.parametrize("action", [None, np.zeros(4, np.float32), "left", [[1], [1, 2]], {1}])
def test_a_step_before_a_reset_is_gymnasiums_own_error(env_id, action):
    scalar = gym.make(env_id, **SMALL).unwrapped
    vector = gym.make_vec(env_id, 2, "vector_entry_point", **SMALL)
    for env in (scalar, vector):
        with pytest.raises(gym.error.ResetNeeded, match=r"reset\(\) before"):
            env.step(action)


@pytest.mark.parametrize("action", [None, "left", [[1], [1, 2]], {1}, np.zeros(5)])
def test_an_action_that_is_none_is_refused_in_one_line(action):
    vector = gym.make_vec("RecSimZipf-v0", 2, "vector_entry_point", **SMALL)
    vector.reset(seed=0)
    assert refused_in_one_line(lambda: vector.step(action))


def test_numbers_of_numpy_make_the_same_world_as_pythons():
    plain = recsim_drpo.make_world(num_items=50, embedding_dim=4, num_topics=3, delta=0.25)
    numpys = recsim_drpo.make_world(
        num_items=np.int64(50), embedding_dim=np.array(4), num_topics=3, delta=np.float32(0.25)
    )
    assert numpys is plain
