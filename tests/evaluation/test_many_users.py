"""More users than are held in memory: the same numbers."""

from __future__ import annotations

import pytest
import torch

from recsim_drpo import make_world
from recsim_drpo.core import scratch
from recsim_drpo.evaluation import bandit
from recsim_drpo.evaluation.bandit import Evaluator
from recsim_drpo.simulator.reference_policies import reference_policy


class Fleet:
    """Two policies, of which one shows nothing to some."""

    def __init__(self, world):
        self._policy = reference_policy("oracle", world)

    def __len__(self):
        return 2

    def act(self, observations):
        actions = self._policy.act(observations)
        nothing = torch.where(observations[..., :1] > 0.5, torch.nan, actions)
        return torch.stack([actions, nothing])


@pytest.mark.parametrize("decoder", ["exact", "faiss:IVF32,Flat?nprobe=1"])
def test_blocks_change_no_number(monkeypatch, indexes, small_kwargs, decoder):
    world = make_world(decoder=decoder, **small_kwargs)
    policy = reference_policy("popularity", world, {"popularity": 1.0})

    def found():
        evaluator = Evaluator(world, 1_000, seed=3, compared=150)
        return [evaluator(policy), *evaluator.many(Fleet(world))]

    whole = found()
    monkeypatch.setattr(scratch, "BLOCK", 300)
    monkeypatch.setattr(bandit, "_USERS", 64)
    for one, other in zip(found(), whole, strict=True):
        ours, theirs = one.as_dict(), other.as_dict()
        retrievals = [each.pop("retrieval", {}) for each in (ours, theirs)]
        assert str(retrievals[0]) == str(retrievals[1])
        for name in theirs:
            assert ours[name] == pytest.approx(theirs[name], rel=1e-5, nan_ok=True), name
    assert whole[2].nonfinite_share > 0.1
