"""Differences between two logs, against logs whose differences are known."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy import stats

from recsim_drpo.ope import drift_report
from recsim_drpo.ope.ab_readout import readout
from recsim_drpo.ope.drift import compare_logs, population_stability
from recsim_drpo.ope.drift_logs import ComparedLog


def log_of(generator, rows=2_000, shift=0.0, clicks=0.3, items=(0.5, 0.3, 0.2), **columns):
    """A log of two numbers, of which the first may be shifted, and a flag."""
    contexts = np.column_stack(
        [
            generator.normal(shift, 2.0, rows),
            generator.exponential(1.0, rows),
            generator.random(rows) < 0.25,
        ]
    )
    values = {
        "names": ["age", "spend", "country=de"],
        "contexts": contexts.astype(np.float32),
        "items": np.array(list("abc"))[generator.choice(3, size=rows, p=items)],
        "rewards": (generator.random(rows) < clicks).astype(np.float64),
        "propensities": np.full(rows, 0.25),
    }
    return ComparedLog(**(values | columns))


def test_a_log_does_not_differ_from_itself():
    log = log_of(np.random.default_rng(0))
    drift = compare_logs(log, log)
    for one in (*drift.contexts, drift.rewards, drift.propensities):
        assert (one.psi, one.statistic, one.p_value) == (0.0, 0.0, 1.0)
        assert one.difference is None or one.difference.value == 0.0
    assert (drift.items.total_variation, drift.items.p_value) == (0.0, 1.0)
    assert drift.items.new == drift.items.gone == []
    assert drift.drifted == []
    assert drift.readout.difference.value == 0.0
    assert drift.readout.p_value == 1.0


def test_what_was_moved_is_found_and_nothing_else():
    generator = np.random.default_rng(1)
    a, b = log_of(generator), log_of(generator, shift=1.0, clicks=0.4)
    drift = compare_logs(a, b)
    assert drift.drifted == ["age"]
    age = drift.contexts[0]
    # Moved by 1 with a deviation of 2: ½, to 1.96 · √(2 / 2,000).
    assert age.difference.value == pytest.approx(0.5, abs=0.08)
    assert age.difference.high - age.difference.value == pytest.approx(1.96 * math.sqrt(1e-3), 1e-2)
    # The gap of two normal distributions that are ½ apart is 2 Φ(¼) − 1.
    assert age.statistic == pytest.approx(2 * stats.norm.cdf(0.25) - 1, abs=0.04)
    # Their divergence of Jeffreys is ¼, and tenths lose a little.
    assert 0.18 < age.psi < 0.28
    assert max(one.psi for one in drift.contexts[1:]) < 0.03
    assert drift.rewards.p_value < 1e-6
    assert drift.readout.difference.low < 0.1 < drift.readout.difference.high
    assert drift.propensities.difference is None
    assert drift.items.p_value > 0.05


def test_holms_correction_bounds_false_alarms():
    """Of 100 pairs without a difference about five at most may have any."""
    generator = np.random.default_rng(2)
    alarms = 0
    for _ in range(100):
        drift = compare_logs(log_of(generator, 300), log_of(generator, 300))
        tested = [*drift.contexts, drift.rewards, drift.propensities, drift.items]
        alarms += min(one.p_value for one in tested) < 0.05
    assert alarms <= 10  # 5 expected; more than 10 has a chance of 1 %


def test_items_by_hand():
    generator = np.random.default_rng(0)
    a = log_of(generator, 100, items=(1, 0, 0))
    a = replace(a, items=np.array(["x"] * 40 + ["y"] * 60))
    b = replace(a, items=np.array(["y"] * 50 + ["z"] * 30 + ["w"] * 20))
    items = compare_logs(a, b).items
    # ½ (0.4 + 0.1 + 0.3 + 0.2)
    assert items.total_variation == pytest.approx(0.5)
    assert (items.new, items.gone) == (["z", "w"], ["x"])
    assert (items.new_share, items.gone_share) == (pytest.approx(0.5), pytest.approx(0.4))
    assert items.p_value < 1e-6


def test_the_total_variation_by_chance_is_what_it_is_without_a_difference():
    generator = np.random.default_rng(3)
    shares = np.arange(1, 41) / np.arange(1, 41).sum()
    found, told = [], []
    for _ in range(40):
        names = np.arange(40).astype(str)
        a, b = (
            ComparedLog(
                ["x"],
                np.zeros((rows, 1), dtype=np.float32),
                names[generator.choice(40, size=rows, p=shares)],
                np.zeros(rows),
            )
            for rows in (500, 1_000)
        )
        items = compare_logs(a, b).items
        found.append(items.total_variation)
        told.append(items.by_chance)
    assert np.mean(found) == pytest.approx(np.mean(told), rel=0.05)


def test_a_column_of_few_values_is_tested_by_all_of_them():
    """Counts (40, 40, 20) against (20, 40, 40): χ² = 4 · 10² / 30, of two degrees of freedom."""
    a, b = (np.repeat([0.0, 1.0, 2.0], counts) for counts in ((40, 40, 20), (20, 40, 40)))
    logs = [
        ComparedLog(["visits"], x[:, None].astype(np.float32), None, np.zeros(100)) for x in (a, b)
    ]
    (visits,) = compare_logs(*logs).contexts
    # Two tests, of visits and of rewards.
    assert visits.p_value == pytest.approx(2 * stats.chi2.sf(400 / 30, 2))
    assert visits.statistic == pytest.approx(0.2)


def test_stability_by_hand():
    a, b = np.repeat([0.0, 1.0], [50, 50]), np.repeat([0.0, 1.0], [75, 25])
    # Three bins, of which nothing is in the last: (50.5, 50.5, 0.5) and (75.5, 25.5, 0.5) of 101.5.
    expected = 25 / 101.5 * (math.log(75.5 / 50.5) - math.log(25.5 / 50.5))
    assert population_stability(a, b) == pytest.approx(expected)


def test_the_difference_of_clicks_is_newcombes():
    """56 of 70 against 48 of 80 is his example (Table II, method 10): 0.0524 to 0.3339."""
    a, b = np.repeat([1.0, 0.0], [48, 32]), np.repeat([1.0, 0.0], [56, 14])
    told = readout(a, b)
    assert told.difference == pytest.approx((0.2, 0.0524, 0.3339), abs=5e-5)
    # Wilson's interval of 56 of 70.
    wilson = stats.binomtest(56, 70).proportion_ci(method="wilson")
    assert told.b == pytest.approx((0.8, wilson.low, wilson.high))
    nothing = readout(np.zeros(50), np.repeat([1.0, 0.0], [1, 49]))
    assert nothing.a.low == 0.0
    assert nothing.a.high > 0.05
    assert nothing.relative is None


def test_the_difference_of_other_rewards_is_normal():
    a, b = np.array([1.0, 2.0, 4.0]), np.array([3.0, 7.0, 5.0, 5.0])
    told = readout(a, b)
    error = math.sqrt(a.var(ddof=1) / 3 + b.var(ddof=1) / 4)
    assert told.difference.value == pytest.approx(5 - 7 / 3)
    assert told.difference.high - told.difference.value == pytest.approx(1.959964 * error)
    assert told.p_value == pytest.approx(2 * stats.norm.sf((5 - 7 / 3) / error))
    assert told.relative.value == pytest.approx(15 / 7 - 1)


@given(
    st.lists(st.floats(-5, 5), min_size=2, max_size=20),
    st.lists(st.floats(-5, 5), min_size=2, max_size=20),
    st.integers(2, 4),
)
@settings(max_examples=60, deadline=None)
def test_rows_of_a_request_that_are_repeated_tell_nothing_more(a, b, times):
    once = readout(np.array(a), np.array(b))
    repeated = readout(
        np.repeat(a, times),
        np.repeat(b, times),
        np.repeat(np.arange(len(a)), times),
        np.repeat(np.arange(len(b)), times),
    )
    assert repeated.difference == pytest.approx(once.difference, abs=1e-9)
    back = readout(np.array(b), np.array(a))
    assert back.difference.value == pytest.approx(-once.difference.value)
    assert back.difference.low == pytest.approx(-once.difference.high)


def test_intervals_of_requests_hold_the_truth_where_those_of_rows_do_not():
    generator = np.random.default_rng(4)
    by_request = by_row = 0
    for _ in range(200):
        logs = []
        for _ in range(2):
            rates = np.repeat(generator.beta(0.5, 1.5, size=150), 8)  # of a request
            logs.append((generator.random(1_200) < rates).astype(np.float64))
        requests = np.repeat(np.arange(150), 8)
        clustered, naive = readout(*logs, requests, requests), readout(*logs)
        by_request += clustered.difference.low < 0.0 < clustered.difference.high
        by_row += naive.difference.low < 0.0 < naive.difference.high
    assert 180 <= by_request <= 199  # 190 expected
    assert by_row < 160


def test_contexts_are_tested_on_one_row_a_request():
    generator = np.random.default_rng(5)
    a, b = (log_of(generator, 200) for _ in range(2))
    long = [
        ComparedLog(
            log.names,
            np.repeat(log.contexts, 3, axis=0),
            np.repeat(log.items, 3),
            np.repeat(log.rewards, 3),
            np.repeat(log.propensities, 3),
            np.repeat(np.arange(200), 3),
        )
        for log in (a, b)
    ]
    short, drift = compare_logs(a, b), compare_logs(*long)
    assert drift.contexts == short.contexts
    assert drift.rewards == short.rewards
    assert drift.items.p_value == short.items.p_value
    assert drift.items.total_variation == pytest.approx(short.items.total_variation)
    assert (drift.rows, drift.requests) == ((600, 600), (200, 200))


def test_columns_that_one_log_alone_has_are_named_and_strangers_refused():
    log = log_of(np.random.default_rng(6))
    other = replace(log, names=["age", "income", "country=fr"])
    drift = compare_logs(log, other)
    assert [one.column for one in drift.contexts] == ["age"]
    assert (drift.only_a, drift.only_b) == (["spend", "country=de"], ["income", "country=fr"])
    text = drift_report.as_text(drift, "may", "june")
    assert "A alone has the columns spend, country=de." in text
    stranger = replace(log, names=["x", "y", "z"])
    with pytest.raises(ValueError, match="share no column of the context: age, spend"):
        compare_logs(log, stranger)
    with pytest.raises(ValueError, match="of one request"):
        compare_logs(log, replace(log, requests=np.zeros(2_000, dtype=int)))


def test_the_folder_holds_json_text_and_a_picture(tmp_path):
    pytest.importorskip("matplotlib")
    generator = np.random.default_rng(7)
    drift = compare_logs(log_of(generator), log_of(generator, shift=2.0))
    assert drift_report.save(tmp_path / "out", drift, "may", "june") is None
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        *("compare.json", "compare.md", "compare.png")
    }
    plain = json.loads((tmp_path / "out" / "compare.json").read_text(encoding="utf-8"))
    assert plain["contexts"][0]["column"] == "age"
    assert plain["readout"]["difference"] == list(drift.readout.difference)
    text = (tmp_path / "out" / "compare.md").read_text(encoding="utf-8")
    assert "1 of 3 columns of the context differ (age): the users are not the same" in text
