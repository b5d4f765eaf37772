from __future__ import annotations

import math

import pytest
import torch

from recsim_drpo.core.negatives import (
    NEGATIVE_WEIGHTS,
    NEGATIVES,
    NegativeSampler,
    check_infos,
    table_spans,
)
from recsim_drpo.core.transitions import ItemActions, Transitions

TABLE = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0], [0.6, 0.8]])


def log_of(actions, size=12):
    """A log of one-step episodes with these actions."""
    ends = torch.ones(size, dtype=torch.bool)
    observations = torch.arange(2.0 * size).reshape(2 * size, 1)
    return Transitions(observations, torch.arange(size) * 2, actions, ends.float(), ends, {})


def compact_log(table=TABLE, size=12):
    return log_of(ItemActions(table, torch.arange(size, dtype=torch.int32) % len(table)), size)


def draw(sampler, indices, seed, step):
    batch = sampler.transitions.take(indices)
    infos = sampler.add_to(batch, indices, torch.as_tensor(seed), torch.as_tensor(step)).infos
    return infos[NEGATIVES], infos[NEGATIVE_WEIGHTS]


def rows_of(vectors, table=TABLE):
    return (vectors.unsqueeze(-2) == table).all(-1).to(torch.int64).argmax(-1)


def test_what_is_drawn_stands_for_all_items_but_the_logged_one():
    sampler = NegativeSampler(compact_log(), 3)
    indices = torch.tensor([0, 3, 6, 4])  # items 0, 3, 1, 4
    for step in range(50):
        vectors, weights = draw(sampler, indices, 7, step)
        drawn = rows_of(vectors)
        for logged, row in zip([0, 3, 1, 4], weights.tolist(), strict=True):
            others = int((drawn != logged).sum())
            expected = [0.0 if k == logged else 4.0 / others for k in drawn.tolist()]
            assert row == pytest.approx(expected)


def test_the_estimate_of_the_partition_function_is_unbiased():
    sampler = NegativeSampler(compact_log(), 2)
    scores = torch.tensor([0.3, 1.7, -0.4, 0.0, 0.9])
    indices, estimates = torch.tensor([1]), []
    for step in range(4_000):
        vectors, weights = draw(sampler, indices, 1, step)
        if float(weights.sum()) > 0.0:  # else both were the logged item
            rest = (weights[0] * scores[rows_of(vectors)].exp()).sum()
            estimates.append(float(scores[1].exp() + rest))
    mean, error = torch.tensor(estimates).mean(), torch.tensor(estimates).std()
    assert abs(float(mean) - float(scores.exp().sum())) < 4 * float(error) / math.sqrt(4_000)
    assert len(estimates) == pytest.approx(4_000 * (1 - 1 / 25), abs=60)


def test_every_item_is_drawn_equally_often_and_by_seed_and_step_alone():
    sampler = NegativeSampler(compact_log(), 1_000)
    first, _ = draw(sampler, torch.tensor([0]), 5, 9)
    again, _ = draw(sampler, torch.tensor([4, 2]), 5, 9)
    assert torch.equal(first, again)
    counts = rows_of(first).bincount(minlength=5)
    assert float(((counts - 200.0) ** 2 / 200.0).sum()) < 18.5  # χ² of 4 degrees, 0.1 %
    for seed, step in ((6, 9), (5, 10)):
        assert not torch.equal(first, draw(sampler, torch.tensor([0]), seed, step)[0])


def test_learners_draw_their_own_from_their_own_items():
    other = torch.tensor([[2.0, 2.0], [3.0, 3.0]])
    logs = [compact_log(), compact_log(other), compact_log()]
    spans = table_spans(logs)
    assert spans.tolist() == [[0, 5], [5, 2], [0, 5]]
    joined = Transitions.concatenated(logs[:2])
    together = NegativeSampler(joined, 4, (3,), spans)
    seeds, steps = torch.tensor([3, 4, 5]), torch.tensor([2, 2, 0])
    indices = torch.tensor([[0, 1], [12, 13], [5, 6]])
    vectors, weights = draw(together, indices, seeds, steps)
    assert vectors.shape == (3, 4, 2)
    assert weights.shape == (3, 2, 4)
    for k, (log, start) in enumerate(zip(logs, (0, 12, 0), strict=True)):
        alone = draw(NegativeSampler(log, 4), indices[k] - start, seeds[k], steps[k])
        assert torch.equal(vectors[k], alone[0])
        assert torch.equal(weights[k], alone[1])


def test_a_catalogue_of_one_item_leaves_nothing_to_draw():
    vectors, weights = draw(NegativeSampler(compact_log(TABLE[:1]), 3), torch.tensor([0, 1]), 0, 0)
    assert torch.equal(vectors, TABLE[:1].expand(3, 2))
    assert float(weights.abs().sum()) == 0.0


def test_the_items_of_a_log_without_a_catalogue_are_its_different_actions():
    compact = compact_log(size=4)
    dense = log_of(compact.actions.clone(), 4)
    itemised = dense.with_items()
    assert itemised is dense.with_items()
    assert compact.with_items() is compact
    assert itemised.items.table.tolist() == sorted(TABLE[:4].tolist())
    for mine, theirs in zip(itemised.as_batch()[:5], dense.as_batch()[:5], strict=True):
        assert torch.equal(mine, theirs)
    _, weights = draw(NegativeSampler(dense, 3), torch.tensor([0]), 0, 0)
    assert float(weights.sum()) == pytest.approx(3.0)


def test_parts_of_a_log_without_a_catalogue_are_refused():
    roomy = log_of(TABLE[:4], 4).with_room(8, torch.device("cpu"))
    with pytest.raises(ValueError, match="catalogue of its items is not at hand"):
        NegativeSampler(roomy, 3)
    assert NegativeSampler(compact_log().with_room(20, torch.device("cpu")), 3)


def test_a_column_that_is_missing_is_named_with_what_there_is():
    check_infos("ours", ["propensity"], ["item_id", "propensity"], "log")
    with pytest.raises(
        ValueError, match=r"'ours' reads .* 'propensity', which the log .*'item_id'"
    ):
        check_infos("ours", ["propensity"], ["item_id"], "log")
    with pytest.raises(ValueError, match=r"'negatives', which the batch .*none.*by themselves"):
        check_infos("ours", [], [], "batch", draws=True)
