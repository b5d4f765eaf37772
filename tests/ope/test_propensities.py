from __future__ import annotations

import dataclasses
import functools
import json

import numpy as np
import pytest
import torch

from recsim_drpo.ope import propensities
from recsim_drpo.ope.evaluator import OffPolicyEvaluator
from recsim_drpo.ope.logs import ItemLog
from recsim_drpo.ope.propensities import Groups, estimate_propensities
from recsim_drpo.ope.report import as_text, save

NUM_ITEMS = 6


def logged(taste=0.5, num_rounds=6_000, seed=0, never=()):
    """A log whose logger draws by softmax(taste · x), and whose items pay by σ(2 x_i)."""
    generator = torch.Generator().manual_seed(seed)
    contexts = torch.randn(num_rounds, NUM_ITEMS, generator=generator)
    popularity = torch.tensor([1.0, 0.5, 0.0, 0.0, -0.5, -1.0])
    logits = taste * contexts + popularity
    logits[:, list(never)] = -torch.inf
    chances = torch.softmax(logits.double(), dim=1)
    items = torch.multinomial(chances, 1, generator=generator)
    pays = torch.sigmoid(2.0 * contexts.gather(1, items)).squeeze(1)
    rewards = (torch.rand(num_rounds, generator=generator) < pays).float()
    log = ItemLog(
        contexts,
        items.squeeze(1),
        rewards,
        chances.gather(1, items).squeeze(1),
        torch.eye(NUM_ITEMS),
        np.arange(NUM_ITEMS) + 100,
        (0.0, 1.0),
    )
    return log, chances


@functools.cache
def estimated(taste):
    """Such a log with its true chances, and what is estimated of it; to be read alone."""
    log, chances = logged(taste)
    return log, chances, estimate_propensities(log)


class ShowsByAnother:
    """Shows item i where the context's column i + 1 is largest, of which rewards know nothing."""

    def act(self, observations):
        return observations.roll(-1, dims=1)


def truth():
    """What that policy is worth, over a million contexts."""
    contexts = torch.randn(1_000_000, NUM_ITEMS, generator=torch.Generator().manual_seed(1))
    items = ShowsByAnother().act(contexts).argmax(dim=1, keepdim=True)
    return float(torch.sigmoid(2.0 * contexts.gather(1, items)).mean())


@pytest.mark.parametrize("taste", [0.0, 0.5])
def test_estimates_are_near_the_propensities_that_were_logged(taste):
    log, chances, found = estimated(taste)
    true, ours = log.propensities, found.values
    assert found.apart == pytest.approx(float((ours / true).log().abs().mean()))
    assert found.apart < (0.25 if taste else 0.1)
    if taste:
        assert np.corrcoef(true.log(), ours.log())[0, 1] > 0.9
    assert found.mean_weight.value == pytest.approx(1.0, abs=0.06)
    # Over all pairs of a context and an item, also those that were not shown, they sum to 1.
    rounds = torch.arange(len(log))
    every = torch.stack(
        [
            found.models.predict(rounds, log.contexts, torch.full_like(log.items, item))
            for item in range(NUM_ITEMS)
        ],
        dim=1,
    )
    assert torch.allclose(every.sum(dim=1), torch.ones(len(log), dtype=torch.float64), atol=1e-5)
    assert float((every - chances).abs().mean()) < 0.04


def test_they_are_calibrated():
    log, _, found = estimated(0.5)
    assert sum(line.shown for line in found.calibration) == len(log)
    assert sum(line.pairs for line in found.calibration) == len(log) * NUM_ITEMS
    assert sum(line.expected for line in found.calibration) == pytest.approx(len(log), rel=1e-4)
    for line in found.calibration:
        if line.pairs > 1_000:
            assert line.low <= line.expected / line.pairs <= line.high
            assert abs(line.shown - line.expected) < 0.05 * line.expected + 4 * line.shown**0.5


def test_values_by_them_are_near_those_by_the_true_ones_and_are_marked(tmp_path):
    log, _ = logged()
    bare = dataclasses.replace(log, propensities=None)
    true = {one.estimator: one for one in OffPolicyEvaluator(log)(ShowsByAnother()).estimates}
    evaluation = OffPolicyEvaluator(bare, estimate=True)(ShowsByAnother())
    ours, worth = {one.estimator: one for one in evaluation.estimates}, truth()
    for name in ("ips", "snips", "dr"):
        assert ours[name].refusal is None, ours[name].refusal
        by_true = true[name].value
        assert abs(ours[name].value.value - by_true.value) < by_true.high - by_true.value
        assert ours[name].value.value == pytest.approx(worth, abs=0.06)
        assert ours[name].estimated_propensities
        assert not true[name].estimated_propensities
    assert not ours["dm"].estimated_propensities
    assert not ours["mips"].estimated_propensities
    text = as_text({"mine": evaluation})
    for name in ("ips", "snips", "dr"):
        assert f"{name}, estimated p |" in text
    assert "Propensities are estimated" in text
    assert "expected rounds | rounds |" in text
    save(tmp_path / "ope", {"mine": evaluation})
    plain = json.loads((tmp_path / "ope/ope.json").read_text())["mine"]
    marks = {one["estimator"]: one["estimated_propensities"] for one in plain["estimates"]}
    assert marks == {"ips": True, "snips": True, "dr": True, "dm": False, "mips": False}
    assert plain["propensities"]["apart"] is None
    assert plain["propensities"]["calibration"][0].keys() >= {"expected", "shown"}


def test_what_the_logger_all_but_never_does_is_refused():
    """A logger that shows item 0 or 1 by the sign of x, and a policy that always shows item 0."""
    contexts = torch.randn(8_000, 1, generator=torch.Generator().manual_seed(0))
    items = (contexts[:, 0] > 0).long()
    columns = contexts, items, (items == 0).float(), None, torch.eye(2), np.arange(2), (0.0, 1.0)
    evaluator = OffPolicyEvaluator(ItemLog(*columns), num_clusters=2, estimate=True)

    class Always:
        def act(self, observations):
            return torch.eye(2)[0].expand(len(observations), -1)

    for one in evaluator(Always()).estimates:
        if one.estimator in ("ips", "snips", "dr"):
            assert one.value is None
            assert "overlap is missing" in one.refusal
            assert "less than once in 8,000 rounds" in one.refusal


def test_an_item_that_was_never_shown_has_no_chance():
    log, _ = logged(never=(5,), num_rounds=1_000)
    found = estimate_propensities(log)
    nothing = found.models.predict(
        torch.arange(1_000), log.contexts, torch.full((1_000,), 5, dtype=torch.int64)
    )
    assert (nothing == 0.0).all()
    assert Groups.of(log, 0).of_item.tolist() == [0, 1, 2, 3, 4, -1]


def test_large_catalogues_are_told_apart_by_clusters(monkeypatch):
    monkeypatch.setattr(propensities, "MAX_GROUPS", 4)
    log, chances = logged(taste=0.0)
    groups = Groups.of(log, 0)
    assert (groups.number, set(groups.of_item.tolist())) == (2, {0, 1})
    found = estimate_propensities(log)
    rounds = torch.arange(len(log))
    for item in range(NUM_ITEMS):
        ours = found.models.predict(rounds, log.contexts, torch.full_like(log.items, item))
        assert float(ours.mean()) == pytest.approx(float(chances[:, item].mean()), rel=0.15)
    assert found.apart < 0.15


def test_a_logger_that_chooses_by_the_place_is_known_by_the_place():
    """Of three places, each has items of its own that are shown there four times as often."""
    generator = np.random.default_rng(0)
    places = generator.integers(1, 4, size=6_000).astype(np.float64)
    logits = np.where((np.arange(NUM_ITEMS) % 3 + 1) == places[:, None], np.log(4.0), 0.0)
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    items = (generator.random(6_000)[:, None] > chances.cumsum(axis=1)).sum(axis=1)
    true = chances[np.arange(6_000), items]
    places[::100] = np.nan  # unknown of some
    log = ItemLog(
        torch.from_numpy(generator.normal(size=(6_000, 2))).float(),
        torch.from_numpy(items),
        torch.zeros(6_000),
        torch.from_numpy(true),
        torch.eye(NUM_ITEMS),
        np.arange(NUM_ITEMS),
        positions=torch.from_numpy(places),
    )
    assert log.choices.shape == (6_000, 2 + 4)  # three places, and none
    by_place = estimate_propensities(log)
    without = estimate_propensities(dataclasses.replace(log, positions=None))
    assert by_place.apart < 0.15 < 0.4 < without.apart
