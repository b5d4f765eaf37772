from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

from recsim_drpo.serving.ranking import Ranker
from recsim_drpo.simulator.decoder import NO_ITEM


def unit(rows):
    rows = np.asarray(rows, dtype=np.float64)
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def by_the_rule(actions, items, k, allowed=None):
    """Brute force in double precision, a Python sort."""
    scores, rows = [], []
    for number, action in enumerate(np.asarray(actions, dtype=np.float64)):
        length = np.linalg.norm(action)
        products = items.astype(np.float64) @ (action / length if length else action)
        rounded = products.astype(np.float32)
        choice = [i for i in range(len(items)) if allowed is None or allowed[number, i]]
        best = sorted(choice, key=lambda i: (-rounded[i], i))[:k]
        rows.append(best + [NO_ITEM] * (k - len(best)))
        scores.append([rounded[i] for i in best] + [-np.inf] * (k - len(best)))
    return np.array(scores, dtype=np.float32), np.array(rows)


class Mask:
    def __init__(self, allowed):
        self.allowed = torch.from_numpy(allowed)

    def mask(self, rows):
        return self.allowed[rows]


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    distinct=st.integers(1, 6),
    num_items=st.integers(1, 150),
    dim=st.integers(2, 9),
    restricted=st.booleans(),
    data=st.data(),
)
def test_the_order_is_that_of_the_rule(seed, distinct, num_items, dim, restricted, data):
    """Few distinct vectors: more ties than there are candidates, at every place."""
    k = data.draw(st.integers(1, num_items))
    generator = np.random.default_rng(seed)
    items = unit(generator.normal(size=(distinct, dim)))[
        generator.integers(distinct, size=num_items)
    ]
    actions = generator.normal(size=(7, dim)).astype(np.float32)
    actions[0] = 0.0  # all items tie
    allowed = generator.random((7, num_items)) < 0.5 if restricted else None
    given_mask = None if allowed is None else Mask(allowed)
    scores, rows = Ranker(torch.from_numpy(items)).top(torch.from_numpy(actions), k, given_mask)
    expected_scores, expected_rows = by_the_rule(actions, items, k, allowed)
    np.testing.assert_array_equal(rows, expected_rows)
    np.testing.assert_array_equal(scores, expected_scores)


def test_vectors_that_single_precision_cannot_order():
    """2,000 vectors in a cone so narrow that float32 products are all but alike."""
    generator = np.random.default_rng(0)
    items = unit(1.0 + 1e-6 * generator.normal(size=(2_000, 16)))
    actions = generator.normal(loc=1.0, size=(20, 16)).astype(np.float32)
    scores, rows = Ranker(torch.from_numpy(items)).top(torch.from_numpy(actions), 5)
    expected_scores, expected_rows = by_the_rule(actions, items, 5)
    np.testing.assert_array_equal(rows, expected_rows)
    np.testing.assert_array_equal(scores, expected_scores)


def test_one_at_a_time_is_as_all_at_once():
    generator = np.random.default_rng(1)
    items = unit(generator.normal(size=(300, 33)))
    items[100:200] = items[:100]
    ranker = Ranker(torch.from_numpy(items))
    actions = torch.from_numpy(generator.normal(size=(200, 33)).astype(np.float32) * 1e30)
    scores, rows = ranker.top(actions, 7)
    for i in range(200):
        one_score, one_row = ranker.top(actions[i : i + 1], 7)
        assert torch.equal(one_row[0], rows[i])
        assert torch.equal(one_score[0], scores[i])
    assert ranker.top(actions[:0], 7).rows.shape == (0, 7)
    with pytest.raises(ValueError, match="k=301 is not an integer from 1 to 300"):
        ranker.top(actions, 301)
