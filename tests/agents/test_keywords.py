"""Every keyword of every agent and configuration, given anything: an answer or one clear line."""

from __future__ import annotations

from dataclasses import fields

import pytest
import torch
from hypothesis import given, settings

from recsim_drpo.agents import make_agent
from recsim_drpo.agents.registry import ALGORITHMS
from recsim_drpo.core.transitions import Transitions
from recsim_drpo.simulator.config import LoggingConfig, SessionConfig, WorldConfig
from recsim_drpo.simulator.logging_agent import LoggingAgent
from recsim_drpo.simulator.world import make_world
from recsim_drpo.training.config import TrainingConfig
from recsim_drpo.training.loop import train
from tests.anything import ANYTHING, a_machine_of, refused_in_one_line

DIMS = {"observation_dim": 3, "action_dim": 2, "hidden_dim": 4}
# Of each way in which a hyper-parameter is declared, an agent that has it.
DECLARED = {
    (field.name, str(field.type), repr(field.default)): (name, field.name)
    for name in sorted(ALGORITHMS)
    for field in fields(ALGORITHMS[name].config)
}
KEYWORDS = sorted(
    {*DECLARED.values()}
    | {("bc", name) for name in (*DIMS, "seed", "device", "dtype", "precision", "execution")}
)
FIELDS = [
    (config, field.name)
    for config in (LoggingConfig, TrainingConfig, SessionConfig, WorldConfig)
    for field in fields(config)
]


@pytest.fixture(autouse=True, scope="module")
def small_machine():
    with a_machine_of(2**26):
        yield


@pytest.mark.parametrize(("name", "keyword"), KEYWORDS)
@settings(max_examples=12, deadline=None)
@given(value=ANYTHING)
def test_any_value_makes_an_agent_that_acts_or_is_refused(name, keyword, value):
    def attempt() -> None:
        agent = make_agent(name, **DIMS | {keyword: value})
        actions = agent.act(torch.zeros(2, agent.observation_dim))
        assert actions.shape == (2, agent.action_dim)
        assert torch.isfinite(actions).all()

    refused_in_one_line(attempt)


@pytest.mark.parametrize(("config", "field"), FIELDS)
@settings(max_examples=25, deadline=None)
@given(value=ANYTHING)
def test_any_value_is_kept_plainly_or_refused(config, field, value):
    def attempt() -> None:
        made = config(**{field: value})
        assert type(getattr(made, field)) in (int, float, bool, str, type(None))
        hash(made)

    refused_in_one_line(attempt)


@pytest.mark.parametrize("field", [field.name for field in fields(LoggingConfig)])
@pytest.mark.parametrize("popularity_exponent", [0.0, 1.0, 20.0])
@settings(max_examples=25, deadline=None)
@given(value=ANYTHING)
def test_any_logging_agent_draws_items_with_their_probabilities(popularity_exponent, field, value):
    world = make_world(
        num_items=40, embedding_dim=4, num_topics=3, popularity_exponent=popularity_exponent
    )
    tastes = world.users("train", 0, torch.arange(6)).tastes

    def attempt() -> None:
        agent = LoggingAgent(world, "medium", LoggingConfig(**{field: value}))
        probabilities = agent.probabilities(tastes)
        torch.testing.assert_close(probabilities.sum(1), torch.ones(6, dtype=torch.float64))
        drawn = agent.choose(tastes, 0, torch.arange(6))
        expected = probabilities.gather(1, drawn.items.unsqueeze(1)).squeeze(1)
        torch.testing.assert_close(drawn.propensities, expected, rtol=1e-3, atol=0.0)

    refused_in_one_line(attempt)


@pytest.mark.parametrize(
    "sizes",
    [
        {"hidden_dim": 10**7},
        {"hidden_dim": 10**400},
        {"observation_dim": 2**63},
        {"action_dim": 10**13},
    ],
    ids=lambda sizes: next(iter(sizes)),
)
def test_networks_that_would_not_fit_say_what_they_take(sizes):
    with pytest.raises(ValueError, match=r"would take .* of memory, and there are .*; make the"):
        make_agent("bc", **DIMS | sizes)


def test_a_batch_that_would_not_fit_says_what_it_takes():
    zeros, width = torch.zeros(5), 1_000_000
    log = Transitions(
        torch.zeros(10, 3), torch.arange(5) * 2, torch.zeros(5, width), zeros, zeros == 0.0, {}
    )
    agent = make_agent("bc", observation_dim=3, action_dim=width, hidden_dim=1)
    with pytest.raises(ValueError, match=r"batch_size=16777216 .* would take .* of memory"):
        train(agent, log, TrainingConfig(steps=1, batch_size=2**24), progress=False)
