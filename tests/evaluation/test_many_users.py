"""More users than are held in memory: the same numbers."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from recsim_drpo import make_world
from recsim_drpo.core import scratch
from recsim_drpo.evaluation import bandit, sessions
from recsim_drpo.evaluation.bandit import Evaluator
from recsim_drpo.evaluation.sessions import SessionEvaluator
from recsim_drpo.simulator import tiles
from recsim_drpo.simulator.reference_policies import reference_policy
from recsim_drpo.simulator.sessions import make_sessions


class Fleet:
    """Two policies, of which one shows nothing to some."""

    def __init__(self, world):
        self._policy = reference_policy("oracle", world)
        self._dim = world.context_dim

    def __len__(self):
        return 2

    def act(self, observations):
        contexts = observations[..., : self._dim]
        if contexts.ndim == 3:  # each policy has users of its own
            return torch.stack([self.act(part)[k] for k, part in enumerate(contexts)])
        actions = self._policy.act(contexts)
        nothing = torch.where(observations[..., :1] > 0.5, torch.nan, actions)
        return torch.stack([actions, nothing])


class Last:
    """The last policy of a fleet, alone."""

    def __init__(self, fleet):
        self._fleet = fleet

    def act(self, observations):
        return self._fleet.act(observations)[-1]


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


@pytest.mark.parametrize("several", [False, True])
def test_parts_change_no_session(monkeypatch, small_kwargs, several):
    played = make_sessions(**small_kwargs)

    def found():
        evaluator = SessionEvaluator(played, 1_000, seed=3)
        policy = Fleet(played.world)
        return evaluator.many(policy) if several else [evaluator(Last(policy))]

    whole = [each.as_dict() for each in found()]
    monkeypatch.setattr(sessions, "_USERS", 64)
    monkeypatch.setattr(sessions, "_FEWEST", 64)
    for block in (scratch.BLOCK, 300):
        monkeypatch.setattr(scratch, "BLOCK", block)
        for one, other in zip(found(), whole, strict=True):
            for name, value in one.as_dict().items():
                assert value == pytest.approx(other[name], rel=1e-6), name
    assert 0.1 < whole[-1]["nonfinite_share"] < 0.9


def test_users_of_every_part_are_others(monkeypatch, small_kwargs):
    played = make_sessions(**small_kwargs)
    monkeypatch.setattr(sessions, "_USERS", 100)
    monkeypatch.setattr(sessions, "_FEWEST", 100)
    evaluator = SessionEvaluator(played, 250)
    returns = evaluator.play(Last(Fleet(played.world))).returns
    assert len(set(returns.tolist()) - {0.0}) == (returns != 0).sum() > 100


def test_in_parts_is_the_function_of_all_rows():
    rows = torch.arange(35.0).view(7, 5)
    for size in (1, 3, 7, 9):
        doubled, first = tiles.in_parts(lambda part: (2 * part, part[:, 0].long()), rows, size)
        assert torch.equal(doubled, 2 * rows)
        assert torch.equal(first, rows[:, 0].long())
    assert tiles.in_parts(lambda part: (part,), rows[:0], 3)[0].shape == (0, 5)


MEMORY = """
import resource, sys
import torch
from recsim_drpo import make_world
from recsim_drpo.evaluation import bandit, sessions
from recsim_drpo.simulator.sessions import make_sessions
torch.set_num_threads(1)
bandit._USERS = sessions._USERS = sessions._FEWEST = 2**13
world = dict(num_items=200, embedding_dim=8)

class Policy:
    def act(self, observations):
        return observations[..., :8]

def peak(users):
    if sys.argv[1] == "bandit":
        evaluator = bandit.Evaluator(make_world(**world), users)
    else:
        evaluator = sessions.SessionEvaluator(make_sessions(**world, max_steps=2), users)
    assert evaluator(Policy()).num_users == users
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024

print(*map(peak, (3 * 2**13, 40 * 2**13)))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="in KiB there alone")
@pytest.mark.parametrize("kind", ["bandit", "session"])
def test_memory_does_not_grow_with_the_users(kind):
    """300,000 users more: ten columns of numbers are 24 MB, all users 180, all sessions 380."""
    words = [sys.executable, "-c", MEMORY, kind]
    output = subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()
    few, many = map(int, output)
    assert many - few < 75, output
