from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from scipy.special import expit

from recsim_drpo import make_agent
from recsim_drpo.agents import Batch, needs_of
from tests.agents.algorithms.conftest import REWARDS, TINY, VALUE, linear_parameters, loss_of
from tests.agents.conftest import DIMS, make_batch, transitions_of

NAME = "two-tower-ips"
SCORES = np.array([0.1, 1.6, 4.6, 1.85])
LOSSES = -(REWARDS * np.log(expit(SCORES)) + (1.0 - REWARDS) * np.log(1.0 - expit(SCORES)))


def with_propensities(batch, propensities):
    return batch._replace(infos={"propensity": torch.as_tensor(propensities, dtype=torch.float64)})


def loss_by(propensities, batch=TINY, **hyperparameters):
    parameters = linear_parameters(baseline=VALUE)
    return loss_of(NAME, with_propensities(batch, propensities), parameters, **hyperparameters)


def test_two_tower_ips_by_hand():
    # Weights 2, 4, 5 and, clipped, 5: a share of 16 each.
    output = loss_by([0.5, 0.25, 0.2, 0.001], max_weight=5.0, penalty=0.3)
    shares = np.array([2.0, 4.0, 5.0, 5.0]) / 16.0
    expected = (shares * LOSSES).sum()
    assert float(output.metrics["prediction_loss"]) == pytest.approx(expected, rel=1e-6)
    assert float(output.loss) == pytest.approx(expected + 0.3 * 7.0 / 4.0, rel=1e-6)
    effective = float(output.metrics["effective_share"])
    assert effective == pytest.approx(1.0 / (4.0 * (shares**2).sum()), rel=1e-6)


@given(st.floats(1e-6, 1.0), st.floats(1.0, 1e4))
def test_equal_propensities_and_a_cap_of_1_are_two_tower(propensity, cap):
    plain = float(loss_of("two-tower", parameters=linear_parameters(baseline=VALUE)).loss)
    equal = float(loss_by([propensity] * 4, max_weight=cap).loss)
    assert equal == pytest.approx(plain, rel=1e-5)
    capped = loss_by([propensity, 0.5, 0.1, 1.0], max_weight=1.0)
    assert float(capped.loss) == pytest.approx(plain, rel=1e-5)
    assert float(capped.metrics["effective_share"]) == pytest.approx(1.0, rel=1e-5)


@given(st.lists(st.integers(1, 5), min_size=4, max_size=4))
def test_a_weight_is_a_number_of_copies(copies):
    """What was shown half as often counts as if it had been logged twice."""
    rows = torch.repeat_interleave(torch.arange(4), torch.tensor(copies))
    copied = Batch(*(column[rows] for column in TINY[:5]))
    parameters = linear_parameters(baseline=VALUE)
    expected = float(loss_of("two-tower", copied, parameters, penalty=0.0).loss)
    weighted = float(loss_by([0.2 / count for count in copies], penalty=0.0).loss)
    assert weighted == pytest.approx(expected, rel=1e-5)


def test_expectation_is_that_of_a_logger_who_draws_items_uniformly():
    generator = np.random.default_rng(0)
    shown = np.array([0.55, 0.25, 0.15, 0.05])  # of the four rounds of TINY
    rows = torch.as_tensor(generator.choice(4, size=200_000, p=shown))
    log = Batch(*(column[rows] for column in TINY[:5]))
    output = loss_by(shown[rows.numpy()], log, penalty=0.0)
    assert float(output.loss) == pytest.approx(LOSSES.mean(), rel=0.01)
    assert abs((shown * LOSSES).sum() - LOSSES.mean()) > 0.2  # which unweighted rounds would have


@pytest.mark.parametrize("propensity", [0.0, -0.1, 1.5, math.nan])
def test_propensities_that_are_none_freeze_the_learner(propensity):
    agent = make_agent(NAME, **DIMS)
    agent.update(with_propensities(make_batch(4), [0.5, propensity, 0.1, 1.0]))
    assert agent.diverged_at == 1


def test_logs_without_propensities_are_refused():
    assert needs_of(NAME).infos == ("propensity",)
    batch = make_batch(4)._replace(infos={})
    agent = make_agent(NAME, **DIMS)
    with pytest.raises(ValueError, match="reads the info column 'propensity'"):
        agent.make_train_step(transitions_of(batch), 4)
    with pytest.raises(ValueError, match="reads the info column 'propensity'"):
        agent.update(batch)


@pytest.mark.parametrize("cap", [0.5, math.nan])
def test_caps_that_are_none(cap):
    with pytest.raises(ValueError, match=f"max_weight={cap}"):
        make_agent(NAME, **DIMS, max_weight=cap)
