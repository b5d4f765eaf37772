from __future__ import annotations

import numpy as np
import pytest
import torch

from recsim_drpo import make_agent
from recsim_drpo.agents.engine.networks import LOG_STD_RANGE, policy_log_prob, policy_moments
from tests.agents.algorithms.conftest import (
    TINY,
    TINY_LOG_PROB,
    linear_parameters,
)
from tests.agents.conftest import (
    make_batch,
)


def test_log_prob_by_hand_and_against_torch():
    parameters = linear_parameters()
    log_prob = policy_log_prob(parameters, TINY.observations, TINY.actions)
    np.testing.assert_allclose(log_prob, TINY_LOG_PROB, atol=1e-6)
    mean, log_std = policy_moments(parameters, TINY.observations)
    reference = torch.distributions.Normal(mean, log_std.exp())
    torch.testing.assert_close(log_prob, reference.log_prob(TINY.actions).sum(-1))


@pytest.mark.parametrize("sigma", ["learned", "fixed", "state"])
@pytest.mark.parametrize("name", ["bc", "bppo", "crr", "drpo"])
def test_every_sigma_trains_samples_and_resumes(name, sigma):
    agent = make_agent(name, observation_dim=3, action_dim=2, sigma=sigma)
    batch = make_batch(8)
    for _ in range(3):
        agent.update(batch)
    assert agent.act(batch.observations).shape == (8, 2)
    names = [key for key in agent.state_dict() if key.startswith("parameters.")]
    assert ("parameters.log_std" in names) == (sigma == "learned")
    mean, log_std = policy_moments(
        {k.removeprefix("parameters."): v for k, v in agent.state_dict().items()},
        batch.observations,
        sigma,
    )
    torch.testing.assert_close(agent.act(batch.observations), mean)
    assert log_std.shape == ((8, 2) if sigma == "state" else (2,))
    if sigma == "fixed":
        assert bool((log_std == 0).all())
    assert not torch.equal(agent.sample(batch.observations), mean)


@pytest.mark.parametrize("bound", [0, 1])
def test_log_std_stays_in_its_range(bound):
    agent = make_agent("bc", observation_dim=3, action_dim=2, learning_rate=1.0)
    batch = make_batch(4)
    for _ in range(12):
        # Exact hits narrow the policy without limit, hopeless misses widen it.
        actions = agent.act(batch.observations) if bound == 0 else torch.full((4, 2), 1e4)
        agent.update(batch._replace(actions=actions))
        log_std = agent.state_dict()["parameters.log_std"]
        assert LOG_STD_RANGE[0] <= float(log_std.min()) <= float(log_std.max()) <= LOG_STD_RANGE[1]
    assert bool((log_std == LOG_STD_RANGE[bound]).all())
