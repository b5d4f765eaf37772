"""Rounds that came together: intervals are over requests."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st

from recsim_drpo import ope
from recsim_drpo.ope.evaluator import OffPolicyEvaluator
from recsim_drpo.ope.logs import ItemLog
from recsim_drpo.ope.models import CrossFitted
from recsim_drpo.ope.report import as_text
from recsim_drpo.reporting.statistics import mean_interval


def test_by_hand():
    """Three requests of 2, 1 and 1 rounds: sums 3, 0, 2, lengths 2, 1, 1, mean 5 / 4."""
    values, requests = [1.0, 2.0, 0.0, 2.0], [7, 7, 3, 5]
    found = mean_interval(values, requests)
    residuals = np.array([3 - 2 * 1.25, 0 - 1.25, 2 - 1.25]) / (4 / 3)
    half = 1.959964 * residuals.std(ddof=1) / np.sqrt(3)
    assert found.value == pytest.approx(1.25)
    assert found.high == pytest.approx(1.25 + half, rel=1e-6)
    with pytest.raises(ValueError, match="labels of clusters"):
        mean_interval(values, [1, 2, 3])


@given(st.integers(0, 2**32), st.integers(2, 5))
def test_rounds_that_are_repeated_tell_no_more_than_once(seed, copies):
    generator = np.random.default_rng(seed)
    r, w, q, e = generator.uniform(size=(4, 30))
    one = np.arange(30)
    many, unit = np.repeat(one, copies), (0.0, 1.0)
    for formula, columns in (
        (ope.ips, (r, w)),
        (ope.snips, (r, w)),
        (ope.direct_method, (e,)),
        (ope.doubly_robust, (r, w, q, e)),
        (ope.mean_reward, (r,)),
    ):
        once = formula(*columns, reward_range=unit)
        repeated = [np.repeat(column, copies) for column in columns]
        together = formula(*repeated, reward_range=unit, requests=many)
        assert list(together) == pytest.approx(list(once))
        alone = formula(*columns, reward_range=unit, requests=one)
        assert list(alone) == pytest.approx(list(once))
        assert formula(*repeated, reward_range=unit).high < together.high


def test_intervals_over_requests_cover_where_rounds_of_one_are_alike():
    """A request's rounds share a user, who clicks on all or on none of them."""
    generator = np.random.default_rng(0)
    hits = np.zeros(2)
    for _ in range(400):
        requests = np.repeat(np.arange(200), 5)
        clicks = np.repeat(generator.random(200) < 0.3, 5).astype(float)
        weights = 2.0 * (generator.random(1_000) < 0.5)
        for which, names in enumerate((requests, None)):
            found = ope.snips(clicks, weights, reward_range=(0.0, 1.0), requests=names)
            hits[which] += found.low <= 0.3 <= found.high
    assert hits[0] > 0.92 * 400
    assert hits[1] < 0.85 * 400


def test_models_have_not_seen_the_request_that_they_predict():
    requests = torch.arange(12) // 3

    class Nothing:
        def __init__(self, rounds):
            self.rounds = rounds

        def predict(self, contexts, shown):
            return torch.zeros(len(contexts))

    models = CrossFitted(Nothing, 12, 2, requests)
    for number, model in enumerate(models.models):
        predicted = (models.fold == number).nonzero().squeeze(1)
        assert not set(requests[model.rounds].tolist()) & set(requests[predicted].tolist())


def test_a_log_with_requests_is_evaluated_over_them():
    generator = torch.Generator().manual_seed(0)
    contexts = torch.randn(400, 2, generator=generator).repeat_interleave(4, dim=0)
    items = torch.randint(2, (1_600,), generator=generator)
    rewards = (contexts[:, 0] > 0).float()  # alike in a request
    half = torch.full((1_600,), 0.5, dtype=torch.float64)
    log = ItemLog(contexts, items, rewards, half, torch.eye(2), np.arange(2), (0.0, 1.0))
    together = dataclasses.replace(log, requests=torch.arange(1_600) // 4)

    class Always:
        def act(self, observations):
            return torch.eye(2)[0].expand(len(observations), -1)

    rounds, requests = (
        OffPolicyEvaluator(one, num_clusters=2)(Always()) for one in (log, together)
    )
    assert (rounds.num_requests, requests.num_requests) == (None, 400)
    assert requests.logged.value == pytest.approx(rounds.logged.value)
    widths = [one.logged.high - one.logged.low for one in (rounds, requests)]
    assert widths[1] / widths[0] == pytest.approx(2.0, rel=0.02)  # √4
    ips = [one.estimates[0].value for one in (rounds, requests)]
    assert ips[1].value == pytest.approx(ips[0].value)
    assert ips[1].high - ips[1].low > 1.2 * (ips[0].high - ips[0].low)
    assert "over the 400 requests" in as_text({"one": requests})
    with pytest.raises(ValueError, match="3 requests for 1600 items"):
        dataclasses.replace(log, requests=torch.arange(3))
