from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, strategies as st

from recsim_drpo import ope
from recsim_drpo.ope.formulas import mean_reward
from recsim_drpo.ope.intervals import log_interval, logit_interval
from recsim_drpo.reporting.statistics import Estimate

UNIT = (0.0, 1.0)


def normal(value, error):
    return Estimate(value, value - 1.959964 * error, value + 1.959964 * error)


def test_values_by_hand():
    # One click in 255: odds 1 / 254, standard error √(p (1 - p) / 255) = 0.003914.
    p, error = 1 / 255, math.sqrt(254) / 255 / math.sqrt(255)
    found = logit_interval(normal(p, error), UNIT, 255.0)
    factor = math.exp(1.959964 * error / (p * (1 - p)))
    assert found.low == pytest.approx(1 / (1 + 254 * factor), rel=1e-4)
    assert found.high == pytest.approx(1 / (1 + 254 / factor), rel=1e-4)
    assert (round(found.low, 5), round(found.high, 4)) == (0.00055, 0.0273)
    found = log_interval(normal(p, error), UNIT)
    assert found.low == pytest.approx(p / math.exp(1.959964 * error / p), rel=1e-6)
    assert found.high == pytest.approx(p * math.exp(1.959964 * error / p), rel=1e-6)


def test_at_the_ends_of_the_range():
    # Wilson's interval of 0 of 100 and of 100 of 100, as statsmodels has it.
    nothing = logit_interval(Estimate(0.0, 0.0, 0.0), UNIT, 100.0)
    assert nothing == pytest.approx((0.0, 0.0, 0.036994), abs=1e-6)
    assert logit_interval(Estimate(3.0, 3.0, 3.0), (1.0, 3.0), 100.0) == pytest.approx(
        (3.0, 3.0 - 2 * 0.036994, 3.0), abs=1e-5
    )
    assert log_interval(Estimate(1.02, 0.9, 1.14), UNIT) == pytest.approx(
        (1.02, 1.02 / math.exp(0.12 / 1.02), 1.02)
    )
    assert log_interval(Estimate(-0.01, -0.03, 0.01), UNIT) == (-0.01, -0.01, 0.01)
    for unknown in (None, (1.0, 1.0)):
        assert logit_interval(Estimate(1.0, 0.5, 1.5), unknown, 9.0) == (1.0, 0.5, 1.5)
    assert math.isnan(mean_reward([0.5], reward_range=UNIT).high)


@given(st.floats(0.0, 1.0), st.floats(0.0, 10.0), st.floats(1.0, 1e6))
def test_they_stay_in_the_range_and_have_the_value_in_them(value, error, effective):
    found = normal(value, error)
    for one in (logit_interval(found, UNIT, effective), log_interval(found, UNIT)):
        assert 0.0 <= one.low <= value + 1e-12
        assert value - 1e-12 <= one.high <= 1.0


@given(st.floats(0.01, 0.99), st.floats(-100.0, 100.0), st.floats(0.01, 100.0))
def test_they_move_with_the_range(value, low, width):
    found = normal(value, 0.02)
    moved = Estimate(*(low + width * x for x in found))
    bounds = (low, low + width)
    for one, other in (
        (logit_interval(found, UNIT, 9.0), logit_interval(moved, bounds, 9.0)),
        (log_interval(found, UNIT), log_interval(moved, bounds)),
    ):
        expected = [low + width * x for x in one]
        assert list(other) == pytest.approx(expected, rel=1e-6, abs=1e-6 * (abs(low) + width))


@given(st.floats(0.1, 0.9))
def test_narrow_ones_are_the_normal_ones(value):
    error = 1e-3
    found = normal(value, error)
    for one in (logit_interval(found, UNIT, 1e6), log_interval(found, UNIT)):
        assert list(one) == pytest.approx(list(found), abs=0.02 * error)


def covers(interval, num_rounds, rate, generator, repeats=1_500):
    """How often the interval of a policy that a uniform logger of 4 items matches has the truth."""
    hits = answers = 0
    for _ in range(repeats):
        matched = generator.random(num_rounds) < 0.25
        clicks = (generator.random(num_rounds) < rate).astype(float)
        if (matched * clicks).sum() < 10:
            continue
        found = interval(clicks, 4.0 * matched)
        answers += 1
        hits += found.low <= rate <= found.high
    return hits / answers


def test_with_few_clicks_they_cover_what_they_say_and_normal_ones_do_not():
    generator = np.random.default_rng(0)
    ranged = [
        covers(lambda r, w, f=f: f(r, w, reward_range=UNIT), 4_000, 0.02, generator)
        for f in (ope.ips, ope.snips)
    ]
    assert min(ranged) > 0.93
    almost_all = covers(lambda r, w: ope.snips(r, w, reward_range=UNIT), 800, 0.97, generator)
    as_before = covers(ope.snips, 800, 0.97, generator)
    assert almost_all > 0.93 > as_before
