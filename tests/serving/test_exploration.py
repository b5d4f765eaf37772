from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from recsim_drpo.cli import main
from recsim_drpo.serving.exploration import Exploration, explore
from recsim_drpo.serving.ranking import Ranker
from recsim_drpo.serving.recommender import load_recommender
from recsim_drpo.simulator.decoder import NO_ITEM

DRAWS = 60_000
# Cosines with the first axis: 1, 0.8, 0.6, 0, -1.
ITEMS = np.array([[0.6, 0.8], [1, 0], [0, 1], [0.8, 0.6], [-1, 0]], dtype=np.float32)
COSINES = np.array([0.6, 1.0, 0.0, 0.8, -1.0])


class Mask:
    """The same items for everybody."""

    def __init__(self, *items):
        self.allowed = torch.zeros(len(ITEMS), dtype=torch.bool)
        self.allowed[list(items)] = True

    def mask(self, rows):
        return self.allowed.expand(len(rows), -1)


def draw(k, exploration, allowed=None, count=DRAWS):
    actions = torch.tensor([[3.0, 0.0]]).expand(count, 2)
    return explore(
        Ranker(torch.from_numpy(ITEMS)), actions, k, exploration, torch.arange(count), allowed
    )


def softmax_by_hand(items, temperature, top):
    """Probability of each item in each step: a function of those drawn before."""
    pool = sorted(items, key=lambda i: -COSINES[i])[:top]

    def chances(before):
        weights = {i: math.exp(COSINES[i] / temperature) for i in pool if i not in before}
        return {i: w / sum(weights.values()) for i, w in weights.items()}

    return chances


def epsilon_by_hand(items, epsilon):
    def chances(before):
        left = [i for i in items if i not in before]
        best = max(left, key=lambda i: COSINES[i])
        return {i: epsilon / len(left) + (1 - epsilon) * (i == best) for i in left}

    return chances


CASES = [
    (Exploration(epsilon=0.3), epsilon_by_hand(range(5), 0.3), None),
    (Exploration(epsilon=0.5), epsilon_by_hand([0, 2, 4], 0.5), Mask(0, 2, 4)),
    (Exploration(temperature=0.5, top=5), softmax_by_hand(range(5), 0.5, 5), None),
    (Exploration(temperature=0.4, top=3), softmax_by_hand(range(5), 0.4, 3), None),
    (Exploration(temperature=0.4, top=3), softmax_by_hand([0, 2, 3, 4], 0.4, 3), Mask(0, 2, 3, 4)),
]


@pytest.mark.parametrize(("exploration", "chances", "allowed"), CASES)
@pytest.mark.parametrize("k", [1, 2, 3])
def test_propensities_are_exact_and_frequencies_match_them(exploration, chances, allowed, k):
    shown = draw(k, exploration, allowed)
    rows = shown.rows.numpy()
    probabilities, observed = [], []
    orders, inverse, counts = np.unique(rows, axis=0, return_inverse=True, return_counts=True)
    for order, count in zip(orders.tolist(), counts, strict=True):
        steps = [chances(order[:j])[item] for j, item in enumerate(order)]
        one = np.flatnonzero(inverse.ravel() == orders.tolist().index(order))[0]
        np.testing.assert_allclose(shown.propensities[one], steps, rtol=1e-6)
        probabilities.append(math.prod(steps))
        observed.append(count)
    items = list(chances([]))
    possible = list(itertools.permutations(items, k))
    total = 0.0
    for order in possible:
        steps = [chances(list(order[:j])).get(item, 0.0) for j, item in enumerate(order)]
        total += math.prod(steps)
    assert total == pytest.approx(1.0)
    rest = 1.0 - sum(probabilities)
    assert rest < 20 / DRAWS  # what was never drawn is rare
    large = np.array(probabilities) * DRAWS > 5
    expected = np.array(probabilities)[large]
    counted = np.array(observed)[large]
    assert chisquare(counted, expected / expected.sum() * counted.sum()).pvalue > 1e-3
    np.testing.assert_allclose(shown.scores, COSINES[rows], atol=1e-6)
    # The same propensity for the same items, whoever drew them.
    for j in range(len(orders)):
        assert (
            np.ptp(shown.propensities[torch.from_numpy(inverse.ravel() == j)].numpy(), axis=0).max()
            == 0
        )


def test_draws_depend_on_seed_and_number_alone():
    for exploration in (Exploration(epsilon=0.5, seed=3), Exploration(temperature=0.3, seed=3)):
        ranker = Ranker(torch.from_numpy(ITEMS))
        actions = torch.tensor([[3.0, 0.0]]).expand(500, 2)
        numbers = torch.arange(500)
        whole = explore(ranker, actions, 3, exploration, numbers)
        order = torch.randperm(500, generator=torch.Generator().manual_seed(0))
        shuffled = explore(ranker, actions, 3, exploration, numbers[order])
        assert torch.equal(shuffled.rows, whole.rows[order])
        assert torch.equal(shuffled.propensities, whole.propensities[order])
        fewer = explore(ranker, actions[:7], 1, exploration, numbers[:7])
        assert torch.equal(fewer.rows, whole.rows[:7, :1])
        other = Exploration(**{**vars(exploration), "seed": 4})
        assert not torch.equal(explore(ranker, actions, 3, other, numbers).rows, whole.rows)


def test_no_more_is_shown_than_is_allowed():
    for exploration in (Exploration(epsilon=0.4), Exploration(temperature=3.0)):
        shown = draw(4, exploration, Mask(4, 1), count=200)
        assert set(map(tuple, shown.rows.tolist())) == {
            (1, 4, NO_ITEM, NO_ITEM),
            (4, 1, NO_ITEM, NO_ITEM),
        }
        assert shown.propensities[:, 1].tolist() == pytest.approx([1.0] * 200)
        assert shown.propensities[:, 2:].isnan().all()
        assert (shown.scores[:, 2:] == -torch.inf).all()
        nothing = draw(2, exploration, Mask(), count=3)
        assert (nothing.rows == NO_ITEM).all()
        assert draw(2, exploration, count=0).rows.shape == (0, 2)


def test_extreme_values_stay_probabilities():
    greedy = draw(2, Exploration(epsilon=0.0), count=50)
    assert greedy.rows.tolist() == [[1, 3]] * 50
    assert (greedy.propensities == 1.0).all()
    uniform = draw(5, Exploration(epsilon=1.0), count=500)
    np.testing.assert_allclose(uniform.propensities, np.tile(1 / np.arange(5, 0, -1.0), (500, 1)))
    cold = draw(5, Exploration(temperature=1e-6, top=5), count=50)
    assert cold.rows.tolist() == [[1, 3, 0, 2, 4]] * 50
    assert (cold.propensities == 1.0).all()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["epsilon=1.5"], "epsilon=1.5 is not a number in [0, 1]"),
        (["epsilon=often"], "epsilon='often' is not a number"),
        (["temperature=0"], "temperature=0 is not a number in (0, inf)"),
        (["epsilon=0.1", "temperature=1"], "epsilon=NUMBER or temperature=NUMBER, one of them"),
        (["top=3"], "epsilon=NUMBER or temperature=NUMBER"),
        (["epsilon=0.1", "top=3"], "top=3 is about temperature"),
        (["temperature=1", "top=1"], "top=1 is not an integer from 2 to 60"),
        (["temperature=1", "top=61"], "top=61 is not an integer from 2 to 60"),
        (["policy"], "'policy' is not of the form NAME=VALUE"),
        (["sigma=1"], "knows epsilon, temperature, top, not 'sigma'"),
    ],
)  # fmt: skip
def test_what_cannot_be_explored_is_one_line(
    service, run, contexts, tmp_path, capsys, words, message
):
    path = service.write_contexts(tmp_path / "in.csv", contexts)
    out = tmp_path / "out.csv"
    command = ["recommend", str(run), "--contexts", str(path), "--out", str(out), "-k", "2"]
    assert main([*command, "--explore", *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert not out.exists()


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
@pytest.mark.parametrize("words", [["epsilon=0.5"], ["temperature=0.1", "top=7"]])
def test_the_command_writes_what_was_drawn(service, run, tmp_path, suffix, words, monkeypatch):
    pytest.importorskip("pyarrow")
    contexts = np.random.default_rng(0).uniform(-1, 1, (300, service.DIM)).astype(np.float32)
    path = service.write_contexts(tmp_path / f"in{suffix}", contexts)
    out = tmp_path / f"out{suffix}"
    command = ["recommend", str(run), "--contexts", str(path), "-k", "3", "--seed", "5"]
    assert main([*command, "--out", str(out), "--explore", *words]) == 0
    values = dict(word.split("=") for word in words)
    exploration = Exploration.of(
        {n: float(v) if n != "top" else int(v) for n, v in values.items()}, 5
    )
    _, rows, propensities = load_recommender(run).show(contexts, 3, exploration)
    found = service.read_results(out)
    assert list(found[0]) == ["row", "rank", "item_id", "score", "propensity"]
    assert [int(r["item_id"]) for r in found] == rows.flatten().tolist()
    np.testing.assert_array_equal(
        [float(r["propensity"]) for r in found], propensities.flatten().numpy()
    )
    # Whatever the pieces are in which the table is read.
    monkeypatch.setattr("recsim_drpo.serving.recommender._ROWS", 41)
    again = tmp_path / f"again{suffix}"
    assert main([*command, "--out", str(again), "--explore", *words]) == 0
    smaller = service.read_results(again)
    assert [r["item_id"] for r in smaller] == [r["item_id"] for r in found]
    np.testing.assert_allclose(
        [float(r["propensity"]) for r in smaller], propensities.flatten(), rtol=1e-4
    )


def test_a_seed_without_draws_and_ids_called_as_a_column(service, run, contexts, tmp_path, capsys):
    assert main(["recommend", str(run), "--seed", "1"]) == 2
    assert "--seed is about the draws of --explore" in capsys.readouterr().err
    path = tmp_path / "in.csv"
    path.write_text(f"propensity,{service.HEADER}\n7,{service.ROW}\n")
    command = ["recommend", str(run), "--contexts", str(path), "--id-column", "propensity"]
    assert main([*command, "-k", "2"]) == 0
    assert main([*command, "-k", "2", "--explore", "epsilon=0.1"]) == 2
    assert "ids cannot be called 'propensity'" in capsys.readouterr().err
