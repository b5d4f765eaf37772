from __future__ import annotations

import numpy as np
import pytest
import torch

from recsim_drpo import make_agent
from recsim_drpo.agents.registry import ALGORITHMS
from tests.agents.algorithms.conftest import (
    REWARDS,
    TINY,
    VALUE,
    VALUES,
    linear_parameters,
    loss_of,
)
from tests.agents.conftest import DIMS, make_batch, transitions_of

NAME = "two-tower-gaussian"
# μ(s) = s and b(s) = 0.1: μ·a is 0, 1, 4, 1, and ‖μ‖² is 0, 1, 4, 2.
SCORES = np.array([0.1, 1.1, 4.1, 1.1])
LEVEL = ([0.0, 0.0], 0.1)


def test_two_tower_gaussian_by_hand():
    for penalty in (0.0, 0.3):
        output = loss_of(NAME, parameters=linear_parameters(baseline=LEVEL), penalty=penalty)
        expected = 0.5 * ((REWARDS - SCORES) ** 2).mean()
        assert float(output.metrics["prediction_loss"]) == pytest.approx(expected, rel=1e-6)
        assert float(output.loss) == pytest.approx(expected + penalty * 7.0 / 4.0, rel=1e-6)


def test_returns_by_hand():
    """y = r + γ V(s'), of which the third has none: it is the last of its episode."""
    ends = torch.tensor([False, False, True, False])
    batch = TINY._replace(terminations=ends, next_observations=TINY.observations.flip(0))
    parameters = linear_parameters(baseline=LEVEL, value=VALUE)
    output = loss_of(NAME, batch, parameters, target="return", discount=0.5, penalty=0.0)
    returns = REWARDS + 0.5 * np.where(ends.numpy(), 0.0, VALUES[::-1])
    value_loss = 0.5 * ((returns - VALUES) ** 2).mean()
    assert float(output.metrics["value_loss"]) == pytest.approx(value_loss, rel=1e-6)
    expected = 0.5 * ((returns - SCORES) ** 2).mean() + value_loss
    assert float(output.loss) == pytest.approx(expected, rel=1e-6)


def test_returns_of_terminal_transitions_are_rewards():
    batches = [make_batch(16, seed=seed) for seed in range(5)]
    agents = [
        make_agent(NAME, **DIMS, seed=3, target=target, discount=0.9)
        for target in ("reward", "return")
    ]
    for batch in batches:
        for agent in agents:
            agent.update(batch)
    towers = [agent.act(batches[0].observations) for agent in agents]
    torch.testing.assert_close(towers[0], towers[1])


@pytest.mark.parametrize("penalty", [0.0, 0.05])
def test_two_tower_gaussian_of_one_context_is_ridge_regression(penalty):
    generator = np.random.default_rng(5)
    actions = generator.normal(size=(400, 3))
    rewards = 7.0 + actions @ np.array([3.0, -1.0, 0.5]) + generator.normal(size=400)
    batch = make_batch(400, observation_dim=2, action_dim=3)._replace(
        observations=torch.tensor([[0.6, 0.3]]).expand(400, 2),
        actions=torch.as_tensor(actions, dtype=torch.float32),
        rewards=torch.as_tensor(rewards, dtype=torch.float32),
    )
    # The least of ½ mean (r − X w)² + λ ‖w without the intercept‖².
    design = np.column_stack([actions, np.ones(400)])
    ridge = 2.0 * penalty * np.diag([1.0, 1.0, 1.0, 0.0])
    best = np.linalg.solve(design.T @ design / 400 + ridge, design.T @ rewards / 400)
    agent = make_agent(
        NAME, observation_dim=2, action_dim=3, hidden_dim=32, penalty=penalty, learning_rate=1e-2
    )
    for _ in range(300):
        agent.update(batch)
    np.testing.assert_allclose(agent.act(batch.observations)[0].numpy(), best[:3], atol=1e-3)


def test_rewards_of_any_size_are_taken():
    batch = make_batch(8, rewards=torch.linspace(-5.0, 300.0, 8))
    log = transitions_of(batch)
    agent = make_agent(NAME, **DIMS)
    agent.make_train_step(log, 8)(torch.arange(8))
    assert agent.diverged_at is None
    assert ALGORITHMS[NAME].reward_range is None
