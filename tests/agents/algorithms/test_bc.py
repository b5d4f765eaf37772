from __future__ import annotations

import pytest

from tests.agents.algorithms.conftest import (
    TINY_LOG_PROB,
    loss_of,
)


def test_bc_loss_by_hand():
    output = loss_of("bc")
    assert float(output.loss) == pytest.approx(-TINY_LOG_PROB.mean(), abs=1e-6)
