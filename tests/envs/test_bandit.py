from __future__ import annotations

import warnings

import gymnasium as gym
import numpy as np
import pytest
import torch
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
    rewards_due = [info.pop(key) for key in ("latent_reward", "oracle_reward")]
    assert info == {"item_id": -1}
    assert np.isnan(rewards_due).all()
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
        interest = world.users("train", seed, torch.tensor([0])).interests[0].numpy()
        action = np.random.default_rng(seed).normal(size=16).astype(np.float32)
        _, reward, _, _, info = env.step(action)
        embeddings = world.catalogue.embeddings.astype(np.float64)
        assert info["item_id"] == (embeddings @ action).argmax()
        cosines = embeddings @ interest
        latent = np.exp(-(1 - cosines) / (2 * world.config.delta**2))
        assert info["latent_reward"] == pytest.approx(latent[info["item_id"]], abs=1e-5)
        assert info["oracle_reward"] == pytest.approx(latent.max(), abs=1e-5)
        assert reward == pytest.approx(info["latent_reward"], abs=1e-6)


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


def test_vector_step_needs_a_reset(small_kwargs):
    envs = make_native(2, **small_kwargs).unwrapped
    with pytest.raises(gym.error.ResetNeeded):
        envs.step(np.ones((2, 16), np.float32))
    envs.reset(seed=0)
    with pytest.raises(ValueError, match="expected numbers of shape"):
        envs.step(np.ones((3, 16), np.float32))


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
