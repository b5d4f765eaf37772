"""What environments take: actions, seeds and keyword arguments."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest

import recsim_drpo  # noqa: F401 - registers the environments

ENV = "RecSimZipf-v0"


def make(**kwargs):
    return gym.make(ENV, **kwargs)


def make_native(num_envs, **kwargs):
    return gym.make_vec(ENV, num_envs=num_envs, vectorization_mode="vector_entry_point", **kwargs)


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


@pytest.mark.parametrize("seed", [2**63 - 1, 2**63, 2**64 - 3])
def test_all_64_bits_of_a_seed_count(small_kwargs, seed):
    env, envs = make(**small_kwargs), make_native(3, **small_kwargs)
    firsts, _ = envs.reset(seed=seed)
    each = np.stack([env.reset(seed=seed + i)[0] for i in range(3)])
    np.testing.assert_array_equal(firsts, each)
    following = env.reset()[0]
    # Neither the seed without its highest bit, nor the one that follows, has these users.
    others = [env.reset(seed=other)[0] for other in ((seed + 2) % 2**63, seed - 1)]
    assert len(np.unique(np.stack([*each, following, *others]), axis=0)) == 6
    for wrong in (2**64, -1):
        with pytest.raises(ValueError, match=r"not an integer in \[0, 2\*\*64\)"):
            env.reset(seed=wrong)


def test_a_wrong_seed_among_several_changes_nothing(small_kwargs):
    envs, others = (make_native(2, **small_kwargs) for _ in range(2))
    for one in (envs, others):
        one.reset(seed=0)
    with pytest.raises(ValueError, match="seed=-1"):
        envs.reset(seed=[5, -1])
    np.testing.assert_array_equal(envs.reset()[0], others.reset()[0])


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
