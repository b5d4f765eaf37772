from __future__ import annotations

import pytest

from recsim_drpo.benchmarks.calibrate import solve_for


def test_a_target_is_met_or_the_nearer_end_is_taken():
    assert solve_for(lambda x: x**2, 16.0, 0.5, 1000.0) == pytest.approx(4.0, rel=1e-7)
    assert solve_for(lambda x: x**2, 0.1, 0.5, 1000.0) == pytest.approx(0.5)
    assert solve_for(lambda x: x**2, 1e7, 0.5, 1000.0) == pytest.approx(1000.0)
