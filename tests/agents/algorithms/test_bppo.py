from __future__ import annotations

import numpy as np
import pytest
import torch

from recsim_drpo import make_agent
from recsim_drpo.agents.registry import ALGORITHMS
from recsim_drpo.core.config import build_config
from tests.agents.algorithms.conftest import (
    Q1,
    Q1_VALUES,
    REWARDS,
    TINY,
    VALUE,
    VALUES,
    linear_parameters,
    loss_of,
)
from tests.agents.conftest import (
    make_batch,
)


def bppo_parts(old_shift, epsilon=0.2):
    """BPPO past its cloning, π_old shifted from π by ``old_shift`` in its first coordinate."""
    parameters = linear_parameters(q=Q1, value=VALUE)
    config = build_config(ALGORITHMS["bppo"].config, {"epsilon": epsilon}, "hyper-parameter")
    state = ALGORITHMS["bppo"].init_state(parameters, config)
    state["old.policy.bias_1"] = torch.tensor([old_shift, 0.0])
    state["step"] = torch.tensor(config.bc_steps)
    noise = {"old": torch.tensor([[0.5, 1.0], [-1.0, 0.0], [0.0, 0.0], [1.0, -1.0]])}
    return parameters, state, noise


def test_bppo_by_hand():
    """Its loss, and its gradient, which is zero wherever the clip is active."""
    parameters, state, noise = bppo_parts(0.3)
    sigma = np.array([1.0, 2.0])
    means = TINY.observations.numpy().astype(np.float64)
    actions = means + np.array([0.3, 0.0]) + sigma * noise["old"].numpy()
    # The two policies differ in the first coordinate of their means, by 0.3.
    new, old = actions[:, 0] - means[:, 0], actions[:, 0] - means[:, 0] - 0.3
    ratio = np.exp(0.5 * (old**2 - new**2))
    # The critic's first layer is the identity and a ReLU.
    hidden = np.maximum(np.concatenate([means, actions], axis=1), 0.0)
    raw = hidden @ np.array(Q1[0]) - VALUES
    advantages = (raw - raw.mean()) / raw.std()
    proximal = np.minimum(ratio * advantages, np.clip(ratio, 0.8, 1.2) * advantages)
    critics = ((REWARDS - Q1_VALUES) ** 2).mean() + ((REWARDS - VALUES) ** 2).mean()
    bias = parameters["policy.bias_1"].requires_grad_()
    output = loss_of("bppo", parameters=parameters, state=state, noise=noise)
    assert float(output.loss.detach()) == pytest.approx(-proximal.mean() + critics, rel=1e-5)
    active = ((ratio > 1.2) & (advantages > 0)) | ((ratio < 0.8) & (advantages < 0))
    assert 0 < active.sum() < 4
    score = (actions - means) / sigma**2
    expected = -(np.where(active, 0.0, ratio * advantages)[:, None] * score).mean(axis=0)
    output.loss.backward()
    np.testing.assert_allclose(bias.grad, expected, rtol=1e-4, atol=1e-6)


def test_bppo_phases():
    agent = make_agent("bppo", observation_dim=3, action_dim=2, bc_steps=3, replace_every=2)
    cloned = make_agent("bc", observation_dim=3, action_dim=2)
    epsilons = []
    for step in range(1, 9):
        batch = make_batch(8, seed=step)
        agent.update(batch)
        state = agent.state_dict()
        same = torch.equal(state["state.old.policy.weight_0"], state["parameters.policy.weight_0"])
        assert same == (step <= 3 or step in (5, 7)), step
        epsilons.append(round(float(state["state.epsilon"]), 6))
        if step <= 3:
            cloned.update(batch)
            for key in ("policy.weight_0", "policy.bias_2", "log_std"):
                torch.testing.assert_close(
                    state[f"parameters.{key}"], cloned.state_dict()[f"parameters.{key}"]
                )
    assert epsilons == [0.2] * 4 + [0.192] * 2 + [0.18432] * 2
