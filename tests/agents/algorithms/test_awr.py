from __future__ import annotations

import numpy as np
import pytest

from tests.agents.algorithms.conftest import (
    REWARDS,
    TINY_LOG_PROB,
    VALUE,
    VALUES,
    linear_parameters,
    loss_of,
)


@pytest.mark.parametrize("standardize", [True, False])
def test_awr_by_hand(standardize):
    error = REWARDS - VALUES
    advantages = (error - error.mean()) / error.std() if standardize else error
    for beta in (1.0, 0.05):
        weights = np.minimum(np.exp(advantages / beta), 20.0)
        expected = -(weights * TINY_LOG_PROB).mean() + 0.5 * (error**2).mean()
        parameters = linear_parameters(value=VALUE)
        output = loss_of("awr", parameters=parameters, beta=beta, standardize=standardize)
        assert float(output.loss) == pytest.approx(expected, rel=1e-5)


def test_awr_of_infinite_temperature_is_cloning():
    parameters = linear_parameters(value=VALUE)
    output = loss_of("awr", parameters=parameters, beta=1e9)
    cloning = float(output.loss - output.metrics["value_loss"])
    assert cloning == pytest.approx(float(loss_of("bc").loss), rel=1e-6)
