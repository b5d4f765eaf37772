from __future__ import annotations

import json
import subprocess
import sys
import warnings

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode

import recsim_drpo  # noqa: F401 - registers the environments

ENV = "RecSimZipf-v0"


def make(**kwargs):
    return gym.make(ENV, **kwargs)


def make_native(num_envs, **kwargs):
    return gym.make_vec(ENV, num_envs=num_envs, vectorization_mode="vector_entry_point", **kwargs)


def make_sync(num_envs, **kwargs):
    same_step = {"autoreset_mode": AutoresetMode.SAME_STEP}
    return gym.make_vec(
        ENV, num_envs=num_envs, vectorization_mode="sync", vector_kwargs=same_step, **kwargs
    )


@pytest.mark.parametrize("kwargs", [{}, {"num_items": 50, "embedding_dim": 2, "context_dim": 3}])
def test_gymnasium_checker_passes_without_a_warning(kwargs):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(make(render_mode="rgb_array", **kwargs).unwrapped)


def test_default_spaces_and_spec():
    env = make()
    assert env.observation_space == gym.spaces.Box(-1, 1, (10,), np.float32)
    assert env.action_space == gym.spaces.Box(-1, 1, (128,), np.float32)
    assert env.spec.entry_point == "recsim_drpo.envs:RecSimZipfEnv"
    assert env.spec.vector_entry_point == "recsim_drpo.envs:RecSimZipfVectorEnv"
    assert env.unwrapped.world.num_items == 5000


def test_an_episode_is_one_step(small_kwargs):
    env = make(**small_kwargs).unwrapped
    context, info = env.reset(seed=0)
    assert info == {}
    action = np.ones(16, np.float32)
    after, reward, terminated, truncated, info = env.step(action)
    assert terminated is True
    assert truncated is False
    assert isinstance(reward, float)
    np.testing.assert_array_equal(after, context)
    assert after is not context
    assert set(info) == {"item_id", "latent_reward", "oracle_reward"}
    with pytest.raises(gym.error.ResetNeeded):
        env.step(action)


def test_the_item_is_the_one_of_largest_inner_product_and_pays_its_latent_reward(small_kwargs):
    env = make(reward_noise=0.0, **small_kwargs).unwrapped
    world = env.world
    for seed in range(20):
        env.reset(seed=seed)
        interest = env._arrival().interests[0].numpy()
        action = np.random.default_rng(seed).normal(size=16).astype(np.float32)
        _, reward, _, _, info = env.step(action)
        embeddings = world.catalogue.embeddings.astype(np.float64)
        assert info["item_id"] == (embeddings @ action).argmax()
        cosines = embeddings @ interest
        latent = np.exp(-(1 - cosines) / (2 * world.config.delta**2))
        assert info["latent_reward"] == pytest.approx(latent[info["item_id"]], abs=1e-5)
        assert info["oracle_reward"] == pytest.approx(latent.max(), abs=1e-5)
        assert reward == pytest.approx(info["latent_reward"], abs=1e-6)


def test_only_the_direction_of_an_action_counts(small_kwargs):
    env = make(**small_kwargs)
    direction = np.random.default_rng(0).normal(size=16).astype(np.float32)
    items = set()
    for scale in (1e-30, 0.01, 1.0, 1e4, 1e30):
        env.reset(seed=3)
        items.add(env.step(direction * np.float32(scale))[4]["item_id"])
    assert len(items) == 1


def test_actions_beyond_float32_have_a_direction_too(small_kwargs):
    env, envs = make(**small_kwargs).unwrapped, make_native(2, **small_kwargs)
    direction = np.random.default_rng(0).normal(size=16)
    expected = (env.world.catalogue.embeddings @ direction).argmax()
    for scale in (1e-300, 1e300):
        env.reset(seed=0)
        assert env.step(direction * scale)[4]["item_id"] == expected
        envs.reset(seed=0)
        assert (envs.step(np.stack([direction * scale] * 2))[4]["item_id"] == expected).all()
    whole = np.zeros(16, np.int64)
    whole[2] = 3
    env.reset(seed=0)
    assert env.step(whole)[4]["item_id"] == env.world.catalogue.embeddings[:, 2].argmax()


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_gymnasiums_own_vector_environments(mode):
    """In a process of its own: a forked child that waits for its parent's threads never ends."""
    script = f"""
import gymnasium as gym, numpy as np, torch, recsim_drpo
torch.set_num_threads(2)
gym.make("RecSimZipf-v0").reset(seed=0)  # the parent's threads are at work before the fork
envs = gym.make_vec("RecSimZipf-v0", num_envs=2, vectorization_mode={mode!r})
contexts, _ = envs.reset(seed=5)
rewards = envs.step(np.ones((2, 128), np.float32))[1]
envs.close()
native = gym.make_vec("RecSimZipf-v0", num_envs=2, vectorization_mode="vector_entry_point")
assert (native.reset(seed=5)[0] == contexts).all()
assert np.allclose(native.step(np.ones((2, 128), np.float32))[1], rewards, atol=1e-6)
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120)


def test_undefined_actions_are_defined(small_kwargs):
    env = make(**small_kwargs).unwrapped
    for bad in (np.nan, np.inf, -np.inf):
        env.reset(seed=0)
        action = np.zeros(16, np.float32)
        action[3] = bad
        _, reward, _, _, info = env.step(action)
        assert (reward, info["item_id"], info["latent_reward"]) == (0.0, -1, 0.0)
    env.reset(seed=0)
    assert env.step(np.zeros(16, np.float32))[4]["item_id"] == 0


@pytest.mark.parametrize("action", [np.zeros(15), np.zeros((1, 16)), np.array(["a"] * 16)])
def test_actions_that_do_not_fit_are_refused_and_the_episode_goes_on(small_kwargs, action):
    env = make(**small_kwargs).unwrapped
    env.reset(seed=0)
    with pytest.raises(ValueError, match="expected numbers of shape"):
        env.step(action)
    env.step(np.ones(16, np.float32))


def test_seeds_name_sequences_of_users(small_kwargs):
    env = make(**small_kwargs)

    def contexts(seed, count=40):
        first, _ = env.reset(seed=seed)
        return np.stack([first] + [env.reset()[0] for _ in range(count - 1)])

    # Forty users cross the borders of the blocks in which users are drawn ahead.
    np.testing.assert_array_equal(contexts(5), contexts(5))
    assert len(np.unique(np.concatenate([contexts(5), contexts(6)]), axis=0)) == 80


def test_unseeded_environments_differ(small_kwargs):
    assert not np.array_equal(make(**small_kwargs).reset()[0], make(**small_kwargs).reset()[0])


def test_catalogue_seed_and_users_seed_are_independent(small_kwargs):
    one, two = (make(catalogue_seed=seed, **small_kwargs) for seed in (0, 1))
    np.testing.assert_array_equal(one.reset(seed=4)[0], two.reset(seed=4)[0])
    catalogues = [env.unwrapped.world.catalogue.embeddings for env in (one, two)]
    assert not np.array_equal(*catalogues)
    again = make(catalogue_seed=1, **small_kwargs)
    again.reset(seed=99)
    np.testing.assert_array_equal(again.unwrapped.world.catalogue.embeddings, catalogues[1])


def test_splits_have_different_users(small_kwargs):
    firsts = [
        make(split=s, **small_kwargs).reset(seed=0)[0] for s in ("train", "validation", "test")
    ]
    assert len({first.tobytes() for first in firsts}) == 3


@pytest.mark.parametrize("seed", [0, 7, 2**40])
def test_scalar_and_vector_agree(seed):
    num_envs = 6
    sync, native = make_sync(num_envs), make_native(num_envs)
    assert native.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    assert native.observation_space == sync.observation_space
    assert native.action_space == sync.action_space
    contexts = sync.reset(seed=seed)[0]
    np.testing.assert_array_equal(native.reset(seed=seed)[0], contexts)
    embeddings = native.unwrapped.world.catalogue.embeddings
    generator = np.random.default_rng(0)
    for _ in range(20):
        actions = generator.normal(size=(num_envs, 128)).astype(np.float32)
        expected, found = sync.step(actions), native.step(actions)
        np.testing.assert_array_equal(found[0], expected[0])
        np.testing.assert_array_equal(found[2], expected[2])
        np.testing.assert_array_equal(found[3], expected[3])
        expected_info, found_info = expected[4]["final_info"], found[4]["final_info"]
        items, others = found_info["item_id"], expected_info["item_id"]
        directions = actions / np.linalg.norm(actions, axis=1, keepdims=True)
        gaps = ((embeddings[items] - embeddings[others]) * directions).sum(axis=1)
        assert np.all((items == others) | (np.abs(gaps) < 1e-6))
        same = items == others
        np.testing.assert_allclose(found[1][same], expected[1][same], atol=1e-6, rtol=0)
        for key in ("latent_reward", "oracle_reward"):
            np.testing.assert_allclose(
                found_info[key][same], expected_info[key][same], atol=1e-6, rtol=0
            )
        assert set(found_info) == set(expected_info)
        np.testing.assert_array_equal(found[4]["_final_info"], expected[4]["_final_info"])
        for one, two in zip(found[4]["final_obs"], expected[4]["final_obs"], strict=True):
            np.testing.assert_array_equal(one, two)
        for key in ("item_id", "latent_reward", "oracle_reward"):
            np.testing.assert_array_equal(found[4][key], found_info[key])


def test_vector_arrays_are_the_callers_to_keep(small_kwargs):
    envs = make_native(3, **small_kwargs)
    contexts, _ = envs.reset(seed=0)
    kept = contexts.copy()
    actions = np.ones((3, 16), np.float32)
    following, rewards, _, _, infos = envs.step(actions)
    contexts[:] = 0
    following[:] = 0
    infos["item_id"][:] = -5
    assert (infos["final_info"]["item_id"] >= 0).all()
    envs.reset(seed=0)
    again = envs.step(actions)
    np.testing.assert_array_equal(again[1], rewards)
    np.testing.assert_array_equal(np.stack(list(again[4]["final_obs"])), kept)


def test_vector_seeds_may_be_given_one_by_one(small_kwargs):
    envs = make_native(3, **small_kwargs)
    listed, _ = envs.reset(seed=[10, 11, 12])
    counted, _ = make_native(3, **small_kwargs).reset(seed=10)
    np.testing.assert_array_equal(listed, counted)
    partly, _ = envs.reset(seed=[None, 11, None])
    np.testing.assert_array_equal(partly[1], listed[1])
    assert not np.array_equal(partly[0], listed[0])
    with pytest.raises(ValueError, match="2 seeds for 3 environments"):
        envs.reset(seed=[1, 2])
    for seed in (-1, 1.5, True, "a"):
        with pytest.raises(ValueError, match="seed="):
            envs.reset(seed=seed)


def test_vector_step_needs_a_reset(small_kwargs):
    envs = make_native(2, **small_kwargs).unwrapped
    with pytest.raises(gym.error.ResetNeeded):
        envs.step(np.ones((2, 16), np.float32))
    with pytest.raises(ValueError, match="expected numbers of shape"):
        envs.step(np.ones((3, 16), np.float32))


def test_spec_goes_through_json_with_its_kwargs(small_kwargs, tmp_path):
    path = tmp_path / "vectors.npy"
    vectors = np.random.default_rng(0).normal(size=(40, 8)).astype(np.float32)
    np.save(path, vectors)
    for kwargs in (
        {**small_kwargs, "delta": 0.3, "catalogue_seed": 5},
        {"embeddings": str(path), "normalize": True, "num_topics": 4},
    ):
        env = make(**kwargs)
        text = env.spec.to_json()
        json.loads(text)
        again = gym.make(EnvSpec.from_json(text))
        assert again.spec == env.spec
        assert again.unwrapped.world.config == env.unwrapped.world.config
        np.testing.assert_array_equal(again.reset(seed=1)[0], env.reset(seed=1)[0])


def test_an_array_of_embeddings_makes_the_catalogue():
    vectors = np.random.default_rng(0).normal(size=(40, 8))
    env = make(embeddings=vectors, normalize=True, num_topics=4)
    expected = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    np.testing.assert_allclose(env.unwrapped.world.catalogue.embeddings, expected, atol=1e-6)
    env.reset(seed=0)
    assert env.step(expected[7].astype(np.float32))[4]["item_id"] == 7


def test_another_decoder_may_be_plugged_in(small_kwargs):
    class LastItem:
        """Shows everyone the last item of the catalogue."""

        def __init__(self, embeddings):
            self.embeddings = embeddings

        def search(self, queries, k):
            assert k == 1
            torch.testing.assert_close(queries.norm(dim=1), torch.ones(len(queries)))
            items = torch.full((len(queries), 1), len(self.embeddings) - 1)
            return torch.ones_like(items, dtype=torch.float32), items

    envs = make_native(4, decoder=LastItem, **small_kwargs)
    envs.reset(seed=0)
    infos = envs.step(np.ones((4, 16), np.float32))[4]
    assert infos["item_id"].tolist() == [299] * 4
    # The oracle stays exact, and other environments of the same world keep their decoder.
    assert (infos["oracle_reward"] > infos["latent_reward"]).all()
    exact = make_native(4, **small_kwargs)
    exact.reset(seed=0)
    assert exact.step(np.ones((4, 16), np.float32))[4]["item_id"].tolist() != [299] * 4


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
    red = (214, 39, 40)
    assert not (before == red).all(axis=2).any()
    assert (after == red).all(axis=2).sum() > 50  # the cross and its label
    env.reset(seed=0)
    env.step(np.full_like(action, np.nan))
    assert not (env.render() == red).all(axis=2).any()


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


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"delta": 0.0}, "delta=0.0"),
        ({"delta": float("nan")}, "delta=nan"),
        ({"reward_noise": -0.1}, "reward_noise=-0.1"),
        ({"num_item": 10}, "Did you mean 'num_items'"),
        ({"embedding_dim": 1}, "embedding_dim=1"),
        ({"embedding_dim": 1025}, "embedding_dim=1025"),
        ({"split": "tset"}, "Did you mean 'test'"),
        ({"device": "cuda:99"}, "device='cuda:99'"),
        ({"device": "nonsense"}, "device='nonsense'"),
        ({"catalogue_seed": -1}, "catalogue_seed=-1"),
        ({"num_topics": 0}, "num_topics=0"),
        ({"context_dim": 0}, "context_dim=0"),
        ({"popularity_exponent": -1}, "popularity_exponent=-1"),
    ],
)
def test_bad_arguments_say_what_is_wrong(kwargs, message):
    for factory in (lambda: make(**kwargs), lambda: make_native(2, **kwargs)):
        with pytest.raises(ValueError, match=message):
            factory()
