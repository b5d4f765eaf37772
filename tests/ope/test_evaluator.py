from __future__ import annotations

import numpy as np
import pytest
import torch

from recsim_drpo import make_world, reference_policy
from recsim_drpo.benchmarks import ope_accuracy
from recsim_drpo.benchmarks.ope_accuracy import SyntheticPolicy
from recsim_drpo.ope.estimators import ESTIMATORS
from recsim_drpo.ope.evaluator import OffPolicyEvaluator
from recsim_drpo.ope.logs import ItemLog

KWARGS = {"num_items": 60, "embedding_dim": 8, "num_topics": 4}


def small_log(num_rounds=4_000, seed=0):
    world = make_world(**KWARGS)
    return ope_accuracy.simulate_log(
        world, {"random": 0.5, "expert": 0.5}, 1.0, KWARGS, num_rounds, seed
    ), world


@pytest.fixture(scope="module")
def evaluator():
    return OffPolicyEvaluator(small_log()[0])


class Always:
    """Shows the same items to everyone, by turns; NaN for item -1."""

    def __init__(self, world, *items):
        self.vectors = torch.stack(
            [world.embeddings[i] if i >= 0 else torch.full((world.dim,), torch.nan) for i in items]
        )

    def act(self, observations):
        return self.vectors[0].expand(len(observations), -1)

    def sample(self, observations, generator):
        which = torch.randint(len(self.vectors), (len(observations),), generator=generator)
        return self.vectors[which]


def test_weights_are_those_of_the_items_that_actions_decode_to(evaluator):
    log, world = evaluator.log, make_world(**KWARGS)
    item = int(log.items[0])
    terms = evaluator.terms(Always(world, item))
    shown = (log.items == item).double() / log.propensities
    assert np.allclose(terms.weights, shown.numpy())
    assert terms.items.missing == 0.0
    clusters = evaluator.clusters
    same = (clusters[log.items] == clusters[item]).numpy()
    assert ((terms.cluster_weights > 0) == same).all()
    found = {one.estimator: one for one in evaluator(Always(world, item)).estimates}
    assert tuple(found) == ESTIMATORS
    by_hand = float((shown * log.rewards).mean())
    assert found["ips"].value is None or found["ips"].value.value == pytest.approx(by_hand)


def test_draws_estimate_a_stochastic_policy(evaluator):
    log, world = evaluator.log, make_world(**KWARGS)
    first, second = (int(k) for k in log.items.bincount().topk(2).indices)
    one, two = (evaluator.terms(Always(world, k)) for k in (first, second))
    both = evaluator.terms(Always(world, first, second, -1), samples=64)
    thirds = (one.expected.mean() + two.expected.mean()) / 3
    assert both.expected.mean() == pytest.approx(thirds, rel=0.02)
    assert both.nothing_shown == pytest.approx(1 / 3, abs=0.005)
    third = (one.weights.mean() + two.weights.mean()) / 3
    assert both.weights.mean() == pytest.approx(third, rel=0.02)


def test_the_logger_itself_is_worth_what_it_logged(evaluator):
    policy = reference_policy(
        "logger", make_world(**KWARGS), {"random": 0.5, "expert": 0.5}, seed=9
    )
    found = {one.estimator: one for one in evaluator(policy).estimates}
    logged = evaluator(policy).logged
    for name in ("ips", "snips", "dr"):
        assert found[name].refusal is None
        apart = found[name].value.value - logged.value
        half = found[name].value.high - found[name].value.value
        assert abs(apart) < 2.0 * half


def test_values_agree_with_the_simulator():
    log, world = small_log(8_000)
    policy = SyntheticPolicy(world, 0.9, 0.0, 1)
    found = {one.estimator: one for one in OffPolicyEvaluator(log)(policy).estimates}
    truth = ope_accuracy.true_value(policy, world, 0)
    for name in ("ips", "snips", "dr"):
        value = found[name].value
        assert value.high - value.value < 0.15 * truth
        assert abs(value.value - truth) < 2.0 * (value.high - value.value)
    assert found["dm"].value.value == pytest.approx(truth, rel=0.1)


class BySign:
    """Shows item 0 where a column of the context is beyond a limit, else item 1."""

    def __init__(self, column, limit):
        self.column, self.limit = column, limit

    def act(self, observations):
        return torch.eye(2)[(observations[:, self.column] <= self.limit).long()]


@pytest.mark.parametrize("unit", [1.0, 1e10])
def test_values_do_not_depend_on_the_unit_of_a_column(unit):
    """Item 0 pays .8 where x > 0, item 1 elsewhere, else .2; a column of seconds says nothing."""
    generator = torch.Generator().manual_seed(0)
    n = 6_000
    x = torch.rand(n, generator=generator) - 0.5
    seconds = unit * (170.0 + torch.rand(n, generator=generator))
    items = torch.randint(2, (n,), generator=generator)
    pays = torch.where((x > 0) == (items == 0), 0.8, 0.2)
    clicks = (torch.rand(n, generator=generator) < pays).float()
    half = torch.full((n,), 0.5, dtype=torch.float64)
    contexts = torch.stack([x, seconds], dim=1)
    log = ItemLog(contexts, items, clicks, half, torch.eye(2), np.arange(2), (0.0, 1.0))
    evaluator = OffPolicyEvaluator(log, num_clusters=2)
    for policy, truth in ((BySign(0, 0.0), 0.8), (BySign(1, 170.5 * unit), 0.5)):
        found = evaluator(policy)
        assert found.r_squared > 0.3
        for one in found.estimates:
            apart = 0.1 if one.estimator == "dm" else 0.04
            assert one.value.value == pytest.approx(truth, abs=apart)
            assert one.value.high - one.value.low < 0.08


def test_what_the_log_never_shows_is_refused_by_name():
    log, world = small_log(1_000)
    ids = np.arange(60) + 500
    seen = log.items < 30
    columns = (log.contexts, log.items, log.rewards, log.propensities)
    short = ItemLog(*(column[seen] for column in columns), log.embeddings, ids)
    found = OffPolicyEvaluator(short, num_clusters=60)(Always(world, 45))
    assert found.unlogged == 1.0
    for one in found.estimates:
        assert one.value is None
        if one.estimator != "dm" or "items never" in one.refusal:
            assert "100.0% of the policy's probability" in one.refusal
    refusal = found.estimates[0].refusal
    assert "first of all 545 (100.0%)" in refusal
    assert f"{len(short):,} contexts get nothing else (rounds 0, 1, 2, …)" in refusal


def test_a_log_without_propensities_has_its_model_only():
    log, world = small_log()
    bare = ItemLog(log.contexts, log.items, log.rewards, None, log.embeddings, log.item_ids)
    found = {o.estimator: o for o in OffPolicyEvaluator(bare)(Always(world, 3)).estimates}
    assert {found[name].refusal for name in ("ips", "snips", "dr")} == {
        "the log has no propensities"
    }
    assert found["dm"].value is not None


def test_wrong_policies_are_one_error(evaluator):
    class Nothing:
        act = None

    class Wide:
        def act(self, observations):
            return torch.zeros(len(observations), 9)

    with pytest.raises(TypeError, match="Nothing has no method 'act'"):
        evaluator(Nothing())
    with pytest.raises(TypeError, match="Wide has no method 'sample'"):
        evaluator(Wide(), samples=2)
    with pytest.raises(ValueError, match=r"shape \(4000, 9\) for 4000 contexts"):
        evaluator(Wide())
    with pytest.raises(ValueError, match="num_clusters=61 is not an integer from 1 to 60"):
        OffPolicyEvaluator(evaluator.log, num_clusters=61)
