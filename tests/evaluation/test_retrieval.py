"""What an approximate decoder misses and costs, by brute force; exact search costs nothing."""

import json

import numpy as np
import pytest
import torch

from recsim_drpo import Evaluator, SessionEvaluator, make_sessions, make_world
from recsim_drpo.simulator.decoder import directions

SCARCE = "faiss:IVF32,Flat?nprobe=1"
WHOLE = "faiss:IVF32,Flat?nprobe=32"


class Linear:
    """A policy that maps observations (…, o) to (…, d) by a matrix drawn by its seed."""

    def __init__(self, observation_dim, seed=0, dim=16):
        self.seed = seed
        self.shape = (observation_dim, dim)

    def act(self, observations):
        generator = torch.Generator().manual_seed(self.seed)
        return observations @ torch.randn(self.shape, generator=generator)


class Several:
    """Such policies with the seeds 0, 1, …"""

    def __init__(self, count, observation_dim):
        self.policies = [Linear(observation_dim, seed) for seed in range(count)]

    def __len__(self):
        return len(self.policies)

    def act(self, observations):
        if observations.ndim == 2:
            observations = observations.expand(len(self), *observations.shape)
        return torch.stack([p.act(o) for p, o in zip(self.policies, observations, strict=True)])


@pytest.fixture
def worlds(indexes, small_kwargs):
    return make_world(**small_kwargs), make_world(decoder=SCARCE, **small_kwargs)


def test_recall_and_lost_reward_by_brute_force(worlds):
    exact, scarce = worlds
    found = Evaluator(scarce, 500, seed=3, compared=200)(Linear(10)).retrieval
    users = exact.users("test", 3, torch.arange(200))
    queries = directions(Linear(10).act(users.contexts))
    best = (queries @ exact.embeddings.T).argmax(dim=1)
    shown = scarce.decode(queries)
    lost = exact.reward_of_items(best, users.interests) - exact.reward_of_items(
        shown, users.interests
    )
    assert 0.1 < (best == shown).float().mean() < 0.95
    assert found.recall.value == pytest.approx(float((best == shown).float().mean()))
    assert found.lost.value == pytest.approx(float(lost.mean()), abs=1e-6)
    half = 1.959964 * float(lost.std()) / np.sqrt(200)
    assert found.lost.high - found.lost.value == pytest.approx(half, rel=1e-4)
    assert (found.decoder, found.num_users) == (SCARCE, 200)


def test_the_loss_is_the_difference_of_two_evaluations(worlds):
    of_exact, of_scarce = (Evaluator(world, 300)(Linear(10)) for world in worlds)
    assert of_exact.retrieval is None
    assert of_scarce.retrieval.num_users == 300
    assert of_scarce.retrieval.lost.value == pytest.approx(
        of_exact.reward.value - of_scarce.reward.value, abs=1e-6
    )


def test_numbers_of_exact_search_are_as_before(worlds):
    found = Evaluator(worlds[0], 50)(Linear(10))
    assert "retrieval" not in found.as_dict()
    assert "recall@1" not in found.cells()
    assert found.retrieval_line() is None


def test_a_table_says_what_was_approximate(worlds):
    found = Evaluator(worlds[1], 60)(Linear(10))
    recall, lost = found.retrieval.recall.value, found.retrieval.lost.value
    cells = found.cells()
    assert list(cells)[-2:] == ["recall@1", "lost reward"]
    assert cells["recall@1"] == f"{recall:.1%}"
    assert cells["lost reward"].startswith(f"{lost:.4f} [")
    assert SCARCE in found.retrieval_line()
    plain = json.loads(json.dumps(found.as_dict()))["retrieval"]
    assert plain["decoder"] == SCARCE
    assert plain["recall"]["value"] == recall
    assert set(plain["lost"]) == {"value", "low", "high"}


def test_several_policies_miss_what_each_misses_alone(worlds):
    evaluator = Evaluator(worlds[1], 120, compared=70)
    together = evaluator.many(Several(3, 10))
    assert [one.retrieval for one in together] == [
        evaluator(Linear(10, seed)).retrieval for seed in range(3)
    ]
    assert len({one.retrieval.recall.value for one in together}) > 1


def test_a_search_of_all_lists_loses_nothing(indexes, small_kwargs):
    found = Evaluator(make_world(decoder=WHOLE, **small_kwargs), 100)(Linear(10)).retrieval
    assert found.recall.value == 1.0
    assert found.lost == (0.0, 0.0, 0.0)
    sessions = make_sessions(decoder=WHOLE, **small_kwargs)
    found = SessionEvaluator(sessions, 50)(Linear(15)).retrieval
    assert found.recall.value == 1.0
    assert found.lost == (0.0, 0.0, 0.0)


def test_none_is_compared_where_none_is_asked(worlds):
    assert Evaluator(worlds[1], 50, compared=0)(Linear(10)).retrieval is None
    with pytest.raises(ValueError, match="compared=-1 is not an integer at least 0"):
        Evaluator(worlds[1], 50, compared=-1)


def test_actions_that_are_not_finite_are_missed_by_no_one(worlds):
    class Diverged:
        def act(self, observations):
            return torch.full((len(observations), 16), torch.nan)

    found = Evaluator(worlds[1], 40)(Diverged()).retrieval
    assert (found.recall.value, found.lost.value) == (1.0, 0.0)


def test_a_decoder_of_ones_own_is_no_less_held_against_the_exact_one(small_kwargs):
    class First:
        """Finds item 0."""

        def __init__(self, embeddings):
            pass

        def search(self, queries, k):
            return torch.ones((len(queries), k)), torch.zeros((len(queries), k), dtype=torch.int64)

    world = make_world(decoder=First, **small_kwargs)
    found = Evaluator(world, 100)(Linear(10)).retrieval
    assert found.decoder == "First"
    assert found.recall.value < 0.1


def test_the_return_that_is_lost_in_sessions(indexes, small_kwargs):
    policy = Linear(15)
    of_exact = SessionEvaluator(make_sessions(**small_kwargs), 200).play(policy)
    evaluator = SessionEvaluator(make_sessions(decoder=SCARCE, **small_kwargs), 200, compared=150)
    of_scarce, found = evaluator.play(policy), evaluator(policy)
    difference = (of_exact.returns - of_scarce.returns)[:150]
    assert found.retrieval.lost.value == pytest.approx(difference.mean(), abs=1e-9)
    half = 1.959964 * difference.std(ddof=1) / np.sqrt(150)
    assert found.retrieval.lost.high - found.retrieval.lost.value == pytest.approx(half, rel=1e-6)
    assert 0.1 < found.retrieval.recall.value < 0.95
    assert found.retrieval.num_users == 150
    assert list(found.cells())[-1] == "lost return"


def test_sessions_of_several_policies(indexes, small_kwargs):
    evaluator = SessionEvaluator(make_sessions(decoder=SCARCE, **small_kwargs), 60, compared=40)
    together = evaluator.many(Several(2, 15))
    for seed, one in enumerate(together):
        alone = evaluator(Linear(15, seed)).retrieval
        assert one.retrieval.lost.value == pytest.approx(alone.lost.value, abs=1e-6)
