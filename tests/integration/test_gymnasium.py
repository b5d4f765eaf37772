"""Our environments under Gymnasium's own wrappers, vectors of processes, copies and pickles."""

from __future__ import annotations

import copy
import pickle

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import wrappers
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode
from gymnasium.wrappers import vector

import recsim_drpo  # noqa: F401 - registers the environments
from recsim_drpo.simulator.decoder import ExactDecoder

BANDIT, SESSIONS = "RecSimZipf-v0", "RecSimZipfSession-v0"
pytestmark = [
    pytest.mark.parametrize("env_id", [BANDIT, SESSIONS]),
    pytest.mark.filterwarnings("ignore:.*precision lowered by casting:UserWarning"),
]


@pytest.fixture
def make(env_id, small_kwargs):
    return lambda **how: gym.make(env_id, **small_kwargs, **how)


@pytest.fixture
def make_native(env_id, small_kwargs):
    return lambda n=3, **how: gym.make_vec(env_id, n, "vector_entry_point", **small_kwargs, **how)


def directions(num_steps, *shape):
    return np.random.default_rng(0).uniform(-1, 1, (num_steps, *shape, 16)).astype(np.float32)


def played(env, actions, seed=5):
    """Observations, rewards and infos of one episode after another; observations at resets too."""
    observation, _ = env.reset(seed=seed)
    observations, rewards, infos = [observation], [], []
    for action in actions:
        observation, reward, terminated, truncated, info = env.step(action)
        observations.append(observation)
        rewards.append(reward)
        infos.append(info)
        if terminated or truncated:
            observations.append(env.reset()[0])
    return np.stack(observations), np.array(rewards), infos


def played_native(envs, actions, seed=5):
    first, _ = envs.reset(seed=seed)
    steps = [envs.step(action) for action in actions]
    observations = np.stack([first, *(step[0] for step in steps)])
    return observations, np.stack([step[1] for step in steps]), [step[4] for step in steps]


def test_what_actions_and_observations_become_in_wrappers(make):
    actions = directions(12)
    observations, rewards, infos = played(make(), actions)
    items = [info["item_id"] for info in infos]

    clipped = played(wrappers.ClipAction(make()), 3.0 * actions)[2]
    expected = played(make(), np.clip(3.0 * actions, -1, 1))[2]
    assert [info["item_id"] for info in clipped] == [info["item_id"] for info in expected]
    rescaled = wrappers.RescaleAction(make(), np.float32(0.0), np.float32(1.0))
    assert rescaled.action_space == gym.spaces.Box(0, 1, (16,), np.float32)
    found = played(rescaled, (actions + 1.0) / 2.0)[2]
    assert [info["item_id"] for info in found] == items

    doubled = wrappers.TransformObservation(make(), lambda context: 2.0 * context, None)
    np.testing.assert_array_equal(played(doubled, actions)[0], 2.0 * observations)
    normalised = played(wrappers.NormalizeObservation(make()), actions)
    assert np.isfinite(normalised[0]).all()
    np.testing.assert_array_equal(normalised[1], rewards)
    scaled = played(wrappers.NormalizeReward(make()), actions)[1]
    np.testing.assert_array_equal(scaled == 0, rewards == 0)
    assert not np.allclose(scaled, rewards)


def test_episodes_are_counted_and_limited(make, env_id):
    env = wrappers.RecordEpisodeStatistics(wrappers.TimeLimit(make(), 2))
    rewards, lengths = [], []
    env.reset(seed=0)
    for action in directions(30):
        _, reward, terminated, truncated, info = env.step(action)
        rewards.append(reward)
        if terminated or truncated:
            length = int(info["episode"]["l"])
            assert info["episode"]["r"] == pytest.approx(sum(rewards[-length:]))
            lengths.append(length)
            env.reset()
    assert set(lengths) == ({1} if env_id == BANDIT else {1, 2})
    env, action = make(), directions(1)[0]
    env.reset(seed=0)
    while not any(env.step(action)[2:4]):
        pass
    with pytest.raises(gym.error.ResetNeeded, match="reset"):
        env.step(action)


def test_the_vector_wrappers_around_the_native_environments(make_native):
    actions = directions(12, 3)
    _, rewards, infos = played_native(make_native(), actions)
    items = np.stack([info["item_id"] for info in infos])

    rescaled = vector.RescaleAction(make_native(), np.float32(0.0), np.float32(1.0))
    found = played_native(rescaled, (actions + 1.0) / 2.0)[2]
    np.testing.assert_array_equal(np.stack([info["item_id"] for info in found]), items)
    clipped = played_native(vector.ClipAction(make_native()), 3.0 * actions)[2]
    expected = played_native(make_native(), np.clip(3.0 * actions, -1, 1))[2]
    for one, other in zip(clipped, expected, strict=True):
        np.testing.assert_array_equal(one["item_id"], other["item_id"])
    scaled = played_native(vector.NormalizeReward(make_native()), actions)[1]
    np.testing.assert_array_equal(scaled == 0, rewards == 0)
    halved = vector.TransformReward(make_native(), lambda reward: reward / 2)
    np.testing.assert_array_equal(played_native(halved, actions)[1], rewards / 2)
    listed = played_native(vector.DictInfoToList(make_native()), actions)[2]
    assert [[info["item_id"] for info in step] for step in listed] == items.tolist()


def test_the_native_environments_episodes_are_counted(make_native):
    envs = vector.RecordEpisodeStatistics(make_native())
    envs.reset(seed=0)
    sums, lengths, ended = np.zeros(3), np.zeros(3, int), 0
    for actions in directions(20, 3):
        _, rewards, terminated, truncated, infos = envs.step(actions)
        sums, lengths = sums + rewards, lengths + 1
        over = terminated | truncated
        if over.any():
            np.testing.assert_array_equal(infos["_episode"], over)
            np.testing.assert_allclose(infos["episode"]["r"][over], sums[over])
            np.testing.assert_array_equal(infos["episode"]["l"][over], lengths[over])
            ended += over.sum()
        sums[over], lengths[over] = 0, 0
    assert ended


def test_wrappers_of_observations_ask_for_another_autoreset_mode(make_native, make):
    """Gymnasium refuses them in its own SAME_STEP mode; docs/libraries/gymnasium.md says more."""
    with pytest.raises(ValueError, match="Expected autoreset_mode to be NEXT_STEP or DISABLED"):
        vector.NormalizeObservation(make_native())
    each = gym.vector.SyncVectorEnv([lambda: wrappers.NormalizeObservation(make())] * 2)
    assert np.isfinite(played_native(each, directions(5, 2))[0]).all()


def test_videos(make, make_native, tmp_path):
    pytest.importorskip("moviepy", reason="RecordVideo needs moviepy")
    recorded = wrappers.RecordVideo(make(render_mode="rgb_array"), str(tmp_path / "one"))
    played(recorded, directions(4))
    recorded.close()
    many = vector.RecordVideo(make_native(render_mode="rgb_array"), str(tmp_path / "many"))
    played_native(many, directions(4, 3))
    many.close()
    assert list(tmp_path.glob("one/*.mp4"))
    assert list(tmp_path.glob("many/*.mp4"))


def test_the_frames_of_a_recording(make):
    env = wrappers.RenderCollection(make(render_mode="rgb_array"), pop_frames=True)
    played(env, directions(2))
    assert {frame.shape for frame in env.render()} == {(512, 512, 3)}


def test_the_checker_is_content(make):
    check_env(make(render_mode="rgb_array").unwrapped)
    check_env(make(split="test").unwrapped, skip_render_check=True)


@pytest.mark.parametrize("options", [{"no_such": 1}, {}, None])
def test_options_of_a_reset_are_ignored(make, make_native, options):
    for made, other in ((make(), make()), (make_native(), make_native())):
        found, expected = made.reset(seed=3, options=options), other.reset(seed=3)
        np.testing.assert_array_equal(found[0], expected[0])


def test_infos_have_one_shape_from_the_reset_on(make, make_native):
    env, envs = make(), make_native()
    _, at_reset = env.reset(seed=0)
    info = env.step(directions(1)[0])[4]
    assert {key: type(value) for key, value in at_reset.items()} == {
        key: type(value) for key, value in info.items()
    }
    _, at_reset = envs.reset(seed=0)
    infos = envs.step(directions(1, 3)[0])[4]
    assert {*at_reset} == {name for name in infos if "final_" not in name}
    for key, column in at_reset.items():
        assert (column.shape, column.dtype) == (infos[key].shape, infos[key].dtype)
    assert all(at_reset[f"_{key}"].all() for key in info)


PROCESSES = [
    "fork",
    pytest.param("forkserver", marks=pytest.mark.slow),
    pytest.param("spawn", marks=pytest.mark.slow),
]


@pytest.mark.parametrize("context", PROCESSES)
@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
def test_environments_in_processes_are_those_in_this_one(env_id, small_kwargs, context, mode):
    how = {"autoreset_mode": mode}
    here = gym.make_vec(env_id, 2, "sync", vector_kwargs=how, **small_kwargs)
    there = gym.make_vec(
        env_id, 2, "async", vector_kwargs={**how, "context": context}, **small_kwargs
    )
    try:
        actions = directions(8, 2)
        found, expected = played_native(there, actions), played_native(here, actions)
    finally:
        there.close()
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_array_equal(found[1], expected[1])
    for one, other in zip(found[2], expected[2], strict=True):
        np.testing.assert_array_equal(one["item_id"], other["item_id"])


COPIES = [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))]


@pytest.mark.parametrize("copied", COPIES, ids=["deepcopy", "pickle"])
@pytest.mark.parametrize("rendered", [False, True])
def test_a_copy_in_the_middle_has_the_same_future(make, make_native, copied, rendered):
    mode = "rgb_array" if rendered else None
    for env, shape in ((make(render_mode=mode), ()), (make_native(render_mode=mode), (3,))):
        play = played_native if shape else played
        play(env, directions(5, *shape))
        if not shape:
            env.reset()
        if rendered:
            env.render()
        other = copied(env)
        assert other.unwrapped.world is env.unwrapped.world  # shared, as it never changes
        for action in directions(3, *shape):
            one, two = env.step(action), other.step(action)
            for column, again in zip(one[:4], two[:4], strict=True):
                np.testing.assert_array_equal(column, again)
            if rendered:
                np.testing.assert_array_equal(env.render(), other.render())
            if not shape and (one[2] or one[3]):
                np.testing.assert_array_equal(env.reset()[0], other.reset()[0])
        # Each goes its own way.
        before = env.reset(seed=1)[0]
        other.reset(seed=2)
        np.testing.assert_array_equal(env.reset(seed=1)[0], before)


def test_pickles_hold_no_world_that_can_be_drawn_again(env_id):
    env = gym.make(env_id, render_mode="rgb_array")  # of 5,000 items in 128 dimensions: 5.7 MB
    env.reset(seed=0)
    env.render()
    assert len(pickle.dumps(env)) < 100_000


def test_worlds_that_cannot_be_drawn_again_are_in_the_pickle(env_id, small_kwargs):
    vectors = np.random.default_rng(0).normal(size=(40, 8))
    given = gym.make(env_id, embeddings=vectors, normalize=True, num_topics=4)
    plugged = gym.make(env_id, decoder=ExactDecoder, **small_kwargs)
    for env in (given, plugged):
        world, other = env.unwrapped.world, pickle.loads(pickle.dumps(env)).unwrapped.world
        assert other.catalogue.checksum == world.catalogue.checksum
        assert other is not world
