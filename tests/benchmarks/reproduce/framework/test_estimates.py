"""Means over seeds with their intervals."""

from __future__ import annotations

import numpy as np
import pytest

from recsim_drpo.benchmarks.reproduce.framework.estimates import (
    brief,
    difference,
    interval,
    signed,
)
from recsim_drpo.benchmarks.reproduce.framework.verdicts import by_sign
from recsim_drpo.reporting.statistics import Estimate, seed_interval


def test_few_seeds_have_wide_intervals_and_many_bootstrapped_ones():
    few, many = np.array([1.0, 2.0, 4.0]), np.random.default_rng(0).normal(size=20)
    assert interval(few) == pytest.approx(seed_interval(few), abs=1e-12)
    assert difference(few, few[::-1]).value == pytest.approx(0.0)
    assert interval(many) != seed_interval(many)
    assert interval(many).value == pytest.approx(many.mean())


def test_a_single_seed_is_shown_without_an_interval():
    alone = interval(np.array([1.234]))
    assert (brief(alone), signed(alone)) == ("1.23", "+1.23")
    said = by_sign(alone, "c", "s", "", "", "cmd")
    assert said.because == "the difference is +1.23, of a single replicate, which has no interval"
    assert brief(Estimate(1.234, 1.0, 2.0)) == "1.23 [1.00, 2.00]"
