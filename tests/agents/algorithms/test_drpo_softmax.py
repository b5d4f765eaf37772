from __future__ import annotations

import numpy as np
import pytest
import torch

from recsim_drpo.agents.algorithms.filtering import top_kappa
from tests.agents.algorithms.conftest import TINY, loss_of
from tests.agents.algorithms.test_softmax import log_probs, whole_catalogue


@pytest.mark.parametrize("temperature", [0.5, 1.0])
@pytest.mark.parametrize("baseline", ["threshold", "mean"])
def test_drpo_softmax_by_hand(temperature, baseline):
    # κ = 0.5 of four rewards 0.2, 0.8, 0.4, 0.6 admits 0.8 and 0.6: ν = 0.6, σ = 0.1, mean 0.7.
    base = 0.6 if baseline == "threshold" else 0.7
    advantages = np.array([0.0, (0.8 - base) / 0.1, 0.0, (0.6 - base) / 0.1])
    expected = -(advantages * log_probs(temperature)).sum() / 2.0
    values = {"temperature": temperature, "initial_kappa": 0.5, "baseline": baseline}
    output = loss_of("drpo-softmax", whole_catalogue(), **values)
    assert float(output.loss) == pytest.approx(expected, rel=1e-4)


def test_its_filter_is_that_of_drpo():
    mine = loss_of("drpo-softmax", whole_catalogue(), adaptive=True)
    theirs = loss_of("drpo", TINY, adaptive=True)
    assert torch.equal(mine.state["kappa"], theirs.state["kappa"])
    assert {k: float(v) for k, v in mine.metrics.items()} == {
        k: float(v) for k, v in theirs.metrics.items()
    }


def test_equal_weights_of_what_is_admitted_would_be_cloning_of_it():
    # Two rewards above ν, alike: each weighs (1 − 0) / σ.
    batch = whole_catalogue(TINY._replace(rewards=torch.tensor([1.0, 1.0, 0.0, 0.0])))
    filtered = top_kappa(batch.rewards, torch.tensor(0.75, dtype=torch.float64))
    weight = float(1.0 / filtered.subset_std)
    output = loss_of("drpo-softmax", batch, initial_kappa=0.75, temperature=1.0)
    expected = -weight * log_probs(1.0)[:2].sum() / 3.0
    assert float(output.loss) == pytest.approx(expected, rel=1e-4)
