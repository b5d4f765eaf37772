from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.agents.algorithms.conftest import (
    REWARDS,
    TINY,
    TINY_LOG_PROB,
    VALUE,
    VALUES,
    linear_parameters,
    loss_of,
)


def test_critics_bootstrap_only_where_the_episode_goes_on():
    batch = TINY._replace(
        next_observations=torch.tensor([[1.0, 0.0]] * 4),
        terminations=torch.tensor([True, False, True, False]),
    )
    goal = REWARDS + 0.9 * np.array([0, 1, 0, 1]) * 0.6  # V((1, 0)) = 0.6
    error = goal - VALUES
    expected = -(error * TINY_LOG_PROB).mean() + 0.5 * (error**2).mean()
    parameters = linear_parameters(value=VALUE)
    output = loss_of("apg", batch, parameters, baseline="value", discount=0.9)
    assert float(output.loss) == pytest.approx(expected, abs=1e-6)
