from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from recsim_drpo.ope import (
    ESTIMATORS,
    ESTIMATORS_BY_NAME,
    OffPolicyEstimate,
    Support,
    Terms,
    estimators,
)

BY_HAND = {
    "ips": (2 * 1.0 + 1 * 0.0 + 0 * 1.0 + 1 * 0.5) / 4,
    "snips": (2 * 1.0 + 1 * 0.0 + 0 * 1.0 + 1 * 0.5) / (2 + 1 + 0 + 1),
    "dm": (0.25 + 0.5 + 0.75 + 0.75) / 4,
    "dr": (0.25 + 2 * (1.0 - 0.5) + 0.5 + 1 * (0.0 - 0.5) + 0.75 + 0.75 + 1 * (0.5 - 0.25)) / 4,
    "mips": (0 * 1.0 + 3 * 0.0 + 1 * 1.0 + 2 * 0.5) / (0 + 3 + 1 + 2),
}


@pytest.fixture
def terms() -> Terms:
    """Four rounds."""
    return Terms(
        rewards=np.array([1.0, 0.0, 1.0, 0.5]),
        predicted=np.array([0.5, 0.5, 1.0, 0.25]),
        expected=np.array([0.25, 0.5, 0.75, 0.75]),
        weights=np.array([2.0, 1.0, 0.0, 1.0]),
        cluster_weights=np.array([0.0, 3.0, 1.0, 2.0]),
    )


def many(terms: Terms, copies: int = 250) -> Terms:
    """The same rounds again and again, so that no estimator refuses for want of them."""
    columns = ("rewards", "predicted", "expected", "weights")
    repeated = {name: np.tile(getattr(terms, name), copies) for name in columns}
    return dataclasses.replace(terms, **repeated, cluster_weights=np.ones(4 * copies))


def test_every_estimator_is_in_the_table_by_its_name():
    assert ESTIMATORS == tuple(ESTIMATORS_BY_NAME) == ("ips", "snips", "dm", "dr", "mips")
    assert all(name == estimator.name for name, estimator in ESTIMATORS_BY_NAME.items())
    classes = {
        thing
        for thing in vars(estimators).values()
        if isinstance(thing, type) and issubclass(thing, estimators.Estimator)
        if not thing.__abstractmethods__
    }
    assert {type(estimator) for estimator in ESTIMATORS_BY_NAME.values()} == classes


@pytest.mark.parametrize("name", ESTIMATORS_BY_NAME)
def test_values_of_a_tiny_log_by_hand(terms, name):
    estimate = ESTIMATORS_BY_NAME[name].estimate(terms, refuse=False)
    assert (estimate.estimator, estimate.refusal) == (name, None)
    assert estimate.value.value == pytest.approx(BY_HAND[name])


def test_what_values_rest_on_by_hand(terms):
    rests_on = {
        name: (estimator.ess(terms), estimator.largest_weight(terms))
        for name, estimator in ESTIMATORS_BY_NAME.items()
    }
    item = (pytest.approx(4**2 / (4 + 1 + 1)), 2.0)
    cluster = (pytest.approx(6**2 / (9 + 1 + 4)), 3.0)
    assert rests_on == {
        "ips": item,
        "snips": item,
        "dm": (4.0, None),
        "dr": item,
        "mips": cluster,
    }


def test_refused_estimates_have_no_value(terms):
    for name, estimator in ESTIMATORS_BY_NAME.items():
        assert estimator.estimate(many(terms)).refusal is None, name
    few = {name: estimator.estimate(terms) for name, estimator in ESTIMATORS_BY_NAME.items()}
    for name in ("ips", "snips", "dr", "mips"):
        assert few[name].value is None
        assert "effective sample size is 2." in few[name].refusal
    unlogged = dataclasses.replace(
        many(terms), items=Support("item", 0.6), clusters=Support("cluster", 0.1)
    )
    refused = {name: estimator.estimate(unlogged) for name, estimator in ESTIMATORS_BY_NAME.items()}
    assert all(estimate.value is None for estimate in refused.values())
    assert refused["ips"].refusal.startswith("60.0% of the policy's probability is on items")
    assert refused["mips"].refusal.startswith("10.0% of the policy's probability is on clusters")


def test_mips_is_refused_where_items_of_a_cluster_pay_differently(terms):
    apart = dataclasses.replace(many(terms), expected=np.full(1_000, 0.1))
    assert "do not pay alike" in ESTIMATORS_BY_NAME["mips"].estimate(apart).refusal
    assert ESTIMATORS_BY_NAME["mips"].estimate(apart, refuse=False).value is not None


def test_mips_is_refused_where_nothing_tells_whether_items_of_a_cluster_pay_alike(terms):
    """A model that is no better than the mean cannot say that its clusters are alike."""
    good = many(terms)
    blind = dataclasses.replace(good, predicted=np.full(1_000, good.rewards.mean()))
    for expected in (blind.predicted, good.expected):
        refused = ESTIMATORS_BY_NAME["mips"].estimate(dataclasses.replace(blind, expected=expected))
        assert refused.value is None
        assert "cannot be checked" in refused.refusal


def test_clicks_are_counted_and_too_few_are_refused():
    """Of 255 rounds that match, so many are clicked; none of the 745 others counts."""
    for clicks in (0, 1, 2, 9, 10, 255):
        rewards = np.zeros(1_000)
        rewards[:clicks], rewards[255:] = 1.0, 1.0
        weights = np.where(np.arange(1_000) < 255, 1_000 / 255, 0.0)
        model = np.clip(rewards, 0.1, 0.9)
        few = Terms(rewards, model, model, weights, weights, reward_range=(0.0, 1.0))
        for name in ("ips", "snips", "dr", "mips"):
            found = ESTIMATORS_BY_NAME[name].estimate(few)
            assert (found.rewarded, found.matched) == (clicks, 255)
            if clicks < 10:
                assert found.value is None
                assert f"{clicks} of the 255 rounds with weight are rewarded" in found.refusal
            elif name in ("ips", "snips"):
                assert found.value.value == pytest.approx(clicks / 255)
        dm = ESTIMATORS_BY_NAME["dm"].estimate(few)
        assert (dm.rewarded, dm.matched) == (None, None)


@pytest.mark.parametrize("name", ESTIMATORS_BY_NAME)
def test_intervals_lie_in_the_range_of_rewards_and_around_the_value(name):
    generator = np.random.default_rng(0)
    for low, width, rate in ((0.0, 1.0, 0.004), (-2.0, 3.0, 0.5), (0.0, 1.0, 0.998)):
        rewards = low + width * (generator.random(600) < rate)
        weights = 4.0 * (generator.random(600) < 0.25)
        model = np.full(600, rewards.mean()) + generator.normal(size=600) * 0.01 * width
        terms = Terms(rewards, model, model, weights, weights, reward_range=(low, low + width))
        value, lower, upper = ESTIMATORS_BY_NAME[name].estimate(terms, refuse=False).value
        assert lower <= value <= upper
        assert lower >= min(low, value)
        assert upper <= max(low + width, value)


def test_without_weights_there_is_no_value_even_where_nothing_is_refused(terms):
    bare = dataclasses.replace(many(terms), weights=None, cluster_weights=None)
    for name in ("ips", "snips", "dr", "mips"):
        assert ESTIMATORS_BY_NAME[name].estimate(bare, refuse=False) == OffPolicyEstimate(
            name, None, 0.0, None
        )
    assert ESTIMATORS_BY_NAME["dr"].estimate(bare).refusal == "the log has no propensities"
    assert ESTIMATORS_BY_NAME["mips"].estimate(bare).refusal == "the log's items are in no clusters"
    assert ESTIMATORS_BY_NAME["dm"].estimate(bare).refusal is None
