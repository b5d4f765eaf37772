from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from scipy.special import expit

from recsim_drpo import make_agent
from recsim_drpo.agents import Fleet
from recsim_drpo.simulator.decoder import ExactDecoder, decode
from tests.agents.algorithms.conftest import REWARDS, TINY, VALUE, linear_parameters, loss_of
from tests.agents.conftest import DIMS, make_batch, transitions_of

# μ(s) = s and b(s) = 0.5 s_0 + 0.25 s_1 + 0.1: μ·a is 0, 1, 4, 1 and b is 0.1, 0.6, 0.6, 0.85.
SCORES = np.array([0.1, 1.6, 4.6, 1.85])
SQUARES = np.array([0.0, 1.0, 4.0, 2.0])


def parameters_by_hand():
    parameters = linear_parameters(baseline=VALUE)
    del parameters["log_std"]
    return parameters


def cross_entropies(rewards, scores=SCORES):
    shares = expit(scores)
    return -(rewards * np.log(shares) + (1.0 - rewards) * np.log(1.0 - shares))


@pytest.mark.parametrize("rewards", [REWARDS, np.array([1.0, 0.0, 0.0, 1.0])])
def test_two_tower_by_hand(rewards):
    batch = TINY._replace(rewards=torch.as_tensor(rewards, dtype=torch.float32))
    for penalty in (0.0, 0.3):
        output = loss_of("two-tower", batch, parameters_by_hand(), penalty=penalty)
        expected = cross_entropies(rewards).mean()
        assert float(output.metrics["prediction_loss"]) == pytest.approx(expected, rel=1e-6)
        assert float(output.loss) == pytest.approx(expected + penalty * 7.0 / 4.0, rel=1e-6)
        norm = float(output.metrics["tower_norm"])
        assert norm == pytest.approx(np.sqrt(SQUARES).mean(), rel=1e-6)


def test_two_tower_loses_the_least_where_scores_are_log_odds():
    """Soft labels: at ς(z) = r the loss is the entropy of r, and its gradient by z is 0."""
    parameters = linear_parameters(baseline=([0.0, 0.0], math.log(0.3 / 0.7)))
    parameters["policy.weight_1"] = torch.zeros(2, 2)
    for tensor in parameters.values():
        tensor.requires_grad_()
    batch = TINY._replace(rewards=torch.full((4,), 0.3))
    output = loss_of("two-tower", batch, parameters)
    entropy = -0.3 * math.log(0.3) - 0.7 * math.log(0.7)
    assert float(output.loss.detach()) == pytest.approx(entropy, rel=1e-6)
    output.loss.backward()
    gradient = parameters["policy.weight_1"].grad
    torch.testing.assert_close(gradient, torch.zeros(2, 2), atol=1e-7, rtol=0.0)


def logs_of_one_context(size=400, action_dim=3, seed=5):
    """A context, items (N, a), and clicks whose log-odds are linear in the item."""
    generator = np.random.default_rng(seed)
    actions = generator.normal(size=(size, action_dim))
    odds = actions @ np.array([1.0, -0.5, 0.25]) - 0.4
    clicks = (generator.random(size) < expit(odds)).astype(np.float64)
    batch = make_batch(size, observation_dim=2, action_dim=action_dim)._replace(
        observations=torch.tensor([[0.6, 0.3]]).expand(size, 2),
        actions=torch.as_tensor(actions, dtype=torch.float32),
        rewards=torch.as_tensor(clicks, dtype=torch.float32),
    )
    return batch, actions, clicks


@pytest.mark.parametrize("penalty", [0.0, 0.05])
def test_two_tower_of_one_context_is_logistic_regression(penalty):
    batch, actions, clicks = logs_of_one_context()

    def objective(weights):
        scores = actions @ weights[:3] + weights[3]
        return cross_entropies(clicks, scores).mean() + penalty * (weights[:3] ** 2).sum()

    best = minimize(objective, np.zeros(4), tol=1e-10).x
    agent = make_agent(
        "two-tower",
        observation_dim=2,
        action_dim=3,
        hidden_dim=32,
        penalty=penalty,
        learning_rate=1e-2,
    )
    for _ in range(200):
        metrics = agent.update(batch)
    np.testing.assert_allclose(agent.act(batch.observations)[0].numpy(), best[:3], atol=1e-3)
    assert float(metrics["loss"]) == pytest.approx(objective(best), abs=1e-5)


def test_what_is_predicted_best_is_what_the_tower_decodes_to():
    """Of unit items the largest score is the largest cosine, whatever ‖μ‖ and b."""
    agent = make_agent("two-tower", **DIMS, seed=2)
    for step in range(20):
        agent.update(make_batch(32, seed=step))
    generator = torch.Generator().manual_seed(0)
    items = torch.nn.functional.normalize(torch.randn(50, 2, generator=generator), dim=-1)
    contexts = torch.randn(8, 3, generator=generator)
    tower = agent.act(contexts)
    best = (tower @ items.T).argmax(dim=-1)
    decoder = ExactDecoder(items)
    assert len(best.unique()) > 1
    assert torch.equal(decode(decoder, tower), best)
    assert torch.equal(decode(decoder, 0.01 * tower), best)


def test_two_tower_has_no_density():
    agent = make_agent("two-tower", **DIMS)
    assert "parameters.log_std" not in agent.state_dict()
    with pytest.raises(ValueError, match="Unknown sigma 'learned'"):
        make_agent("two-tower", **DIMS, sigma="learned")
    contexts = torch.zeros(4_000, 3)
    noise = agent.sample(contexts) - agent.act(contexts)
    assert float(noise.std()) == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize("penalty", [-0.1, math.nan, math.inf])
def test_penalties_that_are_none(penalty):
    with pytest.raises(ValueError, match=f"penalty={penalty}"):
        make_agent("two-tower", **DIMS, penalty=penalty)


@pytest.mark.parametrize("reward", [-0.01, 1.01, math.nan])
def test_rewards_that_are_no_shares(reward):
    """A log of them is refused, in a fleet as well; a batch of them freezes the learner."""
    batch = make_batch(8)
    batch.rewards[3] = reward
    log = transitions_of(batch)
    fleet = Fleet("two-tower", **DIMS, seeds=[0, 1])
    for agent in (make_agent("two-tower", **DIMS), fleet):
        with pytest.raises(ValueError, match="'two-tower' takes them from 0 to 1"):
            agent.make_train_step(log, 4)
    make_agent("awr", **DIMS).make_train_step(log, 4)
    agent = make_agent("two-tower", **DIMS)
    before = agent.state_dict()
    agent.update(batch)
    assert agent.diverged_at == 1
    for name, tensor in before.items():
        if name.startswith("parameters."):
            assert torch.equal(agent.state_dict()[name], tensor)
