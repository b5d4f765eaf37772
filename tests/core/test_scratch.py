"""Columns of many rounds a block at a time, against NumPy on the whole."""

from __future__ import annotations

import errno
import os

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from recsim_drpo.core import scratch
from recsim_drpo.reporting.statistics import gini, mean_interval, ratio_interval

COLUMNS = st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=60)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(scratch, "BLOCK", 7)


def test_long_columns_lie_in_files_that_end_with_them():
    short, long = scratch.room((7, 3), np.float32), scratch.room((8, 3), np.int16)
    assert (short.shape, short.dtype) == ((7, 3), np.float32)
    assert (long.shape, long.dtype) == ((8, 3), np.int16)
    assert len(scratch._mapped) == 1
    long[:] = np.arange(24).reshape(8, 3)
    scratch.let_go()
    np.testing.assert_array_equal(long.ravel(), np.arange(24))
    view = long[2:4]
    del long
    scratch.let_go()
    np.testing.assert_array_equal(view.ravel(), np.arange(6, 12))
    del view
    assert not len(scratch._mapped)


def test_a_disk_without_room_is_said_before_anything_is_written(monkeypatch):
    def full(descriptor, offset, size):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    with pytest.raises(ValueError, match=r"1,000 rounds takes 7.81 KiB in .* set TMPDIR"):
        scratch.room((1_000,), np.float64)


@pytest.mark.parametrize("size", [1, 6, 7, 8, 14, 50])
def test_rows_are_computed_as_on_the_whole_to_the_bit(size):
    one, other = np.random.default_rng(size).normal(size=(2, size))
    found = scratch.elementwise(lambda a, b: a * b - 0.1, one, other)
    np.testing.assert_array_equal(found, one * other - 0.1)
    mask = scratch.elementwise(lambda a: a > 0, one)
    np.testing.assert_array_equal(scratch.chosen(other, mask), other[one > 0])
    parts = [np.arange(size)[rows] for rows in scratch.blocks(size)]
    assert np.concatenate(parts).tolist() == list(range(size))
    assert max(map(len, parts)) <= 7


@settings(max_examples=60, deadline=None)
@given(COLUMNS)
def test_sums_are_those_of_the_whole(values):
    column = scratch.floats(np.array(values, dtype=np.float32))
    assert column.dtype == np.float64
    assert scratch.total(np.square, column) == pytest.approx(float(np.square(column).sum()))
    mean = scratch.mean(column)
    assert mean == pytest.approx(float(column.mean()), abs=1e-9)
    if len(column) > 1:
        expected = float(column.std(ddof=1))
        assert scratch.deviation(column, mean) == pytest.approx(expected, abs=1e-9)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(-2, 90), min_size=1, max_size=60))
def test_labels_are_numbered_as_numpy_does(labels):
    names = np.array(labels)
    codes, number = scratch.numbered(names)
    different, expected = np.unique(names, return_inverse=True)
    np.testing.assert_array_equal(codes, expected)
    assert number == len(different)
    values = np.arange(len(names), dtype=np.float64)
    sums = scratch.sums_by_label(values, names)
    np.testing.assert_array_equal(sums, np.bincount(expected, values))


def test_labels_of_other_kinds_are_numbered_too():
    codes, number = scratch.numbered(np.array(list("bcabcabca")))
    assert (codes.tolist(), number) == ([1, 2, 0, 1, 2, 0, 1, 2, 0], 3)


@pytest.mark.parametrize("clustered", [False, True])
def test_statistics_of_long_columns_are_those_of_short_ones(monkeypatch, clustered):
    generator = np.random.default_rng(0)
    a, b = generator.uniform(size=(2, 1_000))
    clusters = generator.integers(0, 300, 1_000) if clustered else None

    def found():
        return [
            *mean_interval(a, clusters),
            *ratio_interval(a, b, clusters),
            gini(a),
        ]

    blocked = found()
    monkeypatch.setattr(scratch, "BLOCK", 10_000)
    assert blocked == pytest.approx(found(), rel=1e-12)
