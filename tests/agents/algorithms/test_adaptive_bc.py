from __future__ import annotations

import pytest
import torch

from tests.agents.algorithms.conftest import (
    TINY,
    TINY_LOG_PROB,
    loss_of,
)


def test_adaptive_bc_by_hand():
    expected = -(TINY_LOG_PROB[1] + TINY_LOG_PROB[3]) / 2
    assert float(loss_of("adaptive-bc").loss) == pytest.approx(expected, rel=1e-6)
    ties = TINY._replace(rewards=torch.tensor([0.5, 1.0, 0.5, 0.0]))
    expected = -(TINY_LOG_PROB[1] + 0.5 * TINY_LOG_PROB[0] + 0.5 * TINY_LOG_PROB[2]) / 2
    assert float(loss_of("adaptive-bc", ties).loss) == pytest.approx(expected, rel=1e-6)


def test_adaptive_bc_that_admits_all_is_cloning():
    output = loss_of("adaptive-bc", initial_kappa=1.0, adaptive=False)
    assert float(output.loss) == pytest.approx(float(loss_of("bc").loss), rel=1e-6)
