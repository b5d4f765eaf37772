"""Best items by bounds of blocks: those of the full pass, whatever catalogue and users are."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

from recsim_drpo.simulator import bounds, tiles
from recsim_drpo.simulator.bounds import BestByBounds
from recsim_drpo.simulator.config import WorldConfig
from recsim_drpo.simulator.world import World

NUM_ITEMS = tiles.LARGE + 1_001


def catalogue(seed, num_items, num_topics, spread):
    """Cosines of items with centres, float32 (K, N), and the items' topics."""
    generator = np.random.default_rng(seed)
    topics = generator.integers(num_topics, size=num_items)
    cosines = spread * generator.standard_normal((num_topics, num_items))
    cosines[topics, np.arange(num_items)] += 1.0
    cosines /= np.abs(cosines).max()
    return torch.from_numpy(cosines.astype(np.float32)), torch.from_numpy(topics)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    num_items=st.integers(1, 400),
    num_topics=st.integers(1, 6),
    spread=st.sampled_from([0.0, 0.1, 1.0, 10.0]),
    block=st.sampled_from([1, 7, 64, 500]),
)
def test_the_best_is_that_of_a_full_pass(seed, num_items, num_topics, spread, block):
    cosines, topics = catalogue(seed, num_items, num_topics, spread)
    tastes = torch.from_numpy(np.random.default_rng(seed).dirichlet(np.ones(num_topics), size=9))
    tastes = tastes.to(torch.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bounds, "BLOCK", block)
        items = BestByBounds(cosines, topics)(tastes)
    scores = tastes.double() @ cosines.double()
    found = scores.gather(1, items.unsqueeze(1)).squeeze(1)
    np.testing.assert_allclose(found, scores.amax(dim=1), atol=1e-6)


def test_of_equal_items_the_smaller():
    # Items 5, 1,000 and 4,000 are one vector, of a cosine that none exceeds; so are their topics.
    cosines, topics = catalogue(0, 5_000, 3, 0.1)
    cosines[:, [5, 1_000, 4_000]] = torch.tensor([[1.0], [0.1], [0.1]])
    topics[[5, 1_000, 4_000]] = 0
    tastes = torch.tensor([[1.0, 0.0, 0.0], [0.9, 0.1, 0.0]])
    assert BestByBounds(cosines, topics)(tastes).tolist() == [5, 5]
    # Of the same cosine for this user, in blocks that are looked at in turn.
    topics[5] = 2
    assert BestByBounds(cosines, topics)(tastes[:1]).tolist() == [5]


def test_most_blocks_are_left_out(monkeypatch):
    world = World(WorldConfig(num_items=NUM_ITEMS))
    tastes = world.users("train", 0, torch.arange(200)).tastes
    looked: list[int] = []

    def spy(self, tastes, wanted, best, items):
        looked.append(int(wanted.sum()))
        look(self, tastes, wanted, best, items)

    look = BestByBounds._look
    monkeypatch.setattr(BestByBounds, "_look", spy)
    monkeypatch.setattr(bounds, "BLOCK", 256)
    best = world.best_items(tastes)
    assert torch.equal(best, world.cosines(tastes).double().argmax(dim=1))
    blocks = -(-NUM_ITEMS // 256)
    assert looked[0] == 200  # the likeliest block of each user
    assert sum(looked) < 0.2 * 200 * blocks


def test_a_world_makes_it_when_it_is_asked_and_never_pickles_it():
    world = World(WorldConfig(num_items=NUM_ITEMS, embedding_dim=4, num_topics=3))
    assert "_best_by_bounds" not in vars(world)
    tastes = world.users("train", 0, torch.arange(3)).tastes
    best = world.best_items(tastes)
    assert "_best_by_bounds" in vars(world)
    assert "_best_by_bounds" not in world.__getstate__()
    again = pickle.loads(pickle.dumps(world))
    assert torch.equal(again.best_items(tastes), best)


def test_no_users():
    cosines, topics = catalogue(0, 50, 2, 0.1)
    assert BestByBounds(cosines, topics)(torch.empty(0, 2)).shape == (0,)
