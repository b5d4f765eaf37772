from __future__ import annotations

import pytest

from tests.agents.algorithms.conftest import (
    REWARDS,
    TINY_LOG_PROB,
    VALUE,
    VALUES,
    linear_parameters,
    loss_of,
)


def test_apg_by_hand():
    expected = -((REWARDS - 0.5) * TINY_LOG_PROB).mean()
    output = loss_of("apg")
    assert float(output.loss) == pytest.approx(expected, abs=1e-6)
    assert float(output.metrics["negative_share"]) == 0.5
    error = REWARDS - VALUES
    expected = -(error * TINY_LOG_PROB).mean() + 0.5 * (error**2).mean()
    output = loss_of("apg", parameters=linear_parameters(value=VALUE), baseline="value")
    assert float(output.loss) == pytest.approx(expected, abs=1e-6)
