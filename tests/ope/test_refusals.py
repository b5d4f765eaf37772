from __future__ import annotations

import numpy as np
import torch

from recsim_drpo.ope import Support, cluster_refusal, model_refusal, weights_refusal
from recsim_drpo.reporting.statistics import Estimate

ROUNDS = np.arange(10_000)
REWARDS = (ROUNDS % 2).astype(float)
EQUAL = np.ones(10_000)


def test_weights_are_refused_where_few_count_or_their_mean_is_not_1():
    assert weights_refusal(EQUAL) is None
    assert "effective sample size is 0.0 of 2 rounds" in weights_refusal([0.0, 0.0])
    half = np.where(ROUNDS % 2, 1.0, 0.0)  # weights that leave half of the probability out
    assert "about 50.0% of the policy's probability is where" in weights_refusal(half)
    assert "mean weight is 1.500" in weights_refusal(1.5 * EQUAL)
    assert weights_refusal(1.4 * EQUAL, None, 0.5) is None
    few = np.where(ROUNDS < 99, 10_000 / 99, 0.0)
    assert "is 99.0 of 10,000 rounds (99 have weight, at most 101)" in weights_refusal(few)


def test_weights_are_refused_where_the_policy_shows_what_was_never_logged():
    unlogged = Support("item", 0.06, [(17, 0.04), (3, 0.02)], 600, [1, 5])
    assert weights_refusal(EQUAL, unlogged) == (
        "6.0% of the policy's probability is on items never logged, first of all 17 (4.0%), "
        "3 (2.0%); 600 contexts get nothing else (rounds 1, 5, …); at most 5% may be"
    )


def test_support_names_the_worst_of_what_was_never_logged():
    shares = np.array([0.5, 0.1, 0.2, 0.05, 0.15])
    logged = torch.tensor([True, False, False, False, False])
    names = np.array(["a", "b", "c", "d", "e"])
    support = Support.of("item", shares, logged, names, torch.arange(7, 12))
    assert np.isclose(support.missing, 0.5)
    assert support.examples == [("c", 0.2), ("e", 0.15), ("b", 0.1)]
    assert (support.num_contexts, support.contexts) == (5, [7, 8, 9])
    assert Support.of("cluster", shares, ~torch.zeros(5, dtype=torch.bool), names) == Support(
        "cluster", 0.0, [], 0, []
    )


def test_a_model_is_refused_that_cannot_tell_items_apart_or_only_extrapolates():
    assert model_refusal(REWARDS, 0.8 * REWARDS) is None
    assert "no better than the mean" in model_refusal(REWARDS, 1.0 - REWARDS)
    assert "no better than the mean" in model_refusal(np.ones(3), np.ones(3))
    beyond = Support("item", 0.51)
    assert "51.0% of the policy's" in model_refusal(REWARDS, 0.8 * REWARDS, beyond)


def test_clusters_are_refused_whose_items_pay_differently():
    value = Estimate(0.5, 0.4, 0.6)
    assert cluster_refusal(EQUAL, REWARDS, REWARDS, np.full(10_000, 0.45), value) is None
    apart = cluster_refusal(EQUAL, REWARDS, REWARDS, np.full(10_000, 0.3), value)
    assert "+0.200, more than its interval's half-width 0.100" in apart


def test_clusters_are_refused_where_no_model_can_tell_their_items_apart():
    value = Estimate(0.5, 0.4, 0.6)
    for predicted in (np.full(10_000, 0.5), 1.0 - REWARDS, np.full(10_000, 0.1)):
        refusal = cluster_refusal(EQUAL, REWARDS, predicted, predicted, value)
        assert "items of a cluster pay alike cannot be checked" in refusal
    assert "(R² -3.0000)" in cluster_refusal(EQUAL, REWARDS, 1.0 - REWARDS, EQUAL, value)
    assert "cannot be checked" in cluster_refusal(EQUAL, EQUAL, EQUAL, EQUAL, value)
