from __future__ import annotations

import numpy as np
import pytest
from scipy.special import exp1

from recsim_drpo.benchmarks.reproduce.theory import dynamics


def test_sign_alone_does_not_decide(theory_result, verdict_on):
    data = theory_result["data"]["theorem-3.2"]
    assert exp1(data["boundary"] ** 2) * np.exp(data["boundary"] ** 2) == pytest.approx(1.0)
    ends = dict(zip(data["starts"], data["log_sigma"], strict=True))
    assert ends[0.6][-1] > 5.0  # σ grows, over all 800 steps
    assert len(ends[0.6]) == 801
    assert min(ends[0.7]) < -5.0  # σ falls
    assert len(ends[0.7]) < 801  # and overflows on the way
    assert "100 of 100 only expand σ" in verdict_on("Theorem 3.2, sign alone")["ours"]


def test_growth_is_geometric_with_sigma_fixed_only(theory_result):
    data = theory_result["data"]["corollary-3.3"]
    fixed = 10.0 ** np.array(data["fixed"])
    displacement = 3.0 * 1.01 ** np.arange(401)
    np.testing.assert_allclose(fixed, np.hypot(displacement, displacement**2 - 1.0), rtol=1e-9)
    assert len(data["learnt_far"]) < 15  # steps until nothing finite is left
    assert max(data["learnt_near"]) < 0.01  # log₁₀ of at most 1


def test_what_adam_reaches_in_5000_steps(verdict_on):
    """log σ may move by more than 1.5: gradients that grow outrun Adam's second moment."""
    path = dynamics.ascend(np.array([3.0]), -1.0, 5_000, 3e-4, adam=True)
    assert -2.7 < path.log_sigma[-1, 0] < -2.3
    assert f"to {path.log_sigma[-1, 0]:.2f}" in verdict_on("Corollary 3.3, overflow")["because"]
    attracted = dynamics.ascend(np.array([0.0]), 1.0, 5_000, 3e-4, adam=True)
    assert attracted.log_sigma[-1, 0] == pytest.approx(-1.5, abs=1e-3)


def test_sensitivity_as_sigma_falls(theory_result, verdict_on):
    data = theory_result["data"]["theorem-3.4"]
    sigma, norms = np.array(data["sigma"]), np.array(data["norm"])
    np.testing.assert_allclose(norms[1], np.hypot(sigma**-2, sigma**-2 - 1.0))
    assert "200 of 200" in verdict_on("Theorem 3.4, contraction (Appendix C)")["ours"]
    assert data["adam_sigma"] == pytest.approx(0.23, abs=0.02)


def test_attraction_does_not_vanish_but_the_ratio_may_diverge(theory_result):
    data = theory_result["data"]["corollary-3.5"]
    assert data["single_positive"][-1] == pytest.approx(1.0, abs=1e-3)
    assert data["single"][-1] > 9.0
    assert data["fixed"][-1] > 6.0
    assert 1.0 < data["each"] < 50.0
