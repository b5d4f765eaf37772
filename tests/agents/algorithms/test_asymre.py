from __future__ import annotations

import numpy as np
import pytest

from tests.agents.algorithms.conftest import (
    REWARDS,
    TINY_LOG_PROB,
    loss_of,
)


def test_asymre_by_hand():
    advantages = REWARDS - 0.5
    weights = np.where(advantages < 0, 0.1, 1.0)
    expected = -(weights * advantages * TINY_LOG_PROB).mean()
    assert float(loss_of("asymre").loss) == pytest.approx(expected, abs=1e-6)
    expected = -((advantages + 0.1) * TINY_LOG_PROB).mean()
    assert float(loss_of("asymre-delta").loss) == pytest.approx(expected, abs=1e-6)


def test_asymre_at_its_limits_is_apg():
    apg = float(loss_of("apg").loss)
    assert float(loss_of("asymre", negative_weight=1.0).loss) == pytest.approx(apg, abs=1e-6)
    assert float(loss_of("asymre-delta", delta_v=0.0).loss) == pytest.approx(apg, abs=1e-6)
