"""Comparisons by hand, against SciPy and rliable, by invariants and by how often they cover."""

import itertools
import math
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.extra import numpy as arrays
from scipy import stats

from recsim_drpo.reporting import comparison
from recsim_drpo.reporting.comparison import (
    holm,
    interquartile_mean,
    mean,
    median,
    moderated_p_values,
    optimality_gap,
    paired_difference,
    performance_profile,
    probability_of_improvement,
    sign_flip_p_value,
    stratified_bootstrap,
)

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
def test_bootstrap_of_two_seeds_has_the_exact_law(shared_seeds):
    # Both tasks draw nothing but zeros: four draws of a half, or two drawn for both tasks.
    scores = np.array([[0.0, 0.0], [1.0, 1.0]])
    shares = []

    def remember(x):
        shares.append(mean(x) == 0.0)
        return mean(x)

    stratified_bootstrap(scores, remember, shared_seeds=shared_seeds)
    share = np.concatenate(shares[1:]).mean()  # the first is the value itself
    assert share == pytest.approx(1 / 4 if shared_seeds else 1 / 16, abs=0.02)


def test_resamples_stay_within_their_task():
    scores = draw((6, 3))
    seen = []

    def remember(x):
        seen.append(x)
        return mean(x)

    stratified_bootstrap(scores, remember, num_resamples=50)
    resampled = np.concatenate(seen[1:])
    assert resampled.shape == (50, 6, 3)
    for task in range(3):
        assert np.isin(resampled[..., task], scores[:, task]).all()
    # Tasks are resampled on their own: rows are mixed.
    assert not all(row in scores.tolist() for row in resampled.reshape(-1, 3).tolist())
    seen.clear()
    stratified_bootstrap(scores, remember, num_resamples=50, shared_seeds=True)
    assert all(row in scores.tolist() for row in np.concatenate(seen[1:]).reshape(-1, 3).tolist())


def test_chunks_change_nothing(monkeypatch):
    scores, other = draw((5, 3)), draw((4, 3), 1)
    whole = stratified_bootstrap(scores, mean, num_resamples=500)
    won = probability_of_improvement(scores, other, num_resamples=500)
    monkeypatch.setattr(comparison, "_VALUES_AT_ONCE", 1000)
    assert stratified_bootstrap(scores, mean, num_resamples=500) == pytest.approx(whole, abs=1e-14)
    # Two samples take turns in the stream, so that here only the law is the same.
    chunked = probability_of_improvement(scores, other, num_resamples=500)
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


# Sign flips


def test_sign_flips_by_hand():
    assert sign_flip_p_value([1.0], [0.0]) == 1.0
    # Of the eight sums of ±1 ±2 ±3 only ±6 are as large; of ±1 ±2 -3 (0 in all) each one is.
    assert sign_flip_p_value([1.0, 2.0, 3.0], [0.0] * 3) == 2 / 8
    assert sign_flip_p_value([1.0, 2.0, -3.0], [0.0] * 3) == 1.0
    assert sign_flip_p_value([2.0, 3.0, -1.0], [0.0] * 3) == 4 / 8


@pytest.mark.parametrize("count", [5, 6, 12])
def test_the_least_p_value(count):
    assert sign_flip_p_value(np.arange(1.0, count + 1), np.zeros(count)) == 2 / 2**count


@pytest.mark.parametrize("count", [4, 9, 12])
def test_sign_flips_are_scipys(count):
    a, b = draw((count, 3), 1) + 0.3, draw((count, 3), 2)
    found = stats.permutation_test(
        ((a - b).mean(axis=1), np.zeros(count)),
        lambda x, y: (x - y).mean(),
        permutation_type="samples",
        n_resamples=np.inf,
    )
    assert sign_flip_p_value(a, b) == pytest.approx(found.pvalue, abs=1e-12)


def test_random_flips_approximate_the_exact_ones(monkeypatch):
    a, b = draw(12, 3) + 0.4, draw(12, 4)
    exact = sign_flip_p_value(a, b)
    monkeypatch.setattr(comparison, "_EXACT_FLIPS", 11)
    assert 0.01 < exact < 0.9
    assert sign_flip_p_value(a, b) == pytest.approx(exact, abs=4 * math.sqrt(0.25 / 20_000))
    assert sign_flip_p_value(a, b) == sign_flip_p_value(a, b)


def test_random_flips_never_give_zero():
    assert sign_flip_p_value(np.arange(1.0, 41.0), np.zeros(40)) == 1 / 20_001


def test_equal_differences_are_counted_in_spite_of_rounding():
    # 0.1 + 0.2 - 0.3 is not 0 in floating point; every flip with the same |sum| has to count.
    differences = np.array([0.1, 0.2, 0.3, 0.1, 0.2, 0.3])
    exact = sign_flip_p_value([1, 2, -3, 1, 2, 3], np.zeros(6))
    flipped = differences * [1, 1, -1, 1, 1, 1]
    assert sign_flip_p_value(flipped, np.zeros(6)) == exact


def test_p_values_of_equal_agents_are_not_too_small():
    hits = [
        sign_flip_p_value(*np.random.default_rng(repeat).exponential(size=(2, 8, 2))) <= 0.05
        for repeat in range(600)
    ]
    assert 0.02 <= np.mean(hits) <= 0.075


# Holm


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    assert holm([0.02]) == pytest.approx([0.02])
    assert holm([]).shape == (0,)
    assert holm([[0.01, 0.04], [0.03, 0.2]]) == pytest.approx(np.array([[0.04, 0.09], [0.09, 0.2]]))


def test_moderated_p_values_of_one_row_are_students():
    row = [[0.1, 0.2, 0.4]]
    expected = stats.ttest_1samp(row[0], 0.0).pvalue
    assert moderated_p_values(row) == pytest.approx([expected])


def test_moderated_p_values_pool_rows_of_equal_variances():
    rows = np.array([[-0.1, 0.0, 0.1], [0.9, 1.0, 1.1], [0.1, 0.2, 0.3], [0.3, 0.4, 0.5]])
    # Four variances of two degrees of freedom each, all 0.01.
    expected = 2 * stats.t.sf(rows.mean(axis=1) * math.sqrt(3) / 0.1, 8)
    np.testing.assert_allclose(moderated_p_values(rows), expected, rtol=1e-9)


@pytest.mark.parametrize("excess", [1e-12, 1e-9, 3e-8, 1e-7, 2e-6, 1e-4])
def test_moderated_p_values_where_variances_hardly_exceed_chance(excess):
    w = math.sqrt((math.pi**2 / 6 + excess) / 2)  # log s² at ±w have the variance ψ'(1) + excess
    rows = 0.5 + np.array([-1.0, 0.0, 1.0]) * np.exp(np.array([[-w], [w]]) / 2)
    assert ((moderated_p_values(rows) > 0) & (moderated_p_values(rows) < 1)).all()


def test_moderated_p_values_by_the_closed_forms_of_smyth():
    """With d = 2, ψ'(1) = π²/6 and ψ(1) = -γ; ψ'(1/2) = π²/2 makes d_0 = 1 and ψ(1/2) known."""
    # log s² of two rows at ±w have the sample variance 2 w², here π²/6 + π²/2.
    w = math.pi / math.sqrt(3)
    variances = np.exp([-w, w])
    unit = np.array([-1.0, 0.0, 1.0])  # of variance 1
    rows = 0.7 + unit * np.sqrt(variances)[:, None]
    # log s_0² = mean + γ + ψ(1/2) - log(1/2) = γ + (-γ - 2 log 2) + log 2 = -log 2
    moderated = (1 * 0.5 + 2 * variances) / 3
    expected = 2 * stats.t.sf(0.7 * np.sqrt(3 / moderated), 3)  # 1 + 2, at most 2 × 2
    np.testing.assert_allclose(moderated_p_values(rows), expected, rtol=1e-9)


@pytest.mark.parametrize("rows", [6, 4_000])
@pytest.mark.parametrize("shape", [2.0, 50.0])
def test_moderated_p_values_are_uniform_without_a_difference(shape, rows):
    """Rows whose variances are as the model says, spread widely or hardly at all, many or few."""
    rng = np.random.default_rng(1)
    families = 3_000 // rows + 1
    sigma = np.sqrt(0.3 / rng.gamma(shape, 1 / shape, size=(families, rows, 1)))
    draws = sigma * rng.normal(size=(families, rows, 3))
    found = np.concatenate([moderated_p_values(family) for family in draws])
    for level in (0.01, 0.05, 0.5):
        error = math.sqrt(level * (1 - level) / len(found))
        # Of six rows d_0 and s_0² are poorly known: up to a third too often below a small level.
        room = level / 3 if rows == 6 else 0.0
        assert abs((found < level).mean() - level) < 4 * error + room


def test_moderated_p_values_find_more_than_students():
    rng = np.random.default_rng(2)
    rows = 0.2 + 0.1 * rng.normal(size=(200, 3))
    student = stats.ttest_1samp(rows, 0.0, axis=1).pvalue
    assert (holm(moderated_p_values(rows)) < 0.05).mean() > (holm(student) < 0.05).mean() + 0.2


def test_moderated_p_values_where_there_is_no_variance():
    assert moderated_p_values([[0.5], [0.0]]).tolist() == [1.0, 1.0]
    assert moderated_p_values([[0.5, 0.5], [0.0, 0.0]]).tolist() == [0.0, 1.0]
    found = moderated_p_values([[0.0, 0.0, 0.0], [0.1, 0.2, 0.4], [0.5, 0.5, 0.5]])
    assert found[0] == 1.0
    assert 0 < found[2] < found[1]
    with pytest.raises(ValueError, match="1 of 4 values are not finite"):
        moderated_p_values([[0.5, math.nan], [0.0, 0.0]])


@quick
@given(p_values=st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_rejects_as_its_sequential_rule(p_values):
    adjusted = holm(p_values)
    assert (adjusted >= p_values).all()
    assert (adjusted <= np.minimum(1.0, len(p_values) * np.array(p_values)) + 1e-15).all()
    for level in (0.01, 0.05, 0.3):
        rejected = set()
        for step, index in enumerate(np.argsort(p_values, kind="stable")):
            if p_values[index] * (len(p_values) - step) > level:
                break
            rejected.add(int(index))
        assert rejected == set(np.flatnonzero(adjusted <= level).tolist())


def test_holm_is_statsmodels():
    multitest = pytest.importorskip("statsmodels.stats.multitest")
    p_values = np.random.default_rng(0).uniform(0, 0.1, size=30) ** 2
    expected = multitest.multipletests(p_values, method="holm")[1]
    assert holm(p_values) == pytest.approx(expected, abs=1e-15)


@pytest.mark.parametrize("p_values", [[0.1, math.nan], [0.1, 1.2], [-0.1, 0.1]])
def test_holm_refuses_what_is_no_probability(p_values):
    with pytest.raises(ValueError, match=r"1 of 2 values are not in \[0, 1\]"):
        holm(p_values)


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


# rliable, which the article's authors wrote


@pytest.fixture
def rliable():
    """Its modules: ``pip install "recsim-drpo[rliable]"``."""
    pytest.importorskip("rliable")
    from rliable import library, metrics

    return library, metrics


@pytest.fixture
def repeatable():
    """rliable draws from NumPy's global generator."""
    state = np.random.get_state()  # noqa: NPY002
    np.random.seed(0)  # noqa: NPY002
    yield
    np.random.set_state(state)  # noqa: NPY002


def test_statistics_are_rliables(rliable):
    _, metrics = rliable
    theirs = (
        metrics.aggregate_mean,
        metrics.aggregate_median,
        metrics.aggregate_iqm,
        metrics.aggregate_optimality_gap,
    )
    for shape in [(5, 1), (7, 3), (20, 6)]:
        scores = draw(shape)
        for ours, other in zip(STATISTICS, theirs, strict=True):
            assert ours(scores) == pytest.approx(other(scores), abs=1e-12)
        gap = metrics.aggregate_optimality_gap(scores, gamma=0.3)
        assert optimality_gap(scores, gamma=0.3) == pytest.approx(gap, abs=1e-12)


def test_probability_of_improvement_is_rliables(rliable):
    _, metrics = rliable
    a, b = np.round(draw((9, 4)), 1) + 0.2, np.round(draw((6, 4), 1), 1)
    assert np.intersect1d(a, b).size  # ties are among them
    expected = metrics.probability_of_improvement(a, b)
    ours = probability_of_improvement(a, b, num_resamples=10)
    assert ours.value == pytest.approx(expected, abs=1e-12)


def test_performance_profile_is_rliables(rliable):
    library, _ = rliable
    scores, thresholds = np.round(draw((9, 4)), 1), np.linspace(-2, 2, 41)  # some are equal
    expected = library.score_distributions(scores, thresholds)
    ours = performance_profile(scores, thresholds, num_resamples=10)[:, 0]
    assert ours == pytest.approx(expected, abs=1e-12)


@pytest.mark.usefixtures("repeatable")
def test_intervals_are_rliables_within_monte_carlo_error(rliable):
    library, metrics = rliable
    scores, other = draw((10, 4)) + 0.3, draw((8, 4), 1)

    def theirs(sample, statistic, reps):
        _, ends = library.get_interval_estimates(
            {"agent": sample}, lambda *x: np.array([statistic(*x)]), reps=reps
        )
        return ends["agent"][:, 0]

    # An end has an error of 6 % of a standard error, a quarter of the width, at 2,000 resamples.
    def close(ours, ends):
        tolerance = 4 * 0.06 * (ends[1] - ends[0]) / 4
        return [ours.low, ours.high] == pytest.approx(ends, abs=tolerance)

    ours = stratified_bootstrap(scores, interquartile_mean)
    assert close(ours, theirs(scores, metrics.aggregate_iqm, 2000))
    ours = probability_of_improvement(scores, other)
    assert close(ours, theirs((scores, other), metrics.probability_of_improvement, 1000))
    _, bands = library.create_performance_profile({"agent": scores}, np.array([-0.5, 0.5]))
    low_and_high = performance_profile(scores, [-0.5, 0.5])[:, 1:].T
    assert low_and_high == pytest.approx(bands["agent"], abs=0.03)
