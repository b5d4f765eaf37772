from __future__ import annotations

import numpy as np
import pytest
import torch

from recsim_drpo.agents.algorithms.softmax import softmax_log_prob
from tests.agents.algorithms.conftest import TINY, linear_parameters, loss_of

CATALOGUE = torch.tensor([[1.0, 0.0], [1.0, 2.0], [0.0, 2.0], [0.0, 1.0], [-1.0, 0.5]])
"""The four items that TINY logs, in its order, and one that it does not."""

PROPENSITIES = np.array([0.1, 0.4, 0.2, 0.05])


def whole_catalogue(batch=TINY, propensities=PROPENSITIES):
    """The batch with every item drawn once: what is estimated is then exact."""
    weights = 1.0 - torch.eye(4, 5)
    return batch._replace(
        infos={
            "propensity": torch.as_tensor(propensities),
            "negatives": CATALOGUE,
            "negative_weights": weights,
        }
    )


def log_probs(temperature):
    """log π of TINY's items by hand: μ(s) = s under the networks of this folder."""
    scores = TINY.observations.numpy().astype(np.float64) @ CATALOGUE.numpy().T / temperature
    return scores[range(4), range(4)] - np.log(np.exp(scores).sum(axis=1))


@pytest.mark.parametrize("temperature", [0.2, 1.0, 5.0])
def test_with_the_whole_catalogue_the_softmax_is_exact(temperature):
    output = loss_of("softmax-bc", whole_catalogue(), temperature=temperature)
    assert output.loss.item() == pytest.approx(-log_probs(temperature).mean(), rel=1e-5)
    exact = np.exp(log_probs(temperature)).mean()
    assert float(output.metrics["mean_probability"]) == pytest.approx(exact, rel=1e-5)


def test_of_the_first_context_all_items_are_alike():
    # s = (0, 0): every score is 0.
    found = softmax_log_prob(linear_parameters(), whole_catalogue(), 0.7)
    assert float(found[0]) == pytest.approx(-np.log(5.0))


def test_drawn_items_stand_for_the_rest_of_the_catalogue():
    # Items 4 and 0 are drawn of five. In context (1, 0), where item 1 was logged, both stand for
    # two items; in (0, 0) item 0 was logged, and item 4 stands for four.
    batch = whole_catalogue()
    infos = {
        "negatives": CATALOGUE[[4, 0]],
        "negative_weights": torch.tensor([[4.0, 0.0], [2.0, 2.0], [2.0, 2.0], [2.0, 2.0]]),
    }
    found = softmax_log_prob(linear_parameters(), batch._replace(infos=infos), 0.5).numpy()
    assert found[0] == pytest.approx(-np.log(1.0 + 4.0))
    second = 2.0 - np.log(np.exp(2.0) + 2.0 * np.exp(-2.0) + 2.0 * np.exp(2.0))
    assert found[1] == pytest.approx(second, rel=1e-6)


def test_where_all_that_was_drawn_is_the_logged_item_there_is_nothing_to_learn():
    infos = {"negatives": CATALOGUE[[0, 0]], "negative_weights": torch.zeros(4, 2)}
    parameters = {k: v.requires_grad_() for k, v in linear_parameters().items()}
    output = loss_of("softmax-bc", TINY._replace(infos=infos), parameters)
    assert output.loss.item() == 0.0
    gradient = torch.autograd.grad(output.loss, parameters["policy.bias_1"])[0]
    assert gradient.tolist() == [0.0, 0.0]


@pytest.mark.parametrize(
    "name", ["softmax-bc", "softmax-pg", "topk-off-policy", "drpo-softmax", "dr-policy"]
)
def test_there_is_no_sigma_to_choose(name):
    with pytest.raises(ValueError, match="Unknown sigma 'learned'"):
        loss_of(name, whole_catalogue(), sigma="learned")
