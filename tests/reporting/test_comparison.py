"""Comparisons by hand, against SciPy, by invariants and by how often they cover."""

import itertools
import math
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.extra import numpy as arrays
from scipy import stats

from recsim_drpo.reporting.comparison import (
    interquartile_mean,
    mean,
    median,
    optimality_gap,
    paired_difference,
    performance_profile,
    probability_of_improvement,
    sign_flip_p_value,
    stratified_bootstrap,
)
from recsim_drpo.reporting.statistics import seed_interval

STATISTICS = [mean, median, interquartile_mean, optimality_gap]

quick = settings(derandomize=True, database=None, deadline=None, max_examples=40)
shapes = st.tuples(st.integers(2, 6), st.integers(1, 4))
# Multiples of 1 / 8: sums are exact, so that equal is equal.
eighths = st.integers(-80, 80).map(lambda x: x / 8)
scores_arrays = arrays.arrays(np.float64, shapes, elements=eighths)


def draw(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


# Statistics


def test_statistics_by_hand():
    scores = np.array([[0.0, 1.0, 5.0], [1.0, 2.0, 9.0]])
    assert mean(scores) == 3.0
    assert median(scores) == 1.5  # task means 0.5, 1.5, 7
    assert interquartile_mean(scores) == pytest.approx((1 + 1 + 2 + 5) / 4)  # one cut at each end
    assert optimality_gap(scores) == pytest.approx(1 / 6)
    assert optimality_gap(scores, gamma=2.0) == pytest.approx(2 - (0 + 1 + 2 + 1 + 2 + 2) / 6)


@pytest.mark.parametrize("shape", [(1, 1), (3, 1), (4, 1), (5, 3), (20, 7)])
def test_interquartile_mean_is_scipys(shape):
    scores = draw(shape)
    expected = stats.trim_mean(scores, 0.25, axis=None)
    assert interquartile_mean(scores) == pytest.approx(expected, abs=1e-14)


@pytest.mark.parametrize("statistic", STATISTICS)
def test_statistics_are_vectorised_over_leading_axes(statistic):
    scores = draw((2, 3, 5, 4))
    values = statistic(scores)
    assert values.shape == (2, 3)
    for i, j in itertools.product(range(2), range(3)):
        assert values[i, j] == pytest.approx(float(statistic(scores[i, j])), abs=1e-14)


# The bootstrap


@pytest.mark.parametrize("shared_seeds", [False, True])
def test_the_bootstrap_has_the_exact_law(shared_seeds):
    # Both tasks draw nothing but zeros: twenty draws of nine tenths, or ten for both tasks.
    scores = np.zeros((10, 2))
    scores[3] = 1.0
    shares = []

    def remember(x):
        shares.append(mean(x) == 0.0)
        return mean(x)

    stratified_bootstrap(scores, remember, shared_seeds=shared_seeds)
    share = np.concatenate(shares[1:]).mean()  # the first is the value itself
    assert share == pytest.approx(0.9**10 if shared_seeds else 0.9**20, abs=0.02)


def test_resamples_stay_within_their_task():
    scores = draw((12, 3))
    seen = []

    def remember(x):
        seen.append(x)
        return mean(x)

    stratified_bootstrap(scores, remember, num_resamples=50)
    resampled = np.concatenate(seen[1:])
    assert resampled.shape == (50, 12, 3)
    for task in range(3):
        assert np.isin(resampled[..., task], scores[:, task]).all()
    # Tasks are resampled on their own: rows are mixed.
    assert not all(row in scores.tolist() for row in resampled.reshape(-1, 3).tolist())
    seen.clear()
    stratified_bootstrap(scores, remember, num_resamples=50, shared_seeds=True)
    assert all(row in scores.tolist() for row in np.concatenate(seen[1:]).reshape(-1, 3).tolist())


def test_chunks_change_nothing():
    scores, other = draw((5, 3)), draw((4, 3), 1)
    whole = stratified_bootstrap(scores, mean, num_resamples=500)
    won = probability_of_improvement(scores, other, num_resamples=500)
    chunked = stratified_bootstrap(scores, mean, num_resamples=500, values_at_once=1000)
    assert chunked == pytest.approx(whole, abs=1e-14)
    # Two samples take turns in the stream, so that here only the law is the same.
    chunked = probability_of_improvement(scores, other, num_resamples=500, values_at_once=1000)
    assert chunked == pytest.approx(won, abs=0.06)


def test_width_is_that_of_theory():
    scores = draw((40, 3))
    estimate = stratified_bootstrap(scores, mean)
    error = math.sqrt((scores.var(axis=0) / 40).sum()) / 3
    assert estimate.value == pytest.approx(scores.mean(), abs=1e-14)
    assert estimate.high - estimate.low == pytest.approx(2 * 1.96 * error, rel=0.04)


@pytest.mark.parametrize("statistic", STATISTICS)
def test_the_default_number_of_resamples_is_stable(statistic):
    scores = draw((10, 4))
    found = np.array([stratified_bootstrap(scores, statistic, seed=seed) for seed in range(8)])
    width = found[0, 2] - found[0, 1]
    assert (found[:, 1:].std(axis=0) < 0.03 * width).all()
    assert (found[:, 0] == found[0, 0]).all()


def test_bootstrap_is_reproducible_by_seed():
    scores = draw((5, 2))
    assert stratified_bootstrap(scores, mean, seed=3) == stratified_bootstrap(scores, mean, seed=3)
    assert stratified_bootstrap(scores, mean, seed=3) != stratified_bootstrap(scores, mean, seed=4)


def coverage(draw_scores, truth, statistic, **options):
    hits = 0
    for repeat in range(400):
        generator = np.random.default_rng(repeat)
        estimate = stratified_bootstrap(
            draw_scores(generator), statistic, num_resamples=500, seed=repeat, **options
        )
        hits += estimate.low <= truth <= estimate.high
    return hits / 400


@pytest.mark.parametrize(
    ("statistic", "truth"),
    [
        (mean, 0.5),
        (interquartile_mean, 0.5),
        # E min(X, 1) of a normal X: the mean falls short of 1 by E max(1 - X, 0).
        (optimality_gap, 0.5 * stats.norm.cdf(0.5) + stats.norm.pdf(0.5)),
    ],
)
def test_bootstrap_covers_as_often_as_it_says(statistic, truth):
    share = coverage(lambda g: g.normal(0.5, 1.0, size=(20, 3)), truth, statistic)
    assert 0.90 <= share <= 0.98


def test_seeds_that_tasks_share_have_to_be_resampled_together():
    def shared(generator):
        return generator.normal(size=(20, 1)) + 0.5 * generator.normal(size=(20, 6))

    assert 0.90 <= coverage(shared, 0.0, mean, shared_seeds=True) <= 0.98
    assert coverage(shared, 0.0, mean) < 0.70


def test_few_shared_seeds_have_students_interval_by_hand():
    # Of a mean the jackknife is Student's t, here of the means of rows 1, 2 and 6:
    # 3 ± 4.3027 × √7 / √3.
    scores = np.array([[0.0, 2.0], [1.0, 3.0], [4.0, 8.0]])
    estimate = stratified_bootstrap(scores, mean, shared_seeds=True)
    assert estimate == pytest.approx((3.0, 3.0 - 6.5724, 3.0 + 6.5724), abs=1e-4)
    assert estimate == pytest.approx(seed_interval(scores.mean(axis=1)), abs=1e-12)
    # Two seeds of a statistic that is no mean: without either it is 2 or 5, as it would be of one.
    largest = partial(np.max, axis=(-2, -1))
    estimate = stratified_bootstrap([[1.0, 2.0], [5.0, 0.0]], largest, shared_seeds=True)
    half = 12.7062 * math.sqrt(1 / 2 * (1.5**2 + 1.5**2))
    assert estimate == pytest.approx((5.0, 5.0 - half, 5.0 + half), abs=1e-3)


def test_few_seeds_of_two_agents_are_left_out_apart():
    a, b = np.array([1.0, 3.0]), np.array([2.0, 0.0])
    # P = 3 / 4. Without a's first 1, without its second 1/2; without b's first 1, its second 1/2.
    estimate = probability_of_improvement(a, b, shared_seeds=True)
    assert estimate == (0.75, 0.0, 1.0)  # 12.7 × √(1/16 + 1/16), cut to what is possible
    many = probability_of_improvement(np.r_[a, a, a], np.r_[b, b, b], shared_seeds=True)
    # Six seeds each: 5/6 Σ d² of deviations ± 1/20, 2.5706 × √(2 × 5/6 × 6 × (1/20)²).
    half = 2.5706 * math.sqrt(2 * 5 / 6 * 6 / 400)
    assert many == pytest.approx((0.75, 0.75 - half, min(1.0, 0.75 + half)), abs=1e-4)


@pytest.mark.parametrize("num_seeds", [2, 3, 5])
@pytest.mark.parametrize("statistic", [mean, interquartile_mean])
def test_few_shared_seeds_are_covered_as_often_as_it_says(statistic, num_seeds):
    def shared(generator):
        return generator.normal(size=(num_seeds, 1)) + 0.5 * generator.normal(size=(num_seeds, 6))

    assert 0.90 <= coverage(shared, 0.0, statistic, shared_seeds=True) <= 0.98


@pytest.mark.parametrize("shared_seeds", [False, True])
@quick
@given(scores=scores_arrays, factor=st.integers(1, 16).map(lambda x: x / 4), shift=eighths)
def test_location_and_scale(shared_seeds, scores, factor, shift):
    for statistic in (mean, median, interquartile_mean):
        run = partial(
            stratified_bootstrap,
            statistic=statistic,
            shared_seeds=shared_seeds,
            num_resamples=100,
        )
        expected = [factor * x + shift for x in run(scores)]
        assert run(factor * scores + shift) == pytest.approx(expected, abs=1e-9)


@quick
@given(scores=scores_arrays, data=st.data())
def test_the_order_of_seeds_does_not_matter(scores, data):
    rows = data.draw(st.permutations(range(len(scores))))
    for statistic in STATISTICS:
        one = stratified_bootstrap(scores, statistic, num_resamples=100)
        other = stratified_bootstrap(scores[rows], statistic, num_resamples=100)
        assert one.value == pytest.approx(other.value, abs=1e-12)
        # The resamples differ by Monte Carlo alone; both stay within the scores.
        if statistic is not optimality_gap:
            assert scores.min() <= other.low <= other.high <= scores.max()
    assert sign_flip_p_value(scores, 0 * scores) == sign_flip_p_value(scores[rows], 0 * scores)


@quick
@given(value=st.floats(-100, 100), shape=shapes)
def test_constant_scores_have_intervals_of_no_width(value, shape):
    scores = np.full(shape, value)
    for statistic in STATISTICS:
        estimate = stratified_bootstrap(scores, statistic, num_resamples=50)
        assert estimate == pytest.approx([float(statistic(scores))] * 3, rel=1e-12, abs=1e-12)
    assert paired_difference(scores, scores, num_resamples=50) == (0.0, 0.0, 0.0)
    assert probability_of_improvement(scores, scores, num_resamples=50) == (0.5, 0.5, 0.5)
    assert sign_flip_p_value(scores, scores) == 1.0


# Differences


def test_paired_difference_cancels_what_seeds_have_in_common():
    log = 10 * draw((10, 1), 1)
    a, b = log + 0.1 * draw((10, 3), 2) + 0.3, log + 0.1 * draw((10, 3), 3)
    paired = paired_difference(a, b)
    assert paired.value == pytest.approx((a - b).mean(), abs=1e-12)
    assert paired.high - paired.low < 0.2
    crossed = paired_difference(a, b[::-1])
    assert crossed.value == pytest.approx(paired.value, abs=1e-12)
    assert crossed.high - crossed.low > 5.0


def test_paired_difference_of_one_task_is_scipys_bootstrap():
    a, b = draw(15), draw(15, 1)
    found = stats.bootstrap(
        (a - b,), np.mean, n_resamples=10_000, method="percentile", rng=np.random.default_rng(5)
    ).confidence_interval
    estimate = paired_difference(a, b)
    assert estimate == paired_difference(a[:, None], b[:, None])
    width = found.high - found.low
    assert (estimate.low, estimate.high) == pytest.approx((found.low, found.high), abs=0.03 * width)


@quick
@given(scores=scores_arrays)
def test_paired_difference_is_antisymmetric(scores):
    other = scores[::-1] ** 2
    one = paired_difference(scores, other, num_resamples=100)
    back = paired_difference(other, scores, num_resamples=100)
    assert [-x for x in back] == pytest.approx([one.value, one.high, one.low], abs=1e-9)
    assert sign_flip_p_value(scores, other) == sign_flip_p_value(other, scores)


# Probability of improvement


def test_probability_of_improvement_by_hand():
    # Task 0: of four pairs three won, one tied; task 1: none won.
    a, b = [[2.0, 0.0], [3.0, 0.0]], [[1.0, 1.0], [2.0, 1.0]]
    assert probability_of_improvement(a, b).value == pytest.approx((3.5 / 4 + 0) / 2)


@quick
@given(a=scores_arrays, num_seeds=st.integers(2, 5), data=st.data())
def test_probabilities_of_both_directions_sum_to_one(a, num_seeds, data):
    b = data.draw(arrays.arrays(np.float64, (num_seeds, a.shape[1]), elements=eighths))
    forth = probability_of_improvement(a, b, num_resamples=50)
    back = probability_of_improvement(b, a, num_resamples=50)
    assert forth.value + back.value == pytest.approx(1.0, abs=1e-12)
    assert 0.0 <= forth.low <= forth.high <= 1.0
    # Only the order of scores counts.
    cubed = probability_of_improvement(a**3, b**3, num_resamples=50)
    assert cubed == pytest.approx(forth, abs=1e-12)


def test_probability_of_improvement_covers_as_often_as_it_says():
    truth = stats.norm.cdf(0.5 / math.sqrt(2))
    hits = 0
    for repeat in range(400):
        generator = np.random.default_rng(repeat)
        a, b = generator.normal(0.5, size=(20, 2)), generator.normal(size=(20, 2))
        estimate = probability_of_improvement(a, b, num_resamples=300)
        hits += estimate.low <= truth <= estimate.high
    assert 0.90 <= hits / 400 <= 0.98


# Profiles


def test_performance_profile_by_hand():
    profile = performance_profile([[0.0, 1.0], [2.0, 3.0]], [2.0, -1.0, 0.0, 3.0])
    assert profile.shape == (4, 3)
    assert profile[:, 0].tolist() == [0.25, 1.0, 0.75, 0.0]  # strictly above
    assert profile[1].tolist() == [1.0, 1.0, 1.0]
    assert profile[3].tolist() == [0.0, 0.0, 0.0]


@quick
@given(scores=scores_arrays, thresholds=st.lists(eighths, min_size=1, max_size=6))
def test_profiles_fall_and_contain_their_values(scores, thresholds):
    profile = performance_profile(scores, sorted(thresholds), num_resamples=50)
    assert (np.diff(profile, axis=0) <= 1e-12).all()
    assert ((profile >= 0) & (profile <= 1)).all()
    whole = performance_profile(scores, sorted(thresholds), num_resamples=50, shared_seeds=True)
    assert (whole[:, 0] == profile[:, 0]).all()


def test_the_band_of_one_threshold_is_that_of_the_share():
    scores = draw((20, 3))
    band = performance_profile(scores, [-0.5, 0.5])
    share = stratified_bootstrap((scores > 0.5).astype(float), mean)
    assert band[1] == pytest.approx(np.array(share), abs=1e-12)


# What is refused, and what has no interval

FUNCTIONS = {
    "bootstrap": lambda scores: stratified_bootstrap(scores, mean),
    "difference": lambda scores: paired_difference(scores, np.zeros((4, 2))),
    "flips": lambda scores: sign_flip_p_value(scores, np.zeros((4, 2))),
    "improvement": lambda scores: probability_of_improvement(scores, np.zeros((4, 2))),
    "profile": lambda scores: performance_profile(scores, [0.0]),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_scores_that_are_not_finite_are_refused(name):
    scores = np.zeros((4, 2))
    scores[0, 0], scores[2, 1], scores[3, 1] = math.nan, math.inf, -math.inf
    with pytest.raises(ValueError, match="3 of 8 values are not finite"):
        FUNCTIONS[name](scores)


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("scores", [0.5, [], np.zeros((0, 2)), np.zeros((2, 2, 2))])
def test_scores_of_another_shape_are_refused(name, scores):
    with pytest.raises(ValueError, match="has shape"):
        FUNCTIONS[name](scores)


def test_scores_that_do_not_match_are_refused():
    a, b = np.zeros((4, 2)), np.zeros((5, 2))
    for paired in (paired_difference, sign_flip_p_value):
        with pytest.raises(ValueError, match="not paired"):
            paired(a, b)
    assert probability_of_improvement(a, b, num_resamples=10).value == 0.5
    with pytest.raises(ValueError, match="a has 2 tasks, b has 3"):
        probability_of_improvement(a, np.zeros((4, 3)))


@pytest.mark.parametrize("thresholds", [0.5, [], [[0.5]], [0.5, math.nan]])
def test_thresholds_that_are_none_are_refused(thresholds):
    with pytest.raises(ValueError, match="is not a list of numbers"):
        performance_profile(np.zeros((4, 2)), thresholds)


def test_no_resamples_are_refused():
    with pytest.raises(ValueError, match="num_resamples=0"):
        stratified_bootstrap(np.zeros((4, 2)), mean, num_resamples=0)


def test_a_single_seed_has_no_interval():
    one, many = np.array([[0.25, 0.75]]), draw((3, 2))
    for estimate in (
        stratified_bootstrap(one, mean),
        paired_difference(one, 0 * one),
        probability_of_improvement(one, many),
        performance_profile(one, [0.5])[0],
    ):
        assert math.isfinite(estimate[0])
        assert math.isnan(estimate[1])
        assert math.isnan(estimate[2])
