"""The world: who its users are, what it rewards, and which configurations it refuses."""

import math

import numpy as np
import pytest
import torch

from recsim_drpo.simulator.config import SPLITS, WorldConfig
from recsim_drpo.simulator.world import (
    World,
    make_world,
    stream_of,
)

SMALL = {"num_items": 150, "embedding_dim": 12, "num_topics": 6}


def small_world(**changes):
    return World(WorldConfig(**{**SMALL, **changes}))


@pytest.fixture(scope="module")
def world():
    return small_world()


def rewards_by_brute_force(world, users):
    cosines = users.interests.double().numpy() @ world.embeddings.double().numpy().T
    return np.exp(-(1.0 - cosines) / (2.0 * world.config.delta**2))


def assert_same_users(first, second):
    # Contexts and noise are the same bits; what is multiplied out of them, up to rounding, since
    # batches of other shapes are summed in another order.
    assert torch.equal(first.contexts, second.contexts)
    assert torch.equal(first.reward_noise, second.reward_noise)
    torch.testing.assert_close(first.tastes, second.tastes, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(first.interests, second.interests, rtol=1e-5, atol=1e-6)


# Reward


@pytest.mark.parametrize(
    ("delta", "cosine", "reward"),
    [
        (0.5, 1.0, 1.0),
        (0.5, 0.5, math.exp(-1.0)),
        (0.5, 0.0, math.exp(-2.0)),
        (0.5, -1.0, math.exp(-4.0)),
        (1.0, 0.0, math.exp(-0.5)),
        (0.377, 0.7, 0.348060),
        (10.0, -1.0, math.exp(-0.01)),
    ],
)
def test_latent_reward_is_equation_48(delta, cosine, reward):
    value = small_world(delta=delta).latent_reward(torch.tensor([[cosine]]))
    assert value.shape == (1, 1)
    assert value.item() == pytest.approx(reward, rel=1e-5)


def test_rounding_above_one_is_no_extra_reward(world):
    assert world.latent_reward(torch.tensor([1.0 + 1e-6, 1.0])).tolist() == [1.0, 1.0]


def test_a_narrow_taste_rewards_nothing_but_its_centre():
    rewards = small_world(delta=1e-3).latent_reward(torch.tensor([1.0, 0.99, -1.0]))
    assert rewards[0] == 1.0
    assert 0.0 <= rewards[1] < 1e-30
    assert rewards[2] == 0.0


@pytest.mark.parametrize(
    ("latent", "noise", "observed"),
    [(0.5, 1.0, 0.7), (0.5, -1.0, 0.3), (0.5, -2.5, 0.0), (0.9, 1.0, 1.0), (0.2, -9.0, 0.0)],
)
def test_observed_reward_is_equation_49(world, latent, noise, observed):
    value = world.observed_reward(torch.tensor([latent]), torch.tensor([noise]))
    assert value.item() == pytest.approx(observed, abs=1e-6)


def test_without_noise_the_observed_reward_is_the_latent_one():
    latent = torch.linspace(0, 1, 11)
    value = small_world(reward_noise=0.0).observed_reward(latent, torch.full((11,), 7.0))
    assert torch.equal(value, latent)


def test_noise_scales_with_its_parameter():
    value = small_world(reward_noise=0.05).observed_reward(torch.tensor([0.5]), torch.tensor([2.0]))
    assert value.item() == pytest.approx(0.6, abs=1e-6)


def test_reward_of_items(world):
    users = world.users("train", 0, torch.arange(40))
    items = torch.arange(40) * 3
    expected = rewards_by_brute_force(world, users)[np.arange(40), items.numpy()]
    np.testing.assert_allclose(world.reward_of_items(items, users.interests), expected, rtol=1e-5)


def test_no_item_earns_nothing(world):
    users = world.users("train", 0, torch.arange(3))
    rewards = world.reward_of_items(torch.tensor([-1, 0, -1]), users.interests)
    assert rewards[0] == rewards[2] == 0.0
    assert rewards[1] > 0.0


def test_best_items_and_mean_rewards_equal_brute_force(world):
    users = world.users("test", 1, torch.arange(500))
    rewards = rewards_by_brute_force(world, users)
    best = world.best_items(users.tastes)
    assert best.dtype == torch.int64
    chosen = rewards[np.arange(500), best.numpy()]
    np.testing.assert_allclose(chosen, rewards.max(axis=1), rtol=1e-6)
    np.testing.assert_array_equal(best.numpy(), rewards.argmax(axis=1))
    means = world.mean_rewards(users.tastes)
    assert means.dtype == torch.float32
    np.testing.assert_allclose(means, rewards.mean(axis=1), rtol=1e-5)


def test_best_items_and_mean_rewards_beyond_one_block(world):
    users = world.users("test", 1, torch.arange(2100))
    assert world.rows_at_a_time < 2100
    rewards = rewards_by_brute_force(world, users)
    np.testing.assert_array_equal(world.best_items(users.tastes), rewards.argmax(axis=1))
    np.testing.assert_allclose(world.mean_rewards(users.tastes), rewards.mean(axis=1), rtol=1e-5)


def test_best_items_and_mean_rewards_of_nobody(world):
    nobody = torch.empty((0, 6))
    assert world.best_items(nobody).shape == (0,)
    assert world.best_items(nobody).dtype == torch.int64
    assert world.mean_rewards(nobody).shape == (0,)


def test_best_items_do_not_ask_the_plugged_in_decoder(world):
    class Broken:
        def search(self, queries, k):
            raise AssertionError("best_items must not depend on an approximate index")

    other = World(world.config, catalogue=world.catalogue)
    other.decoder = Broken()
    users = world.users("test", 1, torch.arange(20))
    assert torch.equal(other.best_items(users.tastes), world.best_items(users.tastes))


def test_the_best_item_is_what_the_interest_decodes_to(world):
    users = world.users("train", 2, torch.arange(200))
    assert torch.equal(world.decode(users.interests), world.best_items(users.tastes))


# Users


def test_shapes_and_types(world):
    users = world.users("train", 0, torch.arange(7))
    assert users.contexts.shape == (7, 10)
    assert users.tastes.shape == (7, 6)
    assert users.interests.shape == (7, 12)
    assert users.reward_noise.shape == (7,)
    assert all(column.dtype == torch.float32 for column in users)
    assert (world.context_dim, world.dim, world.num_items) == (10, 12, 150)


def test_contexts_are_uniform_and_noise_is_normal(world):
    users = world.users("train", 0, torch.arange(20_000))
    contexts = users.contexts.double()
    assert contexts.abs().max() <= 1.0
    assert torch.all(contexts.mean(dim=0).abs() < 5 / math.sqrt(3 * 20_000))
    # Var of x² is 1/5 - 1/9.
    spread = (contexts**2).mean(dim=0)
    assert torch.all((spread - 1 / 3).abs() < 5 * math.sqrt((1 / 5 - 1 / 9) / 20_000))
    noise = users.reward_noise.double()
    assert noise.mean().abs() < 5 / math.sqrt(20_000)
    assert (noise.var() - 1.0).abs() < 5 * math.sqrt(2 / 20_000)
    correlations = np.corrcoef(torch.cat((contexts, noise[:, None]), dim=1).numpy(), rowvar=False)
    assert np.abs(correlations[np.triu_indices(11, 1)]).max() < 5 / math.sqrt(20_000)


def test_users_do_not_depend_on_the_batch(world):
    episodes = torch.tensor([5, 0, 2**40, 5, 77])
    seeds = torch.tensor([1, 2, 3, 1, 2**62])
    together = world.users("validation", seeds, episodes)
    assert torch.equal(together.contexts[0], together.contexts[3])
    for row in range(5):
        alone = world.users("validation", int(seeds[row]), episodes[row : row + 1])
        assert_same_users(alone, type(together)(*(column[row : row + 1] for column in together)))
    order = torch.tensor([3, 1, 4, 0, 2])
    shuffled = world.users("validation", seeds[order], episodes[order])
    assert_same_users(shuffled, type(together)(*(column[order] for column in together)))


def test_users_are_a_function_of_their_name_in_another_world(world):
    again = small_world()
    assert_same_users(
        world.users("test", 9, torch.arange(50)), again.users("test", 9, torch.arange(50))
    )


def test_names_that_differ_are_different_users(world):
    rows = set()
    for split in SPLITS:
        for seed in (0, 1, 2**63 - 1):
            users = world.users(split, seed, torch.arange(300))
            rows |= {tuple(row) for row in users.contexts.tolist()}
    assert len(rows) == 3 * 3 * 300


def test_splits_of_one_seed_are_disjoint_and_not_correlated(world):
    contexts = {split: world.users(split, 4, torch.arange(3000)).contexts for split in SPLITS}
    assert set(contexts) == {"train", "validation", "test"}
    flat = np.stack([x.double().flatten().numpy() for x in contexts.values()])
    assert np.abs(np.corrcoef(flat)[np.triu_indices(3, 1)]).max() < 5 / math.sqrt(30_000)
    assert len(np.unique(np.concatenate([x.numpy() for x in contexts.values()]), axis=0)) == 9000


def test_unknown_split_names_the_nearest(world):
    message = r"Unknown split 'tests'. Did you mean 'test'\? Known: test, train, validation"
    with pytest.raises(ValueError, match=message):
        world.users("tests", 0, torch.arange(2))
    with pytest.raises(ValueError, match="Unknown split"):
        stream_of("Train")


def test_catalogue_seed_leaves_contexts_alone_but_not_interests(world):
    other = small_world(catalogue_seed=1)
    ours, theirs = (w.users("train", 0, torch.arange(50)) for w in (world, other))
    assert torch.equal(ours.contexts, theirs.contexts)
    assert torch.equal(ours.reward_noise, theirs.reward_noise)
    # The mix of topics alone, apart from the centres' own change with the seed.
    mixes = [users.tastes / users.tastes.sum(dim=1, keepdim=True) for users in (ours, theirs)]
    assert (mixes[0] - mixes[1]).abs().amax(dim=1).min() > 0.01
    assert world.catalogue.checksum != other.catalogue.checksum


def test_user_seeds_leave_the_catalogue_alone(world):
    before = world.catalogue.checksum
    world.users("train", 123, torch.arange(10))
    assert small_world().catalogue.checksum == before
    assert torch.equal(small_world().embeddings, world.embeddings)


def test_reward_parameters_change_no_user(world):
    other = small_world(delta=0.1, reward_noise=0.0)
    assert_same_users(
        world.users("train", 0, torch.arange(20)), other.users("train", 0, torch.arange(20))
    )


def test_context_dimension():
    users = small_world(context_dim=3).users("train", 0, torch.arange(20))
    assert users.contexts.shape == (20, 3)
    # A user's first components do not depend on how many there are.
    assert torch.equal(
        users.contexts, small_world().users("train", 0, torch.arange(20)).contexts[:, :3]
    )


# Tastes, interests and cosines


@pytest.mark.parametrize("sharpness", [0.0, 1.0, 3.0, 50.0])
def test_interests_have_unit_length(sharpness):
    world = small_world(interest_sharpness=sharpness)
    users = world.users("train", 0, torch.arange(400))
    lengths = users.interests.double().norm(dim=1)
    np.testing.assert_allclose(lengths, 1.0, atol=1e-6)
    assert users.tastes.min() >= 0.0
    centres = torch.from_numpy(world.catalogue.topic_centres)
    torch.testing.assert_close(users.tastes @ centres, users.interests, rtol=0, atol=1e-6)


def test_sharpness_sets_how_many_topics_a_user_mixes():
    shares = {}
    for sharpness in (0.0, 3.0, 1000.0):
        users = small_world(interest_sharpness=sharpness).users("train", 0, torch.arange(400))
        mix = users.tastes / users.tastes.sum(dim=1, keepdim=True)
        shares[sharpness] = mix.max(dim=1).values
    torch.testing.assert_close(shares[0.0], torch.full((400,), 1 / 6))
    assert shares[1000.0].mean() > 0.98
    assert 0.3 < shares[3.0].mean() < 0.95


@pytest.mark.parametrize("context_dim", [1, 10, 300])
def test_logits_have_the_stated_variance_in_every_dimension(context_dim):
    sharpness = 2.0
    world = small_world(
        num_topics=400, num_items=2, context_dim=context_dim, interest_sharpness=sharpness
    )
    users = world.users("train", 0, torch.arange(2000))
    # Logits up to a shift for each user, which the variance over topics does not see.
    logits = users.tastes.double().log()
    variance = logits.var(dim=1).mean().item()
    assert variance == pytest.approx(sharpness**2, rel=0.25)


def test_tastes_are_smooth_in_the_context(world):
    contexts = world.users("train", 0, torch.arange(50)).contexts
    moved = world.tastes(contexts + 1e-3)
    assert (moved - world.tastes(contexts)).abs().max() < 0.05
    assert not torch.equal(moved, world.tastes(contexts))


def test_tastes_of_contexts_are_those_of_users(world):
    users = world.users("train", 0, torch.arange(50))
    assert torch.equal(world.tastes(users.contexts), users.tastes)
    assert torch.equal(world.interests(users.tastes), users.interests)


def test_cosines_through_topics_are_those_with_interests(world):
    users = world.users("train", 0, torch.arange(300))
    expected = users.interests.double() @ world.embeddings.double().T
    cosines = world.cosines(users.tastes)
    assert cosines.shape == (300, 150)
    np.testing.assert_allclose(cosines.double(), expected, atol=1e-6)


def test_an_even_mix_of_opposite_topics_is_still_an_interest():
    # Centres that cancel have no direction: whatever becomes of such users, they must not be NaN.
    world = make_world(
        embeddings=np.array([[1.0, 0.0], [-1.0, 0.0]]), num_topics=2, interest_sharpness=0.0
    )
    users = world.users("train", 0, torch.arange(5))
    assert torch.isfinite(users.tastes).all()
    assert torch.isfinite(world.mean_rewards(users.tastes)).all()


def test_world_holds_the_catalogue_on_its_device(world):
    assert world.device == torch.device("cpu")
    np.testing.assert_array_equal(world.embeddings.numpy(), world.catalogue.embeddings)
    np.testing.assert_allclose(world.popularity, world.catalogue.popularity, rtol=1e-6)
    assert world.popularity.dtype == torch.float32


def test_rows_at_a_time_bounds_memory():
    assert small_world(num_items=1, num_topics=1).rows_at_a_time == 1024
    world = small_world(num_items=20_000, embedding_dim=2)
    # Scores of 32 MB at the most, and not a user at a time where there is room for many.
    assert 16 <= world.rows_at_a_time <= 2**21 // 20_000


# Configuration


# Worlds of given embeddings


# Sharing
