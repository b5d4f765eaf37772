from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.agents.algorithms.conftest import (
    Q1,
    Q1_VALUES,
    Q2,
    Q2_VALUES,
    TINY,
    TINY_LOG_PROB,
    VALUE,
    iql_by_hand,
    linear_parameters,
    loss_of,
)


def test_drpo_loss_by_hand():
    output = loss_of("drpo")
    # κ = 0.5 of 4 admits 0.8 and 0.6: ν = 0.6, σ_subset = 0.1, advantages 0.2 and 0.
    expected = -(0.2 / 0.1 * TINY_LOG_PROB[1] + 0.0) / 2
    assert float(output.loss) == pytest.approx(expected, rel=1e-5)
    assert float(output.metrics["threshold"]) == pytest.approx(0.6)
    assert float(output.metrics["admitted_share"]) == pytest.approx(0.5)
    batch_std = np.std([0.2, 0.8, 0.4, 0.6])
    assert float(output.metrics["std_ratio"]) == pytest.approx(0.1 / batch_std, rel=1e-5)
    # 0.1 < 0.5 · 0.2236: the controller relaxes.
    assert float(output.state["kappa"]) == pytest.approx(0.51)


def test_drpo_with_constant_rewards_learns_nothing_and_stays_finite():
    parameters = {k: v.requires_grad_() for k, v in linear_parameters().items()}
    output = loss_of("drpo", TINY._replace(rewards=torch.full((4,), 0.3)), parameters)
    gradients = torch.autograd.grad(output.loss, list(parameters.values()))
    assert float(output.loss.detach()) == 0.0
    assert all(bool((g == 0).all()) for g in gradients)
    assert float(output.metrics["admitted_share"]) == pytest.approx(0.5)
    assert float(output.state["kappa"]) == pytest.approx(0.49)


def test_drpo_with_a_signed_baseline_by_hand():
    # R − mean(0.8, 0.6) over σ_subset = 0.1: +1 and −1.
    expected = -(TINY_LOG_PROB[1] - TINY_LOG_PROB[3]) / 2
    assert float(loss_of("drpo", baseline="mean").loss) == pytest.approx(expected, abs=1e-5)


def test_drpo_exp_by_hand():
    weights = np.exp(np.array([0.1, -0.1]) / 0.05)
    expected = -(weights[0] * TINY_LOG_PROB[1] + weights[1] * TINY_LOG_PROB[3]) / 2
    assert float(loss_of("drpo-exp").loss) == pytest.approx(expected, rel=1e-5)


def test_drpo_exp_with_the_normalised_advantage_by_hand():
    # R − 0.7 over σ_subset = 0.1: +1 and −1, whatever the unit of the rewards.
    weights = np.exp(np.array([1.0, -1.0]) / 2.0)
    expected = -(weights[0] * TINY_LOG_PROB[1] + weights[1] * TINY_LOG_PROB[3]) / 2
    settings = {"beta": 2.0, "standardize": True}
    assert float(loss_of("drpo-exp", **settings).loss) == pytest.approx(expected, rel=1e-5)
    larger = TINY._replace(rewards=TINY.rewards * 10.0)
    assert float(loss_of("drpo-exp", larger, **settings).loss) == pytest.approx(expected, rel=1e-5)


def test_drpo_exp_of_weights_capped_at_the_batch_by_hand():
    # e^{0.1 / 0.05} = 7.4 is more than the batch's 4; e^{-0.1 / 0.05} = 0.135 is not.
    expected = -(4.0 * TINY_LOG_PROB[1] + np.exp(-2.0) * TINY_LOG_PROB[3]) / 2
    assert float(loss_of("drpo-exp", cap="batch").loss) == pytest.approx(expected, rel=1e-5)
    # e^{0.5} is below: the cap changes nothing.
    mild = float(loss_of("drpo-exp", beta=0.2, cap="batch").loss)
    assert mild == float(loss_of("drpo-exp", beta=0.2).loss)
    weights = np.exp([0.5, -0.5])
    expected = -(weights[0] * TINY_LOG_PROB[1] + weights[1] * TINY_LOG_PROB[3]) / 2
    assert mild == pytest.approx(expected, rel=1e-5)


def test_drpo_exp_with_constant_rewards_clones_what_it_admits_under_every_reading():
    same = TINY._replace(rewards=torch.full((4,), 0.3))
    cloned = float(loss_of("adaptive-bc", same).loss)
    for settings in ({}, {"standardize": True, "beta": 1.0}, {"cap": "batch"}):
        assert float(loss_of("drpo-exp", same, **settings).loss) == pytest.approx(cloned, rel=1e-5)


def test_only_drpo_exp_has_the_options_of_its_weights():
    for name in ("drpo-boltzmann", "drpo"):
        with pytest.raises(ValueError, match="standardize"):
            loss_of(name, standardize=True)
    with pytest.raises(ValueError, match="batch, none"):
        loss_of("drpo-exp", cap="all")


def test_drpo_exp_of_infinite_temperature_is_adaptive_cloning():
    top = float(loss_of("adaptive-bc").loss)
    assert float(loss_of("drpo-exp", beta=1e9).loss) == pytest.approx(top, rel=1e-6)


def test_drpo_boltzmann_by_hand():
    # κ = 0.5 caps weights at 2; e^{R / 0.2} is e^1, e^4, e^2, e^3 for R = 0.2, 0.8, 0.4, 0.6.
    # Uncapped, the largest would be 4 e^4 / Σ > 2, so it is 2, and 2 are left for e^1 + e^2 + e^3.
    rest = np.exp([1.0, 2.0, 3.0])
    low, middle, high = 2.0 * rest / rest.sum()
    assert high < 2.0
    weights = np.array([low, 2.0, middle, high])
    output = loss_of("drpo-boltzmann", beta=0.2)
    assert float(output.loss) == pytest.approx(-(weights * TINY_LOG_PROB).mean(), rel=1e-5)
    assert float(output.metrics["max_weight"]) == pytest.approx(2.0)
    # The controller is the filter's.
    assert float(output.state["kappa"]) == pytest.approx(0.51)


def test_drpo_boltzmann_at_its_limits():
    cold, hot = loss_of("drpo-boltzmann", beta=1e-4), loss_of("drpo-boltzmann", beta=1e6)
    assert float(cold.loss) == pytest.approx(float(loss_of("adaptive-bc").loss), rel=1e-5)
    assert float(hot.loss) == pytest.approx(float(loss_of("bc").loss), rel=1e-5)
    same = TINY._replace(rewards=torch.full((4,), 0.3))
    assert float(loss_of("drpo-boltzmann", same).loss) == pytest.approx(
        float(loss_of("bc").loss), rel=1e-5
    )


def test_drpo_q_by_hand():
    values = np.minimum(Q1_VALUES, Q2_VALUES)  # 0.2, 0.9, 0.45, 0.25: κ = 0.5 admits 0.9, 0.45
    expected = -(0.45 / 0.225 * TINY_LOG_PROB[1]) / 2 + iql_by_hand(0.7)[1]
    output = loss_of("drpo-q", parameters=linear_parameters(value=VALUE, q1=Q1, q2=Q2))
    assert float(output.loss) == pytest.approx(expected, rel=1e-5)
    assert float(output.metrics["threshold"]) == pytest.approx(np.sort(values)[-2])
