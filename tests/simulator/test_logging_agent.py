"""The logging agent: its draws follow its propensities, and these are exact."""

import numpy as np
import pytest
import torch
from scipy import stats

from recsim_drpo.core import rng
from recsim_drpo.core.random_policies import PolicyStream
from recsim_drpo.simulator.config import POLICIES, LoggingConfig, WorldConfig
from recsim_drpo.simulator.logging_agent import LoggingAgent, _drawn_where, mixture_weights
from recsim_drpo.simulator.world import World, make_world

MIXTURE = {"random": 0.3, "popularity": 0.3, "expert": 0.4}
# Warm enough that every item of a small catalogue is shown now and then.
WARM = LoggingConfig(
    expert_temperature=0.3, popularity_temperature=0.5, popularity_bias=0.7, random_exponent=0.4
)
CONFIGS = [
    WARM,
    LoggingConfig(),
    LoggingConfig(0.05, 0.02, popularity_bias=0.0, random_exponent=0.0),
    LoggingConfig(2.0, 1.0, popularity_bias=3.0, random_exponent=2.0),
]


@pytest.fixture(scope="module")
def one_user(world):
    """One user asked 50,000 times, what was shown, and the exact probabilities."""
    tastes = world.users("train", 0, torch.tensor([3])).tastes
    choices = LoggingAgent(world, MIXTURE, WARM).choose(
        tastes.expand(50_000, -1), 11, torch.arange(50_000)
    )
    components = component_probabilities(world, tastes, WARM)
    weights = mixture_weights(MIXTURE)
    mixture = sum(w * p for w, p in zip(weights, components, strict=True))
    return choices, [p[0] for p in components], mixture[0]


def softmax(logits):
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def component_probabilities(world, tastes, config, cosines=None):
    """π_random, π_popularity and π_expert, each (B, N), from the formulas in float64."""
    popularity = world.catalogue.popularity
    if cosines is None:
        interests = tastes.double().numpy() @ world.catalogue.topic_centres.astype(np.float64)
        cosines = interests @ world.catalogue.embeddings.astype(np.float64).T
    organic = popularity**config.random_exponent
    random = np.broadcast_to(organic / organic.sum(), cosines.shape)
    favoured = cosines / config.popularity_temperature
    favoured = favoured + config.popularity_bias * np.log(popularity)
    return [random, softmax(favoured), softmax(cosines / config.expert_temperature)]


def assert_frequencies(items, probabilities):
    counts = np.bincount(items, minlength=len(probabilities))
    assert counts.sum() * probabilities.min() > 5, "too few draws for a chi-square test"
    assert stats.chisquare(counts, probabilities * counts.sum()).pvalue > 1e-3


# Mixture weights


@pytest.mark.parametrize(
    ("scenario", "weights"),
    [
        ("medium", (0.30, 0.60, 0.10)),
        ("extreme", (0.90, 0.05, 0.05)),
        ({"expert": 1.0}, (0.0, 0.0, 1.0)),
        ({"popularity": 0.25, "random": 0.75}, (0.75, 0.25, 0.0)),
        ({"random": 1, "expert": 0}, (1.0, 0.0, 0.0)),
        ({"random": 1 / 3, "popularity": 1 / 3, "expert": 1 / 3}, (1 / 3, 1 / 3, 1 / 3)),
    ],
)
def test_weights_come_in_the_order_of_policies(scenario, weights):
    assert POLICIES == ("random", "popularity", "expert")
    assert mixture_weights(scenario) == pytest.approx(weights, abs=1e-12)


def test_rounding_of_the_sum_is_forgiven_and_mended():
    weights = mixture_weights({"random": 0.3333333, "popularity": 0.3333333, "expert": 0.3333333})
    assert sum(weights) == pytest.approx(1.0, abs=1e-15)


@pytest.mark.parametrize(
    ("scenario", "message"),
    [
        ("mediun", r"Unknown scenario 'mediun'. Did you mean 'medium'\? Known: extreme, medium"),
        ({"experts": 1.0}, r"Unknown component of the logging agent 'experts'. Did you mean 'exp"),
        ({"random": -0.5, "expert": 1.5}, r"weight of 'random'=-0\.5 is not a number in \[0, 1\]"),
        ({"random": 1.5}, r"weight of 'random'=1\.5 is not a number in \[0, 1\]"),
        ({"random": float("nan")}, r"weight of 'random'=nan"),
        ({"random": "1"}, r"weight of 'random'='1'"),
        ({"random": 0.5, "expert": 0.4}, r"sum to 0\.9; they must sum to 1"),
        ({"random": 1.0, "expert": 0.1}, r"sum to 1\.1; they must sum to 1"),
        ({}, r"sum to 0; they must sum to 1"),
    ],
)
def test_bad_weights(scenario, message):
    with pytest.raises(ValueError, match=message):
        mixture_weights(scenario)


@pytest.mark.parametrize("seed", [-1, 2**63, 1.5])
def test_seed_out_of_range(world, seed):
    with pytest.raises(ValueError, match="seed="):
        LoggingAgent(world, "medium", seed=seed)


# Propensities


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("scenario", ["medium", "extreme", MIXTURE, {"expert": 1.0}])
def test_propensities_are_those_of_the_mixture(larger_world, scenario, config):
    world = larger_world
    tastes = world.users("train", 5, torch.arange(1500)).tastes
    choices = LoggingAgent(world, scenario, config).choose(tastes, 2, torch.arange(1500))
    assert choices.propensities.dtype == torch.float64
    # From the same float32 cosines: these divided by a low temperature carry their own rounding.
    cosines = world.cosines(tastes).double().numpy()
    components = component_probabilities(world, tastes, config, cosines)
    weights = mixture_weights(scenario)
    mixture = sum(w * p for w, p in zip(weights, components, strict=True))
    expected = mixture[np.arange(1500), choices.items.numpy()]
    np.testing.assert_allclose(choices.propensities, expected, rtol=1e-5)


def test_propensities_from_embeddings_alone(larger_world):
    # Independently of how the world computes cosines, all in float64.
    tastes = larger_world.users("train", 5, torch.arange(500)).tastes
    choices = LoggingAgent(larger_world, MIXTURE, WARM).choose(tastes, 2, torch.arange(500))
    components = component_probabilities(larger_world, tastes, WARM)
    mixture = sum(w * p for w, p in zip(mixture_weights(MIXTURE), components, strict=True))
    expected = mixture[np.arange(500), choices.items.numpy()]
    np.testing.assert_allclose(choices.propensities, expected, rtol=1e-5)


def test_frequencies_follow_the_propensities(one_user):
    choices, _, mixture = one_user
    assert_frequencies(choices.items.numpy(), mixture)
    np.testing.assert_allclose(choices.propensities, mixture[choices.items.numpy()], rtol=1e-5)


@pytest.mark.parametrize("code", range(3))
def test_each_component_draws_from_its_own_distribution(one_user, code):
    choices, components, _ = one_user
    mine = choices.items[choices.policies == code].numpy()
    assert len(mine) > 10_000
    assert_frequencies(mine, components[code])


def test_inverse_propensities_average_to_the_number_of_items(one_user):
    choices, _, mixture = one_user
    inverse = 1.0 / choices.propensities.numpy()
    # Exact variance of 1 / π(i) under π.
    error = np.sqrt((np.sum(1.0 / mixture) - 20.0**2) / len(inverse))
    assert error < 0.5
    assert abs(inverse.mean() - 20.0) < 5 * error


def test_inverse_propensities_over_many_users(larger_world):
    tastes = larger_world.users("train", 6, torch.arange(20_000)).tastes
    choices = LoggingAgent(larger_world, "extreme", WARM).choose(tastes, 3, torch.arange(20_000))
    inverse = 1.0 / choices.propensities.numpy()
    assert inverse.mean() == pytest.approx(300, abs=5 * inverse.std() / np.sqrt(len(inverse)))


@pytest.mark.parametrize("scenario", ["medium", "extreme", MIXTURE, {"popularity": 1.0}])
def test_shares_of_the_components(world, scenario):
    tastes = world.users("train", 0, torch.arange(30_000)).tastes
    policies = LoggingAgent(world, scenario).choose(tastes, 4, torch.arange(30_000)).policies
    assert policies.dtype == torch.int8
    shares = np.bincount(policies.numpy(), minlength=3) / 30_000
    weights = np.array(mixture_weights(scenario))
    assert len(shares) == 3
    assert np.all(np.abs(shares - weights) <= 5 * np.sqrt(weights * (1 - weights) / 30_000))


def test_the_component_does_not_depend_on_the_user(one_user, world):
    others = world.users("train", 0, torch.arange(50_000)).tastes
    choices = LoggingAgent(world, MIXTURE, WARM).choose(others, 11, torch.arange(50_000))
    assert torch.equal(choices.policies, one_user[0].policies)


def test_oracle_items_are_the_best(larger_world):
    users = larger_world.users("train", 1, torch.arange(400))
    choices = LoggingAgent(larger_world, "medium").choose(users.tastes, 0, torch.arange(400))
    cosines = users.interests.double() @ larger_world.embeddings.double().T
    assert torch.equal(choices.oracle_items, cosines.argmax(dim=1))


# Purity


def assert_same_choices(first, second):
    assert torch.equal(first.items, second.items)
    assert torch.equal(first.policies, second.policies)
    assert torch.equal(first.oracle_items, second.oracle_items)
    np.testing.assert_allclose(first.propensities, second.propensities, rtol=2e-5)


def test_choices_do_not_depend_on_the_batch(world):
    agent = LoggingAgent(world, MIXTURE, WARM)
    tastes = world.users("train", 0, torch.arange(600)).tastes
    rounds = torch.arange(600) * 7 + 2**33
    together = agent.choose(tastes, 5, rounds)
    pieces = [agent.choose(tastes[s], 5, rounds[s]) for s in torch.arange(600).split([1, 99, 500])]
    joined = type(together)(*(torch.cat(column) for column in zip(*pieces, strict=True)))
    assert_same_choices(joined, together)
    order = torch.from_numpy(np.random.default_rng(0).permutation(600))
    shuffled = agent.choose(tastes[order], 5, rounds[order])
    assert_same_choices(shuffled, type(together)(*(column[order] for column in together)))


def test_choices_do_not_depend_on_blocks_of_users(larger_world):
    agent = LoggingAgent(larger_world, MIXTURE, WARM)
    tastes = larger_world.users("train", 0, torch.arange(2500)).tastes
    assert larger_world.rows_at_a_time < 2500
    together = agent.choose(tastes, 5, torch.arange(2500))
    tail = agent.choose(tastes[2000:], 5, torch.arange(2000, 2500))
    assert_same_choices(tail, type(together)(*(column[2000:] for column in together)))


def test_seeds_and_rounds_make_other_choices(world):
    agent = LoggingAgent(world, MIXTURE, WARM)
    tastes = world.users("train", 0, torch.arange(200)).tastes
    first = agent.choose(tastes, 5, torch.arange(200))
    assert_same_choices(agent.choose(tastes, 5, torch.arange(200)), first)
    for other in (
        agent.choose(tastes, 6, torch.arange(200)),
        agent.choose(tastes, 5, torch.arange(200, 400)),
    ):
        assert (other.items == first.items).float().mean() < 0.5
        assert torch.equal(other.oracle_items, first.oracle_items)


def test_choosing_leaves_its_arguments_alone(world):
    agent = LoggingAgent(world, MIXTURE, WARM)
    tastes = world.users("train", 0, torch.arange(50)).tastes
    before, cosines = tastes.clone(), world.cosines(tastes).clone()
    agent.choose(tastes, 0, torch.arange(50))
    assert torch.equal(tastes, before)
    assert torch.equal(world.cosines(tastes), cosines)


def test_batches_of_one_that_leave_components_without_users(world):
    agent = LoggingAgent(world, MIXTURE, WARM)
    tastes = world.users("train", 0, torch.arange(40)).tastes
    together = agent.choose(tastes, 5, torch.arange(40))
    assert set(together.policies.tolist()) == {0, 1, 2}
    for row in range(40):
        rows = slice(row, row + 1)
        alone = agent.choose(tastes[rows], 5, torch.arange(40)[rows])
        assert_same_choices(alone, type(together)(*(column[rows] for column in together)))


def test_choosing_for_nobody(world):
    choices = LoggingAgent(world, "medium").choose(
        torch.empty((0, 4)), 0, torch.empty(0, dtype=torch.int64)
    )
    assert all(column.shape == (0,) for column in choices)


def test_acting_shows_the_embeddings_of_the_items_chosen(world):
    users = world.users("train", 0, torch.arange(90))
    agent = LoggingAgent(world, MIXTURE, WARM, seed=21)
    choices = agent.choose(users.tastes, 21, torch.arange(90))
    actions = agent.act(users.contexts)
    assert torch.equal(actions, world.embeddings[choices.items])
    assert torch.equal(agent.act(users.contexts), actions)
    rest = agent.act(users.contexts[30:], torch.arange(30, 90))
    assert torch.equal(rest, actions[30:])
    # A stream numbers its rounds on from one call to the next.
    stream = PolicyStream(agent)
    parts = [stream.act(users.contexts[:30]), stream.act(users.contexts[30:])]
    assert torch.equal(torch.cat(parts), actions)
    again = LoggingAgent(world, MIXTURE, WARM, seed=22).act(users.contexts)
    assert not torch.equal(again, actions)


def test_acting_takes_numpy_contexts(world):
    contexts = world.users("train", 0, torch.arange(9)).contexts
    first = LoggingAgent(world, MIXTURE, WARM).act(contexts.numpy())
    assert torch.equal(first, LoggingAgent(world, MIXTURE, WARM).act(contexts))


# Expected shares


@pytest.mark.parametrize("config", CONFIGS)
def test_expected_shares_equal_brute_force(larger_world, config):
    tastes = larger_world.users("train", 2, torch.arange(1500)).tastes
    shares = LoggingAgent(larger_world, MIXTURE, config).expected_item_shares(tastes)
    assert shares.dtype == torch.float64
    assert shares.shape == (300,)
    assert shares.sum().item() == pytest.approx(1.0, abs=1e-9)
    cosines = larger_world.cosines(tastes).double().numpy()
    components = component_probabilities(larger_world, tastes, config, cosines)
    mixture = sum(w * p for w, p in zip(mixture_weights(MIXTURE), components, strict=True))
    np.testing.assert_allclose(shares, mixture.mean(axis=0), rtol=1e-5)


def test_frequencies_over_users_follow_the_expected_shares(world):
    tastes = world.users("train", 8, torch.arange(40_000)).tastes
    agent = LoggingAgent(world, MIXTURE, WARM)
    shares = agent.expected_item_shares(tastes).numpy()
    items = agent.choose(tastes, 9, torch.arange(40_000)).items.numpy()
    counts = np.bincount(items, minlength=20)
    # Users differ, which only makes counts vary less than multinomial ones.
    assert np.all(np.abs(counts - 40_000 * shares) < 5 * np.sqrt(40_000 * shares))


# Sampling


@pytest.mark.parametrize("temperature", [1e-4, 1e-8, 1e-20, 1e-37, 1e-40, 1e-200, 1e-310])
def test_a_cold_expert_is_the_oracle(larger_world, temperature):
    # All weights but the best item's underflow: no other item may be shown, nor a NaN appear.
    config = LoggingConfig(expert_temperature=temperature, popularity_temperature=temperature)
    tastes = larger_world.users("train", 0, torch.arange(300)).tastes
    margin = larger_world.cosines(tastes).topk(2, dim=1).values
    clear = margin[:, 0] - margin[:, 1] > 0.005
    assert clear.sum() > 200
    for name in ("expert", "popularity"):
        agent = LoggingAgent(larger_world, {name: 1.0}, config)
        choices = agent.choose(tastes, 0, torch.arange(300))
        assert torch.equal(choices.items[clear], choices.oracle_items[clear])
        np.testing.assert_allclose(choices.propensities[clear], 1.0, rtol=1e-6)
        assert torch.isfinite(choices.propensities).all()
        assert agent.expected_item_shares(tastes).sum().item() == pytest.approx(1.0, abs=1e-9)


def test_items_of_no_organic_popularity_are_not_shown(larger_world):
    config = LoggingConfig(random_exponent=30.0, popularity_bias=60.0, popularity_temperature=10.0)
    top = int(larger_world.catalogue.popularity.argmax())
    tastes = larger_world.users("train", 0, torch.arange(2000)).tastes
    for name in ("random", "popularity"):
        agent = LoggingAgent(larger_world, {name: 1.0}, config)
        assert set(agent.choose(tastes, 0, torch.arange(2000)).items.tolist()) == {top}


def test_one_item(world):
    single = World(WorldConfig(num_items=1, embedding_dim=2, num_topics=1))
    tastes = single.users("train", 0, torch.arange(20)).tastes
    choices = LoggingAgent(single, MIXTURE).choose(tastes, 0, torch.arange(20))
    assert choices.items.tolist() == [0] * 20
    np.testing.assert_allclose(choices.propensities, 1.0, rtol=1e-6)


# Reference policies


def test_a_popularity_bias_that_drowns_every_match():
    """In float32 the product of bias and match would vanish for all items of most users."""
    world = make_world(num_items=300, embedding_dim=16, num_topics=5, popularity_exponent=20.0)
    config = LoggingConfig(popularity_temperature=1e-4)
    users = world.users("train", 0, torch.arange(500))
    agent = LoggingAgent(world, {"popularity": 1.0}, config)
    choices = agent.choose(users.tastes, 0, torch.arange(500))
    probabilities = agent.probabilities(users.tastes)
    expected = probabilities.gather(1, choices.items[:, None])[:, 0]
    np.testing.assert_allclose(choices.propensities, expected, rtol=1e-2, atol=1e-9)
    assert (probabilities.sum(1) - 1).abs().max() < 1e-9


@pytest.mark.parametrize("scenario", [None, ["medium"], 3])
def test_scenarios_that_are_none(scenario):
    with pytest.raises(ValueError, match="neither a name nor weights"):
        mixture_weights(scenario)


def test_a_config_that_is_none(world):
    with pytest.raises(ValueError, match="is a LoggingConfig"):
        LoggingAgent(world, "medium", {"expert_temperature": 1.0})


def test_items_drawn_for_some_are_those_drawn_for_all():
    """A CPU draws for the chosen users alone, other devices for all of them."""
    generator = torch.Generator().manual_seed(0)
    affinities = torch.rand(50, 300, generator=generator)
    uniforms = torch.rand(50, generator=generator, dtype=torch.float64)
    chosen, items = torch.arange(50) % 3 == 0, torch.full((50,), 299)
    for_all = torch.where(chosen, rng.categorical(affinities, uniforms), items)
    assert torch.equal(_drawn_where(chosen, affinities, uniforms, items.clone()), for_all)
    assert len(for_all.unique()) > 10
