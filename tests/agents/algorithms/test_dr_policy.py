from __future__ import annotations

import numpy as np
import pytest
import torch

from recsim_drpo.agents.algorithms.softmax import softmax_log_prob
from tests.agents.algorithms.conftest import REWARDS, TINY, linear_parameters, loss_of
from tests.agents.algorithms.test_softmax import (
    CATALOGUE,
    PROPENSITIES,
    log_probs,
    whole_catalogue,
)

MODEL = np.array([[0.3, 0.0], [0.0, -0.2], [0.5, 0.25]])  # m(s) = (0.3 s_0, −0.2 s_1) and b(s)
BIAS = np.array([0.0, 0.0, 0.1])
CONTEXTS = TINY.observations.numpy().astype(np.float64)
ITEMS = CATALOGUE.numpy().astype(np.float64)


def parameters_with_model():
    model = {
        "model.weight_0": torch.eye(2),
        "model.bias_0": torch.zeros(2),
        "model.weight_1": torch.as_tensor(MODEL, dtype=torch.float32),
        "model.bias_1": torch.as_tensor(BIAS, dtype=torch.float32),
    }
    return {k: v.requires_grad_() for k, v in (linear_parameters() | model).items()}


def predicted():
    """r̂(s, b) of TINY's contexts for all five items, and ‖m(s)‖², by hand."""
    outputs = CONTEXTS @ MODEL.T + BIAS
    tower, baseline = outputs[:, :2], outputs[:, 2:]
    return 1.0 / (1.0 + np.exp(-(tower @ ITEMS.T + baseline))), (tower**2).sum(axis=1)


def policy(temperature):
    """π(b | s) of all five items, by hand: μ(s) = s."""
    scores = CONTEXTS @ ITEMS.T / temperature
    return np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)


@pytest.mark.parametrize("temperature", [0.5, 2.0])
@pytest.mark.parametrize("cap", [0.0, 0.5, 1e6])
@pytest.mark.parametrize("penalty", [0.0, 0.4])
def test_dr_policy_by_hand(temperature, cap, penalty):
    values = {"temperature": temperature, "max_weight": cap, "penalty": penalty}
    output = loss_of("dr-policy", whole_catalogue(), parameters_with_model(), **values)
    rewards, squares = predicted()
    logged = rewards[range(4), range(4)]
    entropy = -(REWARDS * np.log(logged) + (1.0 - REWARDS) * np.log(1.0 - logged)).mean()
    direct = (policy(temperature) * rewards).sum(axis=1)
    ratios = np.exp(log_probs(temperature)) / PROPENSITIES
    correction = np.minimum(ratios, cap) * (REWARDS - logged)
    expected = entropy + penalty * squares.mean() - (direct + correction).mean()
    assert output.loss.item() == pytest.approx(expected, rel=1e-5)
    told = {name: value.item() for name, value in output.metrics.items()}
    assert told == pytest.approx(
        {
            "prediction_loss": entropy,
            "direct": direct.mean(),
            "correction": correction.mean(),
            "capped_share": (ratios > cap).mean(),
        },
        rel=1e-4,
        abs=1e-7,
    )


def gradients(output, parameters, name):
    keys = [key for key in parameters if key.startswith(f"{name}.")]
    return torch.autograd.grad(output.loss, [parameters[key] for key in keys], retain_graph=True)


def test_the_model_learns_what_two_towers_learn():
    parameters = parameters_with_model()
    output = loss_of("dr-policy", whole_catalogue(), parameters, penalty=0.4)
    towers = parameters_with_model()
    # two-tower with m as its policy: z = m · a + b, b a network of its own.
    two = {f"policy.{key.partition('.')[2]}": v for key, v in towers.items() if "model" in key}
    two = {key: v[:2] if key.endswith("_1") else v for key, v in two.items()}
    two |= {
        "baseline.weight_0": torch.eye(2),
        "baseline.bias_0": torch.zeros(2),
        "baseline.weight_1": towers["model.weight_1"][2:],
        "baseline.bias_1": towers["model.bias_1"][2:],
        "log_std": torch.zeros(2),
    }
    other = loss_of("two-tower", TINY, two, penalty=0.4)
    for key in ("model.weight_1", "model.bias_1"):
        (found,) = torch.autograd.grad(output.loss, parameters[key], retain_graph=True)
        (expected,) = torch.autograd.grad(other.loss, towers[key], retain_graph=True)
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("cap", [0.0, 1e6])
def test_the_policy_climbs_the_doubly_robust_value(cap):
    parameters = parameters_with_model()
    batch = whole_catalogue()
    output = loss_of("dr-policy", batch, parameters, temperature=0.8, max_weight=cap)
    rewards = torch.as_tensor(predicted()[0], dtype=torch.float32)
    mean = parameters["policy.weight_1"].new_tensor(CONTEXTS) + parameters["policy.bias_1"]
    pi = torch.softmax(mean @ CATALOGUE.T / 0.8, dim=1)
    value = (pi * rewards).sum(dim=1)
    if cap:
        ratio = softmax_log_prob(parameters, batch, 0.8).exp() / torch.tensor(PROPENSITIES)
        value = value + ratio * (TINY.rewards - rewards.diagonal())
    (expected,) = torch.autograd.grad(-value.mean(), parameters["policy.bias_1"])
    (found,) = torch.autograd.grad(output.loss, parameters["policy.bias_1"])
    torch.testing.assert_close(found, expected.to(found.dtype), rtol=1e-4, atol=1e-6)


def test_a_model_that_is_right_is_not_corrected():
    rewards = torch.as_tensor(predicted()[0].diagonal().copy(), dtype=torch.float32)
    batch = whole_catalogue(TINY._replace(rewards=rewards))
    output = loss_of("dr-policy", batch, parameters_with_model(), max_weight=1e6)
    assert output.metrics["correction"].item() == pytest.approx(0.0, abs=1e-6)


def test_a_right_propensity_makes_up_for_a_wrong_model():
    """Over all items of a uniform logger, uncapped, V̂ is the value of π whatever the model says."""
    truth = np.array([0.1, 0.9, 0.4, 0.6, 0.3])
    context = TINY.observations[3].expand(5, 2)
    batch = TINY._replace(
        observations=context,
        actions=CATALOGUE,
        rewards=torch.as_tensor(truth, dtype=torch.float32),
        infos={
            "propensity": torch.full((5,), 0.2, dtype=torch.float64),
            "negatives": CATALOGUE,
            "negative_weights": 1.0 - torch.eye(5),
        },
    )
    output = loss_of("dr-policy", batch, parameters_with_model(), temperature=1.5, max_weight=1e6)
    value = output.metrics["direct"].item() + output.metrics["correction"].item()
    scores = CONTEXTS[3] @ ITEMS.T / 1.5
    pi = np.exp(scores) / np.exp(scores).sum()
    assert value == pytest.approx(float(pi @ truth), rel=1e-5)
    assert output.metrics["direct"].item() != pytest.approx(float(pi @ truth), rel=1e-2)
