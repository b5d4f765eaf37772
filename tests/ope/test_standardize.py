from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings, strategies as st

from recsim_drpo.ope.standardize import Standardizer

NORMAL = np.random.default_rng(0).normal(size=4_000)


def standard(*columns):
    rows = torch.from_numpy(np.stack(columns, axis=1))
    return Standardizer(rows)(rows).numpy()


def test_columns_by_hand():
    numbers = np.array([1.0, 2.0, 3.0, 4.0, 5.0])  # median 3, quartiles 2 and 4, 5 %: 1.2, 4.8
    found = standard(numbers, np.full(5, 7.0), np.array([3.0, 3.0, 3.0, 3.0, 9.0]))
    assert np.allclose(found[:, 0], (numbers - 3.0) * 1.34898 / 2.0, atol=1e-5)
    assert (found[:, 1] == 0.0).all()  # a constant says nothing
    assert found[:, 2].tolist() == [0.0, 0.0, 0.0, 0.0, 1.0]  # two values are 0 and 1
    some = np.repeat([0.0, 1.0, 2.0], [80, 10, 10])  # 5 % and 95 %: 0 and 2
    assert np.allclose(standard(some)[:, 0], some * 3.28971 / 2.0, atol=1e-5)
    few = np.repeat([0.0, 1.0, 2.0], [98, 1, 1])
    expected = np.minimum(10.0, (few - few.mean()) / few.std())
    assert np.allclose(standard(few)[:, 0], expected, atol=1e-5)


@settings(max_examples=30)
@given(st.integers(0, 2**32), st.floats(-1e12, 1e12), st.floats(1e-3, 1e12))
def test_the_unit_of_a_column_does_not_matter(seed, shift, factor):
    raw = np.random.default_rng(seed).normal(size=64) * (1.0 + abs(shift) / factor * 1e-9)
    assert np.allclose(standard(raw), standard(factor * raw + shift), atol=2e-3)


def test_wild_values_move_nothing_else_and_are_cut():
    wild = NORMAL.copy()
    wild[:4] = [1e30, -1e30, 1e9, 1e38]
    found, clean = standard(wild)[:, 0], standard(NORMAL)[:, 0]
    assert found[:4].tolist() == [10.0, -10.0, 10.0, 10.0]
    assert np.allclose(found[4:], clean[4:], atol=0.02)
    assert abs(clean.std() - 1.0) < 0.03


def test_seconds_since_1970_keep_their_order():
    seconds = torch.arange(1_700_000_000, 1_700_086_400, 256, dtype=torch.float32)[:, None]
    found = Standardizer(seconds)(seconds)[:, 0]
    # float32 has a value each 128 seconds there, and all of them stay apart.
    assert bool((found.diff() > 0).all())
    assert found.abs().max() < 2.0


def test_contexts_without_columns_have_none():
    assert Standardizer(torch.zeros(3, 0))(torch.zeros(2, 0)).shape == (2, 0)
