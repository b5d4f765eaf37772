from __future__ import annotations

import numpy as np
import pytest
import torch

from recsim_drpo import make_agent
from tests.agents.algorithms.conftest import (
    Q1,
    Q1_VALUES,
    REWARDS,
    TINY_LOG_PROB,
    linear_parameters,
    loss_of,
)
from tests.agents.conftest import (
    make_batch,
)

CRR_NOISE = {"samples": torch.zeros(2, 4, 2), "next_actions": torch.zeros(4, 2)}


# Without noise the sampled actions are μ(s) = s, and Q1 there is 0.1 s_0 + 0.2 s_0 + 0.3 s_1.
CRR_BASELINE = np.array([0.0, 0.3, 0.6, 0.6])


@pytest.mark.parametrize("form", ["exp", "binary"])
def test_crr_by_hand(form):
    advantages = Q1_VALUES - CRR_BASELINE  # 0.2, 0.6, 0.0, -0.2
    exp = np.minimum(np.exp(advantages / 0.5), 2.0)
    weights = exp if form == "exp" else np.array([1.0, 1.0, 0.0, 0.0])
    q_loss = ((REWARDS - Q1_VALUES) ** 2).mean()
    expected = -(weights * TINY_LOG_PROB).mean() + q_loss
    settings = {"form": form, "beta": 0.5, "max_weight": 2.0, "num_samples": 2}
    # A shade above: 0.6 − 0.6 is not quite 0 in float32.
    parameters = linear_parameters(q=Q1)
    parameters["q.weight_1"][0, 3] -= 1e-5
    output = loss_of("crr", parameters=parameters, noise=CRR_NOISE, **settings)
    assert float(output.loss) == pytest.approx(expected, rel=2e-4)


def test_crr_binary_with_positive_advantages_is_cloning():
    # Q falls with the action's size where the policy acts far out: every logged action is better.
    noise = {"samples": torch.full((4, 4, 2), 50.0), "next_actions": torch.zeros(4, 2)}
    parameters = linear_parameters(q=([0.0, 0.0, -0.1, -0.1], 0.0))
    output = loss_of("crr", parameters=parameters, noise=noise, form="binary")
    assert float(output.metrics["mean_weight"]) == 1.0
    cloning = float(output.loss - output.metrics["q_loss"])
    assert cloning == pytest.approx(float(loss_of("bc").loss), rel=1e-6)


def test_crr_copies_its_target_on_schedule():
    agent = make_agent("crr", observation_dim=3, action_dim=2, target_every=4)
    for step in range(1, 10):
        agent.update(make_batch(8, seed=step))
        state = agent.state_dict()
        same = torch.equal(state["state.target.q.weight_0"], state["parameters.q.weight_0"])
        assert same == (step % 4 == 0)
