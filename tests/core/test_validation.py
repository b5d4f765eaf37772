"""Checks of input: what passes, and what each error says."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from recsim_drpo.core.validation import (
    check_flag,
    check_integer,
    check_number,
    check_seed,
    check_seeds,
    nearest_name,
    unknown_name,
)


@pytest.mark.parametrize("seed", [0, 1, 2**63 - 1, np.int64(5), np.uint64(2**63 - 1)])
def test_seeds_in_range_pass(seed):
    checked = check_seed(seed)
    assert type(checked) is int
    assert checked == int(seed)


@pytest.mark.parametrize(
    "seed", [-1, 2**63, 2**64, 1.0, float("nan"), "1", None, True, np.float64(3), [1]]
)
def test_other_seeds_are_refused_by_name(seed):
    with pytest.raises(ValueError, match=r"^shuffle_seed=.* is not an integer in \[0, 2\*\*63\)"):
        check_seed(seed, "shuffle_seed")


def test_seeds_of_replicates():
    assert check_seeds([3, np.int64(1)]) == [3, 1]
    for seeds in ([], [1, 1], [0, np.int64(0)]):
        with pytest.raises(ValueError, match="must be different seeds, at least one"):
            check_seeds(seeds)
    with pytest.raises(ValueError, match="seed=-1"):
        check_seeds([0, -1])


@pytest.mark.parametrize("value", [0, 1, 0.5, np.float32(0.25), True])
def test_numbers_in_a_closed_interval(value):
    if value is True:
        with pytest.raises(ValueError, match=r"^share=True is not a number in \[0, 1\]\.$"):
            check_number("share", value, 0.0, 1.0)
    else:
        check_number("share", value, 0.0, 1.0)


@pytest.mark.parametrize(
    ("value", "options", "interval"),
    [
        (0.0, {"low": 0, "include_low": False}, r"\(0, inf\)"),
        (1.0, {"low": 0, "high": 1, "include_high": False}, r"\[0, 1\)"),
        (float("inf"), {"low": 0}, r"\[0, inf\)"),
        (float("nan"), {"low": -2.5, "high": 3}, r"\[-2\.5, 3\]"),
        ("1", {"low": 0}, r"\[0, inf\)"),
        (1 + 0j, {"low": 0}, r"\[0, inf\)"),
    ],
)
def test_numbers_outside_their_interval(value, options, interval):
    with pytest.raises(ValueError, match=rf"^rate=.* is not a number in {interval}\.$"):
        check_number("rate", value, **options)


def test_integers():
    for value in (1, 3, np.int8(2), torch.tensor(3)):
        check_integer("count", value, 1, 3)
    for value in (0, 4, 2.0, "2", True, None):
        with pytest.raises(ValueError, match=r"^count=.* is not an integer from 1 to 3\.$"):
            check_integer("count", value, 1, 3)
    check_integer("count", 2**70, 1)
    with pytest.raises(ValueError, match=r"^count=0 is not an integer at least 1\.$"):
        check_integer("count", 0, 1)


def test_flags():
    check_flag("normalize", True)
    check_flag("normalize", False)
    for value in (1, 0, "true", None, np.True_):
        with pytest.raises(ValueError, match=r"^normalize=.* is neither true nor false"):
            check_flag("normalize", value)


def test_names():
    known = ("train", "validation", "test")
    assert str(unknown_name("split", "tset", known)) == (
        "Unknown split 'tset'. Did you mean 'test'? Known: test, train, validation."
    )
    assert str(unknown_name("split", 7, ())) == "Unknown split 7. Known: none."
    assert nearest_name("valid", known) == " Did you mean 'validation'?"
    assert nearest_name("qqq", known) == ""
