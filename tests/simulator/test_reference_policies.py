"""Reference policies: what each shows, in what order they rank, and that they can be repeated."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats

from recsim_drpo.core.random_policies import PolicyStream
from recsim_drpo.core.transitions import Batch
from recsim_drpo.evaluation.bandit import Evaluator
from recsim_drpo.evaluation.sessions import SessionEvaluator
from recsim_drpo.ope.held_out import LogEvaluator
from recsim_drpo.simulator.config import LoggingConfig, SessionConfig
from recsim_drpo.simulator.logging_agent import LoggingAgent, mixture_weights
from recsim_drpo.simulator.reference_policies import (
    REFERENCES,
    SESSION_REFERENCES,
    reference_policy,
    session_logging_agent,
    session_reference_policy,
)
from recsim_drpo.simulator.sessions import Sessions

WARM = LoggingConfig(
    expert_temperature=0.3, popularity_temperature=0.5, popularity_bias=0.7, random_exponent=0.4
)


@pytest.mark.parametrize("name", ["random", "popularity", "expert", "logger"])
def test_acting_for_one_user_at_a_time(world, name):
    contexts = world.users("test", 0, torch.arange(30)).contexts
    together = reference_policy(name, world, seed=1).act(contexts)
    policy = reference_policy(name, world, seed=1)
    one_by_one = torch.cat([policy.act(context.unsqueeze(0)) for context in contexts])
    assert torch.equal(one_by_one, together)


def mean_reward(world, policy, users):
    items = world.decode(policy.act(users.contexts))
    return world.reward_of_items(items, users.interests).mean().item()


def test_reference_policies_rank_as_they_should(larger_world):
    users = larger_world.users("test", 0, torch.arange(4000))
    rewards = {
        name: mean_reward(larger_world, reference_policy(name, larger_world, "extreme"), users)
        for name in REFERENCES
    }
    assert rewards["random"] == pytest.approx(
        larger_world.mean_rewards(users.tastes).mean().item(), abs=0.02
    )
    assert rewards["random"] < rewards["popularity"] < rewards["expert"] < rewards["oracle"]
    assert rewards["random"] < rewards["logger"] < rewards["expert"]


def test_the_oracle_is_optimal(larger_world):
    users = larger_world.users("test", 3, torch.arange(300))
    actions = reference_policy("oracle", larger_world).act(users.contexts)
    cosines = users.interests.double() @ larger_world.embeddings.double().T
    best = cosines.max(dim=1).values
    shown = (actions.double() * users.interests.double()).sum(dim=1)
    np.testing.assert_allclose(shown, best, atol=1e-6)
    # Actions are rows of the catalogue, so that they decode to these very items.
    assert torch.equal(larger_world.decode(actions), cosines.argmax(dim=1))


def test_the_random_reference_shows_items_evenly(world):
    policy = reference_policy("random", world, seed=3)
    actions = torch.cat([policy.act(torch.zeros((n, 10))) for n in (1, 1999, 38_000)])
    items = world.decode(actions).numpy()
    assert stats.chisquare(np.bincount(items, minlength=20)).pvalue > 1e-3
    at_once = reference_policy("random", world, seed=3).act(torch.zeros((40_000, 10)))
    assert torch.equal(at_once, actions)
    other = reference_policy("random", world, seed=4).act(torch.zeros((40_000, 10)))
    assert (world.decode(other).numpy() == items).mean() < 0.1


@pytest.mark.parametrize("name", ["popularity", "expert"])
def test_component_references_are_that_component_alone(world, name):
    contexts = world.users("test", 0, torch.arange(50)).contexts
    policy = reference_policy(name, world, config=WARM, seed=8)
    expected = LoggingAgent(world, {name: 1.0}, WARM, 8).act(contexts)
    assert torch.equal(policy.act(contexts), expected)


def test_the_logger_reference_is_the_mixture(world):
    contexts = world.users("test", 0, torch.arange(50)).contexts
    policy = reference_policy("logger", world, "extreme", WARM, 8)
    assert torch.equal(policy.act(contexts), LoggingAgent(world, "extreme", WARM, 8).act(contexts))
    assert policy.policy.weights == mixture_weights("extreme")


def test_unknown_reference_policy(world):
    message = r"Unknown reference policy 'oracel'. Did you mean 'oracle'\? Known: expert, logger"
    with pytest.raises(ValueError, match=message):
        reference_policy("oracel", world)


@pytest.mark.parametrize("name", ["random", "logger", "expert"])
def test_reference_policies_check_their_seed(world, name):
    with pytest.raises(ValueError, match="seed=-1"):
        reference_policy(name, world, seed=-1)


def test_far_sighted_finds_the_optimum_of_a_small_problem(tiny_sessions, luck_of):
    """Two steps and no more worth having: brute force over all sequences of topics."""
    sessions = tiny_sessions(exposure_rate=0.8, leave_base=0.0, leave_boredom=1.0, satiation=0.9)
    policy = session_reference_policy("far-sighted", sessions)

    def best_return(state, depth):
        if depth == 0:
            return 0.0
        rewards, items = sessions.best_of_topics(state)
        values = []
        for column in range(2):
            step = sessions.step(state, items[:, column], luck_of(0.5))
            felt = state[0, 1 + int(sessions.topics[column])]
            stay = 1.0 - sessions.leaving(rewards[0, column], felt).item()
            rest = best_return(step.observations, depth - 1) if stay else 0.0
            values.append(rewards[0, column].item() + stay * rest)
        return max(values)

    def return_of(state, depth):
        if depth == 0:
            return 0.0
        item = sessions.world.decode(policy.act(state))
        step = sessions.step(state, item, luck_of(0.5))
        felt = state[0, 1 + int(step.topics[0])]
        stay = 1.0 - sessions.leaving(step.latent[0], felt).item()
        return step.latent.item() + stay * return_of(step.observations, depth - 1)

    start = torch.tensor([[0.3, 0.0, 0.0]])
    assert return_of(start, 9) == pytest.approx(best_return(start, 9), rel=0.02)


def test_foresight_pays_and_the_references_are_ordered(sessions):
    evaluator = SessionEvaluator(sessions, 500)
    played = {
        name: evaluator.play(session_reference_policy(name, sessions, "medium")).returns
        for name in SESSION_REFERENCES
    }
    mean = {name: returns.mean() for name, returns in played.items()}
    assert mean["random"] < mean["logger"] < mean["expert"] < mean["myopic"] < mean["far-sighted"]
    gain = played["far-sighted"] - 1.1 * played["myopic"]
    assert gain.mean() > 1.96 * gain.std() / math.sqrt(len(gain))
    with pytest.raises(ValueError, match="Did you mean 'far-sighted'"):
        session_reference_policy("farsighted", sessions)


def test_the_logging_agent_ignores_satiation(sessions, some_states):
    agent = session_logging_agent(sessions, {"expert": 1.0})
    assert isinstance(agent, LoggingAgent)
    sated = Sessions(sessions.world, SessionConfig(satiation=1.0))
    states = some_states(sessions, 20)
    other = session_logging_agent(sated, {"expert": 1.0})
    assert torch.equal(agent.act(states), other.act(states))


@pytest.mark.parametrize("name", REFERENCES)
def test_evaluating_a_reference_twice_gives_the_same(world, name):
    # More users than an evaluator asks for at once: rounds go on from call to call.
    evaluator = Evaluator(world, 9_000)
    policy = reference_policy(name, world)
    first = evaluator(policy)
    assert evaluator(policy) == first
    assert evaluator(reference_policy(name, world)) == first


@pytest.mark.parametrize("name", ["random", "logger"])
def test_evaluating_a_reference_in_sessions_twice_gives_the_same(sessions, name):
    evaluator = SessionEvaluator(sessions, 50)
    policy = session_reference_policy(name, sessions)
    first = evaluator(policy)
    assert evaluator(policy) == first
    assert evaluator(session_reference_policy(name, sessions)) == first


def test_evaluating_a_reference_on_held_out_rounds_twice_gives_the_same(world):
    users = world.users("test", 0, torch.arange(9_000))
    choices = LoggingAgent(world, "medium").choose(users.tastes, 0, torch.arange(9_000))
    rounds = Batch(
        users.contexts,
        world.embeddings[choices.items],
        world.reward_of_items(choices.items, users.interests),
        users.contexts,
        torch.ones(9_000, dtype=torch.bool),
        {"item_id": choices.items, "propensity": choices.propensities},
    )
    evaluator, policy = LogEvaluator(rounds, world.embeddings), reference_policy("logger", world)
    first = evaluator(policy)
    assert first.matches > 0
    assert evaluator(policy) == first
    assert evaluator(reference_policy("logger", world)) == first


def test_evaluating_the_logging_agent_is_evaluating_its_stream(world):
    agent, evaluator = LoggingAgent(world, "medium", WARM, 3), Evaluator(world, 9_000)
    assert evaluator(agent) == evaluator(PolicyStream(agent)) == evaluator(agent)
    users = world.users("test", 0, torch.arange(9_000))
    items = world.decode(agent.act(users.contexts, torch.arange(9_000)))
    expected = world.reward_of_items(items, users.interests).double().mean().item()
    assert evaluator(agent).reward.value == pytest.approx(expected, rel=1e-6)
