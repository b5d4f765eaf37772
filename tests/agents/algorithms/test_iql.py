from __future__ import annotations

import numpy as np
import pytest

from tests.agents.algorithms.conftest import (
    Q1,
    Q1_VALUES,
    Q2,
    Q2_VALUES,
    TINY_LOG_PROB,
    VALUE,
    VALUES,
    iql_by_hand,
    linear_parameters,
    loss_of,
)


@pytest.mark.parametrize("tau", [0.5, 0.7, 0.9])
def test_iql_by_hand(tau):
    gap, critic_loss = iql_by_hand(tau)
    weights = np.minimum(np.exp(gap / 0.2), 100.0)
    output = loss_of(
        "iql", parameters=linear_parameters(value=VALUE, q1=Q1, q2=Q2), tau=tau, beta=0.2
    )
    assert float(output.metrics["critic_loss"]) == pytest.approx(critic_loss, rel=1e-5)
    expected = -(weights * TINY_LOG_PROB).mean() + critic_loss
    assert float(output.loss) == pytest.approx(expected, rel=1e-5)


def test_iql_at_half_an_expectile_is_a_mean():
    """At τ = 0.5 V's gradient is that of half the squared error."""
    parameters = linear_parameters(value=VALUE, q1=Q1, q2=Q2)
    bias = parameters["value.bias_1"].requires_grad_()
    loss_of("iql", parameters=parameters, tau=0.5).loss.backward()
    gap = np.minimum(Q1_VALUES, Q2_VALUES) - VALUES
    assert float(bias.grad) == pytest.approx(-gap.mean(), rel=1e-5)
