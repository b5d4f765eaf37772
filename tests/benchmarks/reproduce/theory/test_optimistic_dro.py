from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import brentq

from recsim_drpo.benchmarks.reproduce.theory import optimistic_dro
from recsim_drpo.benchmarks.reproduce.theory.optimistic_dro import Problem


def test_hard_thresholding_by_hand():
    coin = Problem(np.array([0.0, 1.0]), np.array([0.8, 0.2]), 0.5)
    assert optimistic_dro.quantile(coin) == 0.0  # P(R ≥ 1) is less than κ
    np.testing.assert_allclose(optimistic_dro.hard_threshold(coin), [0.8, 0.2])
    best, q = optimistic_dro.linear_programme(coin)
    assert best == pytest.approx(0.4)  # 0.2 / 0.5
    np.testing.assert_allclose(q, [0.6, 0.4])
    even = Problem(np.array([0.0, 0.4, 0.6, 1.0]), np.full(4, 0.25), 0.5)
    assert optimistic_dro.quantile(even) == 0.6
    np.testing.assert_allclose(optimistic_dro.hard_threshold(even), [0, 0, 0.5, 0.5])
    for nu in (0.4, 0.5, 0.6):
        assert optimistic_dro.dual(nu, even) == pytest.approx(0.8)


def test_atoms_decide_theorem_4_1(theory_result, verdict_on):
    data = theory_result["data"]["theorem-4.1"]
    assert np.abs(data["loss"]["distinct"]).max() < 1e-9
    assert np.abs(data["excess"]["distinct"]).max() < 1e-9
    loss, excess = np.array(data["loss"]["atoms"]), np.array(data["excess"]["atoms"])
    assert (loss > -1e-9).all()
    assert (loss > 1e-9).mean() > 0.5
    assert (excess[loss > 1e-9] > 0).all()
    text = verdict_on("Theorem 4.1")
    assert f"worse in {(loss > 1e-9).sum():,} of 200, by up to {loss.max():.3f}" in text["ours"]


def entropic(w, rewards, tau):
    return np.mean(w * rewards) - tau * np.mean(w * np.log(w))


def test_eq_45_is_not_the_optimum_of_eq_43(verdict_on):
    rewards, tau = np.array([0.0, 0.4, 0.6, 1.0]), 0.2
    # λ of w = min(2, exp((R − λ) / τ)) with mean 1, by bisection: the KKT solution.
    level = brentq(lambda x: np.minimum(2.0, np.exp((rewards - x) / tau)).mean() - 1.0, -1.0, 1.0)
    w = np.minimum(2.0, np.exp((rewards - level) / tau))
    text = verdict_on("Appendix F.3 (Eq. 42 to 45)")["because"]
    assert "(" + ", ".join(f"{x:.2f}" for x in w) + ")" in text
    assert f"{entropic(w, rewards, tau):.3f}" in text
    cut = 0.8 - tau * np.log(2.0)
    assert f"has {cut:.3f}" in text
    # No feasible weights do better: a search that knows nothing of the solution.
    draws = np.random.default_rng(0).dirichlet(np.ones(4), 20_000) * 4
    allowed = draws[(draws <= 2.0).all(axis=1) & (draws > 0).all(axis=1)]
    values = (allowed * rewards - tau * allowed * np.log(allowed)).mean(axis=1)
    assert cut + 0.02 < values.max() <= entropic(w, rewards, tau)
    stated = np.exp(np.array([0.6, 1.0]) / tau)
    assert 4 * stated[1] / stated.sum() > 2.0  # Eq. 45 breaks the cap
