from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from recsim_drpo.agents.algorithms.softmax import softmax_log_prob
from tests.agents.algorithms.conftest import REWARDS, linear_parameters, loss_of
from tests.agents.algorithms.test_softmax import PROPENSITIES, TINY, log_probs, whole_catalogue


def by_hand(temperature, cap, penalty, slate=1):
    """The loss, R̂, and the factors of ∇ log π in the gradient of −R̂, (4,)."""
    pi = np.exp(log_probs(temperature))
    weights = slate * (1.0 - pi) ** (slate - 1) * np.minimum(pi / PROPENSITIES, cap)
    estimate = (weights * REWARDS).sum() / weights.sum()
    variance = (weights**2 * (REWARDS - estimate) ** 2).sum() / weights.sum() ** 2
    factors = -weights * (REWARDS - estimate) / weights.sum()
    return penalty * math.sqrt(variance) - estimate, estimate, factors


@pytest.mark.parametrize("temperature", [0.5, 2.0])
@pytest.mark.parametrize("cap", [0.5, 2.0, 1e6])
@pytest.mark.parametrize("penalty", [0.0, 0.7])
def test_softmax_pg_by_hand(temperature, cap, penalty):
    values = {"temperature": temperature, "max_weight": cap, "variance_penalty": penalty}
    output = loss_of("softmax-pg", whole_catalogue(), **values)
    loss, estimate, _ = by_hand(temperature, cap, penalty)
    assert output.loss.item() == pytest.approx(loss, rel=1e-5)
    assert output.metrics["estimate"].item() == pytest.approx(estimate, rel=1e-5)
    ratios = np.exp(log_probs(temperature)) / PROPENSITIES
    assert float(output.metrics["capped_share"]) == pytest.approx((ratios > cap).mean())


@pytest.mark.parametrize("slate", [1, 2, 16])
def test_topk_by_hand(slate):
    values = {"temperature": 1.5, "max_weight": 2.0, "variance_penalty": 0.3}
    output = loss_of("topk-off-policy", whole_catalogue(), slate_size=slate, **values)
    assert output.loss.item() == pytest.approx(by_hand(1.5, 2.0, 0.3, slate)[0], rel=1e-5)


def gradient_of(output, parameters):
    return torch.autograd.grad(output.loss, parameters["policy.bias_1"])[0]


@pytest.mark.parametrize("slate", [1, 4])
@pytest.mark.parametrize("cap", [0.5, 1e6])
def test_the_gradient_is_that_of_the_capped_score_function(slate, cap):
    parameters = {k: v.requires_grad_() for k, v in linear_parameters().items()}
    values = {"temperature": 1.5, "max_weight": cap, "slate_size": slate}
    output = loss_of("topk-off-policy", whole_catalogue(), parameters, **values)
    found = gradient_of(output, parameters)
    factors = torch.tensor(by_hand(1.5, cap, 0.0, slate)[2])
    log_prob = softmax_log_prob(parameters, whole_catalogue(), 1.5)
    surrogate = (factors * log_prob).sum()
    expected = torch.autograd.grad(surrogate, parameters["policy.bias_1"])[0]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


def test_a_slate_of_one_is_the_policy_gradient():
    results = []
    for name, more in (("softmax-pg", {}), ("topk-off-policy", {"slate_size": 1})):
        parameters = {k: v.requires_grad_() for k, v in linear_parameters().items()}
        values = {"temperature": 0.8, "variance_penalty": 0.5, "max_weight": 3.0, **more}
        output = loss_of(name, whole_catalogue(), parameters, **values)
        results.append((output, gradient_of(output, parameters)))
    (one, one_gradient), (other, other_gradient) = results
    assert one.loss.item() == other.loss.item()
    assert torch.equal(one_gradient, other_gradient)
    assert {k: v.item() for k, v in one.metrics.items()} == {
        k: v.item() for k, v in other.metrics.items()
    }


def test_rewards_move_it_only_by_their_differences():
    """Self-normalised: a constant added to all rewards changes R̂ by it, and no gradient."""
    gradients = []
    for shift in (0.0, 5.0):
        batch = whole_catalogue(TINY._replace(rewards=TINY.rewards + shift))
        parameters = {k: v.requires_grad_() for k, v in linear_parameters().items()}
        output = loss_of("softmax-pg", batch, parameters, temperature=1.0, variance_penalty=0.2)
        gradients.append(gradient_of(output, parameters))
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-6)


def test_rewards_that_are_all_the_same_teach_nothing_and_diverge_nowhere():
    batch = whole_catalogue(TINY._replace(rewards=torch.full((4,), 0.5)))
    parameters = {k: v.requires_grad_() for k, v in linear_parameters().items()}
    output = loss_of("softmax-pg", batch, parameters, variance_penalty=1.0)
    assert output.loss.item() == pytest.approx(-0.5)
    assert gradient_of(output, parameters).tolist() == pytest.approx([0.0, 0.0], abs=1e-6)
