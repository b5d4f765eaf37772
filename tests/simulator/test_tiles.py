"""Catalogues too large for whole rows of scores: tiles find the same items and probabilities."""

from __future__ import annotations

import hashlib
import subprocess
import sys

import numpy as np
import pytest
import torch

from recsim_drpo.core import rng
from recsim_drpo.core.rng import Stream
from recsim_drpo.datasets.generate import simulate_transitions
from recsim_drpo.simulator import tiles
from recsim_drpo.simulator.config import LoggingConfig, WorldConfig
from recsim_drpo.simulator.described_catalogue import catalogue_of_array
from recsim_drpo.simulator.logging_agent import LoggingAgent
from recsim_drpo.simulator.sessions import Sessions
from recsim_drpo.simulator.world import World

MIXTURE = {"random": 0.2, "popularity": 0.4, "expert": 0.4}
CONFIGS = [
    LoggingConfig(),
    LoggingConfig(expert_temperature=2.0, popularity_temperature=1.0, popularity_bias=3.0),
    LoggingConfig(popularity_bias=0.0, random_exponent=0.0),
]
NUM_ITEMS = tiles.LARGE + 1_001  # the last tile is not full
USERS = 200  # nor is the last block of users


@pytest.fixture(scope="module", autouse=True)
def _small_tiles():
    """Two blocks of users, for which 512 at a time would need thousands of rows."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiles, "_CPU_TILE", (128, 1_024))
        yield


@pytest.fixture(scope="module")
def world() -> World:
    return World(WorldConfig(num_items=NUM_ITEMS, embedding_dim=8, num_topics=6))


@pytest.fixture(scope="module")
def tastes(world):
    return world.users("train", 0, torch.arange(USERS)).tastes


def item_quantiles(seed, count):
    """The uniform numbers that items are drawn with."""
    words = rng.philox_4x32(torch.tensor(seed), Stream.LOGGING_POLICY, torch.arange(count), 3)
    return rng.uniform_52bit(words[:, 1], words[:, 2])


@pytest.mark.parametrize("config", CONFIGS)
def test_propensities_are_those_of_whole_rows(world, tastes, config):
    agent = LoggingAgent(world, MIXTURE, config)
    choices = agent.choose(tastes, 3, torch.arange(USERS))
    expected = agent.probabilities(tastes).gather(1, choices.items.unsqueeze(1)).squeeze(1)
    np.testing.assert_allclose(choices.propensities, expected, rtol=2e-5, atol=1e-12)


@pytest.mark.parametrize("component", ["popularity", "expert"])
@pytest.mark.parametrize("config", CONFIGS)
def test_items_are_those_of_the_quantile_among_all(world, tastes, config, component):
    agent = LoggingAgent(world, {component: 1.0}, config)
    choices = agent.choose(tastes, 3, torch.arange(USERS))
    upper = agent.probabilities(tastes).cumsum(dim=1)
    rows, quantiles = torch.arange(USERS), item_quantiles(3, USERS)
    # Sums in float32 within 64 items and scores in float32: quantiles are right to their rounding.
    before = torch.where(choices.items > 0, upper[rows, (choices.items - 1).clamp_min(0)], 0.0)
    assert torch.all(before <= quantiles + 1e-5)
    assert torch.all(quantiles <= upper[rows, choices.items] + 1e-5)
    exact = torch.searchsorted(upper, quantiles.unsqueeze(1), right=True).squeeze(1)
    assert (exact == choices.items).double().mean() > 0.9


def test_random_items_are_those_of_small_catalogues(world, tastes):
    agent = LoggingAgent(world, {"random": 1.0})
    choices = agent.choose(tastes, 3, torch.arange(USERS))
    upper = torch.from_numpy(world.catalogue.popularity).cumsum(0)
    expected = torch.searchsorted(upper, item_quantiles(3, USERS) * upper[-1], right=True)
    assert torch.equal(choices.items, expected)


def test_the_best_items_and_mean_rewards(world, tastes):
    cosines = world.cosines(tastes).double()
    best = cosines.argmax(dim=1)
    assert torch.equal(world.best_items(tastes), best)
    assert torch.equal(LoggingAgent(world, MIXTURE).choose(tastes, 0, best).oracle_items, best)
    expected = torch.exp((cosines - 1.0) / (2.0 * world.config.delta**2)).mean(dim=1)
    np.testing.assert_allclose(world.mean_rewards(tastes), expected, rtol=1e-5)


@pytest.mark.parametrize("config", CONFIGS)
def test_expected_shares_are_the_mean_probabilities(world, tastes, config):
    agent = LoggingAgent(world, MIXTURE, config)
    expected = agent.probabilities(tastes).mean(dim=0)
    np.testing.assert_allclose(agent.expected_item_shares(tastes), expected, rtol=2e-5, atol=1e-12)


def test_choices_depend_on_neither_batch_nor_order(world, tastes):
    agent = LoggingAgent(world, MIXTURE)
    together = agent.choose(tastes, 5, torch.arange(USERS))
    order = torch.from_numpy(np.random.default_rng(0).permutation(USERS))
    shuffled = agent.choose(tastes[order], 5, order)
    assert (shuffled.items == together.items[order]).double().mean() > 0.99
    assert torch.equal(shuffled.policies, together.policies[order])
    assert torch.equal(shuffled.oracle_items, together.oracle_items[order])


@pytest.fixture(scope="module")
def twins():
    """The best item of every user twice, in tiles far from each other."""
    vectors = np.random.default_rng(0).standard_normal((NUM_ITEMS // 2, 4)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    config = WorldConfig(num_topics=4)
    return World(config, catalogue=catalogue_of_array(np.concatenate((vectors, vectors)), config))


@pytest.mark.parametrize("temperature", [1e-30, 1e-12])
def test_no_temperature_is_too_cold(twins, temperature):
    tastes = twins.users("train", 0, torch.arange(USERS)).tastes
    config = LoggingConfig(expert_temperature=temperature, popularity_temperature=temperature)
    choices = LoggingAgent(twins, {"expert": 1.0}, config).choose(tastes, 1, torch.arange(USERS))
    half = NUM_ITEMS // 2
    assert torch.equal(choices.oracle_items, choices.items % half)
    assert torch.all(choices.propensities == 0.5)
    assert 0.35 < (choices.items < half).double().mean() < 0.65


def test_no_bias_is_too_strong(world, tastes):
    config = LoggingConfig(popularity_bias=200.0)
    choices = LoggingAgent(world, {"popularity": 1.0}, config).choose(
        tastes, 1, torch.arange(USERS)
    )
    assert torch.all(choices.items == int(world.catalogue.popularity.argmax()))
    np.testing.assert_allclose(choices.propensities, 1.0)


@pytest.mark.parametrize("temperature", [0.05, 1.0])
def test_a_narrow_bias_needs_no_search_for_the_largest_weight(world, tastes, temperature):
    generator = torch.Generator().manual_seed(0)
    bias = (tiles.NARROW - 1.0) * torch.rand(NUM_ITEMS, generator=generator)
    narrow = tiles.Softmax.biased(temperature, bias, world.device)
    assert narrow.takes_cosines
    assert not tiles.Softmax.biased(temperature, 2.0 * bias, world.device).is_narrow
    searched = narrow._replace(is_narrow=False)
    one, other = (world.scan(tastes[:100], (softmax,)) for softmax in (narrow, searched))
    torch.testing.assert_close(one.shares[0], other.shares[0], rtol=1e-4, atol=1e-9)
    torch.testing.assert_close(one.log_totals[0], other.log_totals[0], rtol=1e-5, atol=1e-5)
    cosines = world.cosines(tastes[:100]).to(torch.float64)
    below = bias - bias.amax()
    exact = torch.logsumexp((cosines - one.best) / temperature + below, dim=1) / np.log(2.0)
    torch.testing.assert_close(one.log_totals[0].squeeze(1), exact, rtol=1e-5, atol=1e-5)
    near = world.tile_of_each(tastes[:100], torch.arange(100) % one.shares[0].shape[1])
    one, other = (near.weights(softmax) for softmax in (narrow, searched))
    torch.testing.assert_close(
        one / one.sum(dim=1, keepdim=True),
        other / other.sum(dim=1, keepdim=True),
        rtol=1e-4,
        atol=0,
    )


def test_weights_of_cosines_are_taken_where_all_are_within_float32(world, tastes):
    assert tiles.Softmax(0.0169).takes_cosines  # 2^±85 at the logging agent's own temperature
    assert not tiles.Softmax(0.01).takes_cosines  # 2^±144
    cosines = world.cosines(tastes[:100]).to(torch.float64)
    for temperature in (0.0135, 0.0129):  # on both sides of where weights become relative
        softmax = tiles.Softmax(temperature)
        assert softmax.takes_cosines == (temperature == 0.0135)
        scan = world.scan(tastes[:100], (softmax,))
        exact = torch.logsumexp((cosines - scan.best) / temperature, dim=1) / np.log(2.0)
        torch.testing.assert_close(scan.log_totals[0].squeeze(1), exact, rtol=1e-5, atol=1e-5)


def test_of_equal_items_in_several_tiles_the_first_is_the_best():
    cosines = torch.zeros(2, 3 * 2048)
    cosines[0, [100, 2100, 5000]] = 1.0
    cosines[1, [2048, 4096]] = 1.0
    cosines[1, 7] = 0.5
    scan = tiles.scan(torch.eye(2), cosines, ())
    assert scan.best_items.tolist() == [100, 2048]
    assert scan.best.tolist() == [[1.0], [1.0]]
    assert tiles.scan(torch.eye(2), -torch.ones(2, 5000), ()).best_items.tolist() == [0, 0]


def test_a_tile_without_weight_is_never_drawn():
    weights = torch.tensor([[0.0, 0.5, 0.0, 0.5, 0.0]], dtype=torch.float64).expand(5, -1)
    quantiles = torch.tensor([1e-17, 0.25, 0.5, 0.75, 1.0 - 2**-53], dtype=torch.float64)
    drawn, rest = tiles.draw_tile(weights, quantiles)
    assert drawn.tolist() == [1, 1, 3, 3, 3]
    np.testing.assert_allclose(rest, [0.0, 0.5, 0.0, 0.5, 1.0], atol=1e-12)
    assert torch.all(rest < 1.0)


def test_the_best_of_each_topic(world):
    sessions = Sessions(world)
    states = sessions.begin("train", 0, torch.arange(200))
    rewards, items = sessions.best_of_topics(states)
    cosines = world.cosines(sessions.tastes(states))
    for column, topic in enumerate(sessions.topics):
        others = cosines.masked_fill(world.topics != topic, -2.0)
        assert torch.equal(items[:, column], others.argmax(dim=1))
        np.testing.assert_allclose(
            rewards[:, column], world.latent_reward(others.amax(dim=1)), rtol=1e-5
        )


# Logs of the registered worlds stay what they are: only larger catalogues go by tiles.


@pytest.mark.parametrize(
    ("env", "scenario", "checksum"),
    [
        ("RecSimZipf-v0", "medium", "afbe85c77db86411"),
        ("RecSimZipf-v0", "extreme", "6793a4121507fd06"),
        ("RecSimZipfSession-v0", "extreme", "4d95a9e7f5ba6e3a"),
    ],
)
def test_logs_of_the_registered_worlds_stay(env, scenario, checksum):
    infos = ("item_id", "policy")
    log = simulate_transitions(env=env, scenario=scenario, num_rounds=1_500, infos=infos)
    digest = hashlib.sha256()
    for name in infos:
        digest.update(log.infos[name].to(torch.int64).numpy().tobytes())
    assert digest.hexdigest()[:16] == checksum


MEMORY = """
import resource, torch
from recsim_drpo.simulator.logging_agent import LoggingAgent
from recsim_drpo.simulator.world import make_world
world = make_world(num_items=200_000, embedding_dim=16)
agent = LoggingAgent(world, "extreme")
peaks = []
for rounds in (256, 2_560):
    tastes = world.users("train", 0, torch.arange(rounds)).tastes
    agent.choose(tastes, 0, torch.arange(rounds))
    peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
print(peaks[1] - peaks[0])
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_rounds():
    # Whole rows, 800 KB a user, left holes that the allocator could not fill: gigabytes.
    grown = subprocess.run(
        [sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True
    ).stdout
    assert int(grown) < 20_000  # KB
