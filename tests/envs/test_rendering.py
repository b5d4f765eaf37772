"""Frames of environments: what they show, and that vectorised ones show the same."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest

import recsim_drpo  # noqa: F401 - registers the environments
from recsim_drpo.envs.rendering import Renderer
from recsim_drpo.simulator.catalogue import SimulatedCatalogue

ENV = "RecSimZipf-v0"
SESSION_ENV = "RecSimZipfSession-v0"
RED, YELLOW = (214, 39, 40), (255, 180, 0)


def make(**kwargs):
    return gym.make(ENV, **kwargs)


def make_native(num_envs, **kwargs):
    return gym.make_vec(ENV, num_envs=num_envs, vectorization_mode="vector_entry_point", **kwargs)


@pytest.mark.parametrize("array", [False, True])
def test_rendering_shows_the_user_the_action_and_the_item(small_kwargs, array):
    if array:
        vectors = np.eye(2, dtype=np.float32)[[0, 1, 1]]
        env = make(render_mode="rgb_array", embeddings=vectors, num_topics=1).unwrapped
    else:
        env = make(render_mode="rgb_array", **small_kwargs).unwrapped
    with pytest.raises(gym.error.ResetNeeded):
        env.render()
    env.reset(seed=0)
    before = env.render()
    assert before.shape == (512, 512, 3)
    assert before.dtype == np.uint8
    action = np.ones(env.action_space.shape, np.float32)
    env.step(action)
    after = env.render()
    assert not (before == RED).all(axis=2).any()
    assert (after == RED).all(axis=2).sum() > 50  # the cross and its label
    env.reset(seed=0)
    env.step(np.full_like(action, np.nan))
    assert not (env.render() == RED).all(axis=2).any()


def test_vector_rendering_matches_scalar(small_kwargs):
    envs = make_native(2, render_mode="rgb_array", **small_kwargs).unwrapped
    env = make(render_mode="rgb_array", **small_kwargs).unwrapped
    envs.reset(seed=4)
    env.reset(seed=5)
    actions = np.ones((2, 16), np.float32)
    np.testing.assert_array_equal(envs.render()[1], env.render())
    envs.step(actions)
    env.step(actions[1])
    np.testing.assert_array_equal(envs.render()[1], env.render())


def test_rendering_follows_the_session(small_kwargs):
    env = gym.make(SESSION_ENV, render_mode="rgb_array", **small_kwargs).unwrapped
    with pytest.raises(gym.error.ResetNeeded):
        env.render()
    env.reset(seed=0)
    waiting = env.render()
    env.step(np.ones(16, np.float32))
    shown = env.render()
    assert waiting.shape == shown.shape == (512, 512, 3)
    assert not np.array_equal(waiting, shown)
    envs = gym.make_vec(
        SESSION_ENV, 2, "vector_entry_point", render_mode="rgb_array", **small_kwargs
    )
    envs.reset(seed=0)
    envs.step(np.ones((2, 16), np.float32))
    np.testing.assert_array_equal(envs.render()[0], shown)


def test_without_a_render_mode_there_is_a_warning_and_no_frame(small_kwargs):
    env = make(**small_kwargs).unwrapped
    env.reset(seed=0)
    with pytest.warns(UserWarning, match="without a render mode"):
        assert env.render() is None
    with pytest.raises(ValueError, match=r"Unknown render mode 'human'.*Known: rgb_array"):
        make_native(2, render_mode="human", **small_kwargs)


def test_places_are_projections():
    # Opposite directions, from one end of the frame's inner part to the other: 432 pixels for 2.3.
    vectors = np.float32([[1, 0, 0], [-1, 0, 0], [1, 0, 0], [0, 1, 0], [0, -1, 0]])
    renderer = Renderer(
        SimulatedCatalogue.from_embeddings(
            vectors, num_topics=1, popularity_exponent=0.0, catalogue_seed=0
        )
    )

    def place(interest):
        frame = renderer.frame(np.float32(interest), None, None)
        frame[:40, :200] = 255  # without the legend
        return np.argwhere((frame == YELLOW).all(axis=2)).mean(axis=0)

    left, right = place([1, 0, 0]), place([-1, 0, 0])
    np.testing.assert_allclose((left + right) / 2, 255.5, atol=1.0)
    np.testing.assert_allclose(np.abs(left - right), [0, 2 / 2.3 * 432], atol=1.5)
    np.testing.assert_allclose(place([0, 0, 1]), 255.5, atol=1.0)
