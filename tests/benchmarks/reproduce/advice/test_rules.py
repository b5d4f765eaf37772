"""Rules of thumb."""

from __future__ import annotations

import numpy as np
import pytest

from recsim_drpo.benchmarks.reproduce.advice.rules import (
    fit_constant,
    fit_pair,
    fit_stump,
    leave_out,
    lost,
)


def test_a_stump_finds_the_threshold_and_says_when_there_is_none():
    x = np.array([[5.0, 0.1], [1.0, 0.2], [4.0, 0.6], [2.0, 0.9], [3.0, 0.4]])
    gains = np.array([1.0, 1.0, -1.0, -1.0, 1.0])
    stump = fit_stump(x, gains)
    assert (stump.feature, stump.threshold, stump.above) == (1, 0.5, False)
    assert stump(x).tolist() == [True, True, False, False, True]
    assert stump.describe(("a", "b")) == "where b ≤ 0.5"
    # Without the row of 0.6 the threshold is 0.65: that row alone is told wrong.
    each = list("abcde")
    assert leave_out(x, gains, each, fit_stump).tolist() == [True, True, True, False, True]
    # Without both that lose, all that is left says yes.
    pairs = list("abccd")
    assert leave_out(x, gains, pairs, fit_stump).all()
    # Without features, what the others gain decides.
    assert leave_out(x, gains, each, fit_constant).tolist() == [True] * 5
    assert not leave_out(x, gains - 0.6, each, fit_constant).any()
    assert fit_stump(np.ones((3, 1)), gains[:3]).describe(("a",)) == "always"
    # A great loss is avoided at the price of small gains.
    assert fit_stump(x, gains * [1, 1, 9, 1, 1]).describe(("a", "b")) == "where b ≤ 0.5"
    assert fit_stump(x[:, :1], gains * [1, 1, 9, 1, 1]).describe(("a",)) == "where a > 4.5"


def test_a_stump_is_the_best_of_all_thresholds():
    generator = np.random.default_rng(1)
    for _ in range(20):
        x, gains = generator.integers(4, size=(12, 2)).astype(float), generator.normal(size=12)
        best = max(
            [gains.sum(), 0.0]
            + [
                gains[(x[:, k] > t) == says].sum()
                for k in (0, 1)
                for t in (0.5, 1.5, 2.5)
                for says in (True, False)
            ]
        )
        assert gains[fit_stump(x, gains)(x)].sum() == pytest.approx(best)


def test_a_pair_is_the_best_of_all_pairs():
    generator = np.random.default_rng(2)
    for _ in range(10):
        x, gains = generator.integers(3, size=(10, 2)).astype(float), generator.normal(size=10)
        single = [
            (x[:, k] > t) == says for k in (0, 1) for t in (0.5, 1.5) for says in (True, False)
        ]
        single += [np.full(10, True), np.full(10, False)]
        best = max(gains[found].sum() for a in single for b in single for found in (a & b, a | b))
        assert gains[fit_pair(x, gains)(x)].sum() == pytest.approx(best)


def test_a_pair_says_what_it_is_and_yields_to_a_stump():
    x = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    pair = fit_pair(x, np.array([-1.0, -1.0, -1.0, 1.0]))
    assert pair.describe(("a", "b")) == "where a > 0.5 and b > 0.5"
    assert pair(x).tolist() == [False, False, False, True]
    pair = fit_pair(x, np.array([-1.0, 1.0, 1.0, 1.0]))
    assert pair.describe(("a", "b")) == "where a > 0.5 or b > 0.5"
    assert fit_pair(x, np.array([-1.0, -1.0, 1.0, 1.0])).describe(("a", "b")) == "where a > 0.5"
    assert fit_pair(x[:, :0], np.ones(4)).describe(()) == "always"


def test_what_answers_lose_against_knowing():
    gains = np.array([0.4, -0.2, 0.1, -0.3])
    assert lost(gains, gains > 0) == 0.0
    assert lost(gains, np.array([True] * 4)) == pytest.approx(0.5 / 4)
    assert lost(gains, np.array([False] * 4)) == pytest.approx(0.5 / 4)
    assert lost(gains, np.array([True, True, False, False])) == pytest.approx(0.3 / 4)
