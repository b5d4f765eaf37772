from __future__ import annotations

import numpy as np
import pytest
import torch

from recsim_drpo.ope.catalogues import CatalogueChange, joined, places_of
from recsim_drpo.ope.evaluator import OffPolicyEvaluator
from recsim_drpo.ope.logs import ItemLog
from recsim_drpo.simulator.catalogue import Catalogue

EYE = np.eye(5, dtype=np.float32)


def catalogue(rows, ids=None):
    return Catalogue.of_vectors(EYE[rows], None if ids is None else np.array(ids))


def test_a_change_names_what_came_went_and_moved():
    former = catalogue([0, 1, 2, 3], ["a", "b", "c", "d"])
    present = catalogue([4, 2, 0, 1], ["new", "c", "a", "d"])
    change = CatalogueChange.between(former, present)
    assert (change.new, change.gone, change.moved) == (["new"], ["b"], ["d"])
    assert (change.num_common, change.is_another) == (3, False)
    assert str(change) == "1 item (new) new, 1 item (b) gone, 1 item (d) there with another vector"
    same = CatalogueChange.between(former, former)
    assert (bool(same), str(same)) == (False, "nothing")
    assert CatalogueChange.between(former, catalogue([0, 1], ["x", "y"])).is_another
    many = catalogue([0, 1, 2, 3], [1, 2, 3, 4])
    text = str(CatalogueChange.between(catalogue([4], [9]), many))
    assert text.startswith("4 items (1, 2, 3, …) new")


def test_ids_match_as_text_and_rows_without_ids_by_place():
    former = catalogue([0, 1, 2], [101, 205, 309])
    assert places_of(former, catalogue([1, 0], ["205", "101"])).tolist() == [1, 0, -1]
    assert places_of(former, catalogue([0, 1, 2])).tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match="have no ids, and are 4 vectors for 3 items"):
        places_of(former, catalogue([0, 1, 2, 3]))
    # Rows that are numbered on both sides are ids as well: a catalogue that grew.
    assert places_of(catalogue([0, 1]), catalogue([0, 1, 2])).tolist() == [0, 1]


def test_items_that_are_gone_stand_behind():
    former = catalogue([0, 1, 2], ["a", "b", "c"])
    both, places, gone = joined(former, catalogue([4, 2, 0], ["x", "c", "a"]))
    assert (both.item_ids.tolist(), gone) == (["x", "c", "a", "b"], 1)
    assert np.array_equal(both.embeddings[places], former.embeddings)
    numbers, _, _ = joined(catalogue([0, 1, 2], [7, 8, 9]), catalogue([0, 1], ["7", "8"]))
    assert numbers.item_ids.tolist() == ["7", "8", "9"]
    plain, _, _ = joined(former, catalogue([0, 1, 2]))
    assert plain.item_ids.tolist() == ["a", "b", "c"]
    with pytest.raises(ValueError, match=r"Of 3 items .* 2 have another vector"):
        joined(former, catalogue([1, 0, 2], ["a", "b", "c"]))
    with pytest.raises(ValueError, match="The embeddings have 3 dimensions, the items of the log"):
        joined(former, Catalogue.of_vectors(np.eye(3, dtype=np.float32)))


def test_a_policy_cannot_show_what_is_gone_and_the_others_keep_their_value():
    """Item 0 of 3 is gone: the policy that wants it shows the nearest other one."""
    generator = np.random.default_rng(0)
    n = 6_000
    items = generator.integers(3, size=n)
    rewards = (generator.random(n) < np.array([0.9, 0.6, 0.2])[items]).astype(np.float32)
    vectors = torch.tensor([[0.6, 0.8, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])
    place = np.array([2, 0, 1])  # item 0 is the last row, for it is gone
    log = ItemLog(
        torch.from_numpy(generator.uniform(-1, 1, (n, 1)).astype(np.float32)),
        torch.from_numpy(place[items]),
        torch.from_numpy(rewards),
        torch.full((n,), 1 / 3, dtype=torch.float64),
        vectors,
        np.array(["one", "two", "gone"]),
        (0.0, 1.0),
        1,
    )

    class WantsWhatIsGone:
        def act(self, observations):
            return vectors[2].expand(len(observations), -1)

    found = OffPolicyEvaluator(log, num_clusters=3)(WantsWhatIsGone())
    for one in found.estimates:
        if one.estimator != "dm":
            assert one.value.value == pytest.approx(0.6, abs=0.05)
            assert one.matched == (items == 1).sum()
    assert found.unlogged == 0.0
