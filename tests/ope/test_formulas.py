from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from recsim_drpo import ope
from recsim_drpo.reporting.statistics import Estimate, mean_interval


@st.composite
def logs(draw):
    """Rewards, weights, predictions on what was logged, and expected ones of the policy."""
    n = draw(st.integers(2, 40))
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    rewards = generator.uniform(size=n)
    weights = generator.exponential(size=n) * (generator.uniform(size=n) < 0.7)
    weights[0] += 0.1
    return rewards, weights, generator.uniform(size=n), generator.uniform(size=n)


def close(a, b):
    return list(a) == pytest.approx(list(b), rel=1e-9, abs=1e-12)


@given(logs())
def test_a_policy_that_is_the_logger_is_worth_the_mean_reward(log):
    rewards = log[0]
    same = np.ones_like(rewards)
    assert close(ope.ips(rewards, same), mean_interval(rewards))
    assert close(ope.snips(rewards, same), mean_interval(rewards))
    assert ope.effective_sample_size(same) == pytest.approx(len(rewards))


@given(logs(), st.floats(1e-6, 1e6))
def test_snips_knows_neither_the_size_of_weights_nor_the_origin_of_rewards(log, factor):
    rewards, weights, *_ = log
    found = ope.snips(rewards, weights)
    assert close(ope.snips(rewards, factor * weights), found)
    assert close(ope.snips(rewards + 2.0, weights), Estimate(*(x + 2.0 for x in found)))
    shown = rewards[weights > 0]
    assert shown.min() - 1e-12 <= found.value <= shown.max() + 1e-12


@given(logs(), st.floats(0.01, 100.0))
def test_ips_is_linear_in_the_rewards(log, factor):
    rewards, weights, *_ = log
    assert close(ope.ips(factor * rewards, weights), ope.ips(rewards, weights).scaled(factor))


@given(logs())
def test_doubly_robust_with_a_model_that_says_0_is_ips(log):
    rewards, weights, *_ = log
    nothing = np.zeros_like(rewards)
    assert close(ope.doubly_robust(rewards, weights, nothing, nothing), ope.ips(rewards, weights))


@given(logs())
def test_doubly_robust_with_an_exact_model_has_no_variance_but_the_contexts(log):
    rewards, weights, _, expected = log
    assert close(
        ope.doubly_robust(rewards, weights, rewards, expected),
        ope.direct_method(expected),
    )
    constant = np.full_like(rewards, 0.3)
    found = ope.doubly_robust(rewards, weights, rewards, constant)
    assert close(found, [0.3, 0.3, 0.3])


@given(logs())
def test_the_effective_sample_size_is_between_1_and_the_rounds_with_weight(log):
    weights = log[1]
    size = ope.effective_sample_size(weights)
    assert 1.0 - 1e-9 <= size <= (weights > 0).sum() + 1e-9
    assert ope.effective_sample_size(weights / 1e200) == pytest.approx(size)


@settings(max_examples=25)
@given(st.integers(0, 2**32))
def test_ips_is_unbiased_by_enumeration(seed):
    """A log in which every item is shown exactly as often as its propensity says."""
    generator = np.random.default_rng(seed)
    counts = generator.integers(1, 6, size=5)
    items = np.repeat(np.arange(5), counts)
    policy, pays = generator.dirichlet(np.ones(5)), generator.uniform(size=5)
    weights = policy[items] / (counts / counts.sum())[items]
    truth = policy @ pays
    assert weights.mean() == pytest.approx(1.0)
    assert ope.ips(pays[items], weights).value == pytest.approx(truth)
    assert ope.snips(pays[items], weights).value == pytest.approx(truth)
    wrong = generator.uniform(size=5)
    expected = np.full(len(items), policy @ wrong)
    doubly = ope.doubly_robust(pays[items], weights, wrong[items], expected)
    assert doubly.value == pytest.approx(truth)


def test_values_by_hand():
    rewards, weights = [1.0, 0.0, 1.0, 0.5], [2.0, 1.0, 0.0, 1.0]
    assert ope.ips(rewards, weights).value == pytest.approx(2.5 / 4)
    assert ope.snips(rewards, weights).value == pytest.approx(2.5 / 4)
    assert ope.effective_sample_size(weights) == pytest.approx(16 / 6)
    terms = np.array([2.0, 0.0, 0.0, 0.5])
    half = 1.959964 * terms.std(ddof=1) / 2
    assert ope.ips(rewards, weights).high == pytest.approx(terms.mean() + half, rel=1e-6)
    # Delta method: terms w (r - v) / mean(w).
    residuals = np.array([2 * 0.375, -0.625, 0.0, -0.125])
    half = 1.959964 * residuals.std(ddof=1) / 2
    assert ope.snips(rewards, weights).high == pytest.approx(0.625 + half, rel=1e-6)
    doubly = ope.doubly_robust(rewards, weights, [0.5] * 4, [0.25] * 4)
    assert doubly.value == pytest.approx(0.25 + (2 * 0.5 - 0.5 + 0.0 + 0.0) / 4)
    assert ope.r_squared([0.0, 1.0], [0.25, 0.75]) == pytest.approx(1 - 0.125 / 0.5)


def test_no_weight_is_no_answer():
    assert ope.ips([1.0, 0.5], [0.0, 0.0]) == Estimate(0.0, 0.0, 0.0)
    assert math.isnan(ope.snips([1.0, 0.5], [0.0, 0.0]).value)
    assert ope.effective_sample_size([0.0, 0.0]) == 0.0


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"rewards": [1.0], "weights": [1.0, 2.0]}, r"weights has shape \(2,\)"),
        ({"rewards": [], "weights": []}, "at least one round"),
        ({"rewards": [[1.0]], "weights": [[1.0]]}, r"shape \(1, 1\)"),
        ({"rewards": [math.nan, 1.0], "weights": [1.0, 1.0]}, "1 of 2 rewards are NaN"),
        ({"rewards": [0.0, 1.0], "weights": [1.0, -2.0]}, "1 of 2 weights are negative"),
    ],
)
def test_bad_input_is_one_error(columns, message):
    for estimator in (ope.ips, ope.snips):
        with pytest.raises(ValueError, match=message):
            estimator(**columns)


@pytest.mark.peer
def test_numbers_are_those_of_open_bandit_pipeline(import_peer):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        peer = import_peer("obp.ope")
    generator = np.random.default_rng(0)
    n, num_items = 500, 7
    items = generator.integers(num_items, size=n)
    rewards = generator.uniform(size=n)
    logger, policy = (generator.dirichlet(np.ones(num_items), size=n) for _ in range(2))
    model = generator.uniform(size=(n, num_items))
    rows = np.arange(n)
    weights = policy[rows, items] / logger[rows, items]
    expected, predicted = (policy * model).sum(axis=1), model[rows, items]
    given = {
        "reward": rewards,
        "action": items,
        "position": np.zeros(n, dtype=int),
        "pscore": logger[rows, items],
        "action_dist": policy[:, :, None],
        "estimated_rewards_by_reg_model": model[:, :, None],
    }
    for theirs, ours in (
        (peer.InverseProbabilityWeighting(), ope.ips(rewards, weights)),
        (peer.SelfNormalizedInverseProbabilityWeighting(), ope.snips(rewards, weights)),
        (peer.DirectMethod(), ope.direct_method(expected)),
        (peer.DoublyRobust(), ope.doubly_robust(rewards, weights, predicted, expected)),
    ):
        assert ours.value == pytest.approx(theirs.estimate_policy_value(**given), rel=1e-12)
