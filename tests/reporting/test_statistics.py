"""Statistics by hand, against SciPy and by how often intervals cover."""

import math

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy import optimize, stats

from recsim_drpo.reporting import statistics
from recsim_drpo.reporting.statistics import (
    Estimate,
    counts_by_rank,
    gini,
    mean_interval,
    monotone_root,
    ratio_interval,
    seed_interval,
    zipf_exponent,
    zipf_interval,
)


def zipf_probabilities(num_items, exponent):
    weights = np.arange(1, num_items + 1, dtype=np.float64) ** -exponent
    return weights / weights.sum()


# Estimate


def test_estimate_of_an_affine_function():
    estimate = Estimate(0.5, 0.25, 0.75).mapped(lambda x: 1.0 + 4.0 * x)
    assert estimate == Estimate(3.0, 2.0, 4.0)


def test_estimate_in_words_and_scaled():
    estimate = Estimate(0.12345, 0.1, 0.2)
    assert str(estimate) == "0.123 [0.100, 0.200]"
    assert estimate.scaled(5.0) == pytest.approx((0.61725, 0.5, 1.0))
    assert isinstance(estimate.scaled(2.0), Estimate)


# Means


def test_mean_interval_by_hand():
    # Variance 5/3 with n - 1, four values.
    half = 1.959963984540054 * math.sqrt(5 / 3) / 2
    assert mean_interval([1, 2, 3, 4]) == pytest.approx((2.5, 2.5 - half, 2.5 + half), rel=1e-12)


def test_mean_interval_is_scipys_normal_one():
    values = np.random.default_rng(0).exponential(size=500)
    low, high = stats.norm.interval(0.95, loc=values.mean(), scale=stats.sem(values))
    assert mean_interval(values) == pytest.approx((values.mean(), low, high), rel=1e-12)


def test_clustered_interval_by_hand():
    # Mean 3; residuals -2 -1 | 0 | 1 2: sums -3, 0, 3 of three clusters, of five values.
    half = 1.959963984540054 * math.sqrt(3 / 2 * (9 + 0 + 9)) / 5
    found = mean_interval([1, 2, 3, 4, 5], ["a", "a", "b", "c", "c"])
    assert found == pytest.approx((3, 3 - half, 3 + half), rel=1e-12)
    # 2 a / b is 2: residuals of the ratio are (a - 2 b) / 3.
    half = 1.959963984540054 * math.sqrt(2 / 1 * 2 * (1 / 3) ** 2) / 3
    found = ratio_interval([5, 4, 9], [3, 2, 4], [7, 7, 1])
    assert found == pytest.approx((2, 2 - half, 2 + half), rel=1e-12)


@given(st.lists(st.floats(-100, 100), min_size=2, max_size=30), st.randoms())
def test_clusters_of_one_are_independent_values_and_labels_are_names(values, random):
    labels = list(range(len(values)))
    random.shuffle(labels)
    assert mean_interval(values, labels) == pytest.approx(mean_interval(values), abs=1e-9)
    pairs = [label // 2 for label in labels]
    if len(set(pairs)) > 1:
        named = mean_interval(values, [f"request {label}" for label in pairs])
        assert named == pytest.approx(mean_interval(values, pairs), abs=1e-9)


def test_one_cluster_has_no_interval_and_labels_are_as_many_as_values():
    found = mean_interval([1.0, 2.0, 3.0], [4, 4, 4])
    assert found.value == 2.0
    assert math.isnan(found.low)
    with pytest.raises(ValueError, match=r"\(2,\) labels of clusters for \(3,\) values"):
        mean_interval([1.0, 2.0, 3.0], [1, 2])


def test_clustered_interval_covers_where_that_of_rounds_does_not():
    generator = np.random.default_rng(3)
    clustered, independent = 0, 0
    for _ in range(600):
        sizes = generator.integers(1, 8, size=150)
        labels = np.repeat(np.arange(150), sizes)
        shared = np.repeat(generator.normal(size=150), sizes)
        values = shared + 0.5 * generator.normal(size=len(labels))
        found, naive = mean_interval(values, labels), mean_interval(values)
        clustered += found.low <= 0.0 <= found.high
        independent += naive.low <= 0.0 <= naive.high
    assert 540 <= clustered <= 590  # of 600: 0.95, less what 150 clusters are short of many
    assert independent < 450


def test_mean_interval_covers_as_often_as_it_says():
    generator = np.random.default_rng(1)
    hits = 0
    for _ in range(1000):
        estimate = mean_interval(generator.exponential(2.0, size=300))
        hits += estimate.low <= 2.0 <= estimate.high
    assert 920 <= hits <= 970


def test_equal_values_have_an_interval_of_no_width():
    assert mean_interval([0.25] * 7) == (0.25, 0.25, 0.25)
    assert mean_interval(np.zeros(3)) == (0.0, 0.0, 0.0)
    assert seed_interval([0.25] * 7) == (0.25, 0.25, 0.25)


@pytest.mark.parametrize("interval", [mean_interval, seed_interval])
def test_a_single_value_has_no_interval(interval):
    value, low, high = interval([0.75])
    assert value == 0.75
    assert math.isnan(low)
    assert math.isnan(high)


def test_float32_values_are_averaged_in_float64():
    values = np.full(3_000_000, 0.1, dtype=np.float32)
    assert mean_interval(values).value == pytest.approx(float(np.float32(0.1)), rel=1e-12)


# Ratios


def test_ratio_interval_by_hand():
    # a / b = 10 / 5 = 2, residuals a - 2 b = (0, 1, -1), mean of b 5 / 3.
    half = 1.959963984540054 * 1.0 / math.sqrt(3) / (5 / 3)
    estimate = ratio_interval([2, 5, 3], [1, 2, 2])
    assert estimate == pytest.approx((2.0, 2.0 - half, 2.0 + half), rel=1e-12)


def test_ratio_interval_equals_the_bootstraps():
    generator = np.random.default_rng(2)
    b = generator.gamma(4.0, size=800)
    a = 0.6 * b + 0.3 * generator.standard_normal(800)
    rows = generator.integers(800, size=(4000, 800))
    ratios = a[rows].sum(axis=1) / b[rows].sum(axis=1)
    low, high = np.percentile(ratios, [2.5, 97.5])
    estimate = ratio_interval(a, b)
    width = high - low
    assert estimate.value == pytest.approx(a.sum() / b.sum(), rel=1e-12)
    assert estimate.low == pytest.approx(low, abs=0.08 * width)
    assert estimate.high == pytest.approx(high, abs=0.08 * width)


def test_ratio_interval_covers_as_often_as_it_says():
    generator = np.random.default_rng(3)
    hits = 0
    for _ in range(1000):
        b = generator.uniform(0.2, 1.0, size=200)
        a = b * generator.uniform(0.0, 1.0, size=200)
        estimate = ratio_interval(a, b)
        hits += estimate.low <= 0.5 <= estimate.high
    assert 920 <= hits <= 970


def test_a_constant_ratio_has_an_interval_of_no_width():
    b = np.array([0.5, 1.0, 4.0])
    assert ratio_interval(0.25 * b, b) == pytest.approx((0.25, 0.25, 0.25), abs=1e-15)


def test_pairing_counts():
    a, b = np.arange(1.0, 50.0), np.arange(1.0, 50.0)
    paired = ratio_interval(a, b)
    crossed = ratio_interval(a, b[::-1])
    assert paired.value == crossed.value == 1.0
    assert paired.high - paired.low < 1e-12
    assert crossed.high - crossed.low > 0.1


def test_ratio_of_a_single_pair_and_of_nothing():
    value, low, high = ratio_interval([1.0], [4.0])
    assert value == 0.25
    assert math.isnan(low)
    assert math.isnan(high)
    assert all(math.isnan(x) for x in ratio_interval([1.0, 2.0], [0.0, 0.0]))
    assert ratio_interval([0.0, 0.0], [1.0, 2.0]) == (0.0, 0.0, 0.0)


# Seeds


@pytest.mark.parametrize("count", [2, 3, 5, 10])
def test_seed_interval_is_scipys(count):
    values = np.random.default_rng(count).normal(3.0, 0.5, size=count)
    low, high = stats.t.interval(0.95, count - 1, loc=values.mean(), scale=stats.sem(values))
    assert seed_interval(values) == pytest.approx((values.mean(), low, high), rel=1e-10)


def test_seed_interval_of_two_values_by_hand():
    # t of 0.975 with one degree of freedom is tan(0.475 π).
    half = math.tan(0.475 * math.pi) * 0.5
    assert seed_interval([1.0, 2.0]) == pytest.approx((1.5, 1.5 - half, 1.5 + half), rel=1e-9)


def test_seed_interval_covers_where_the_normal_one_does_not():
    draws = np.random.default_rng(4).standard_normal((1000, 3))
    hits = sum(e.low <= 0.0 <= e.high for e in map(seed_interval, draws))
    normal_hits = sum(e.low <= 0.0 <= e.high for e in map(mean_interval, draws))
    assert 930 <= hits <= 970
    assert normal_hits < 880


# Gini


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ([1, 1, 1, 1], 0.0),
        ([5], 0.0),
        ([0, 0, 0, 8], 0.75),
        ([8, 0, 0, 0], 0.75),
        ([0, 1], 0.5),
        ([1, 3], 0.25),
        ([1, 2, 3, 4], 0.25),
        ([4, 1, 3, 2], 0.25),
        ([0.5, 1.5], 0.25),
    ],
)
def test_gini_by_hand(counts, expected):
    assert gini(counts) == pytest.approx(expected, abs=1e-12)


@settings(derandomize=True, database=None, deadline=None, max_examples=100)
@given(counts=st.lists(st.integers(0, 1000), min_size=1, max_size=40).filter(any))
def test_gini_is_half_the_relative_mean_difference(counts):
    x = np.array(counts, dtype=np.float64)
    differences = np.abs(x[:, None] - x[None, :]).mean()
    assert gini(counts) == pytest.approx(differences / (2 * x.mean()), abs=1e-12)
    assert 0.0 <= gini(counts) + 1e-15 <= 1.0
    assert gini(7 * x) == pytest.approx(gini(counts), abs=1e-12)


def test_gini_of_nothing():
    assert math.isnan(gini([0, 0, 0]))
    assert math.isnan(gini([]))


# Zipf exponents


@pytest.mark.parametrize("num_items", [2, 50, 5000])
@pytest.mark.parametrize("exponent", [0.0, 0.6, 1.0, 1.5, -0.5, 4.0])
def test_exponent_of_exact_probabilities(num_items, exponent):
    probabilities = zipf_probabilities(num_items, exponent)
    assert zipf_exponent(probabilities) == pytest.approx(exponent, abs=1e-8)
    assert zipf_exponent(12345 * probabilities) == pytest.approx(exponent, abs=1e-8)


@pytest.mark.parametrize("exponent", [0.0, 0.6, 1.0, 1.5])
def test_exponent_of_draws(exponent):
    generator = np.random.default_rng(5)
    num_draws = 50_000
    probabilities = zipf_probabilities(300, exponent)
    counts = generator.multinomial(num_draws, probabilities)
    logs = np.log(np.arange(1, 301))
    # Fisher information of a draw: the variance of log rank.
    information = probabilities @ logs**2 - (probabilities @ logs) ** 2
    assert abs(zipf_exponent(counts) - exponent) < 4 / math.sqrt(num_draws * information)


def test_exponent_maximises_the_likelihood():
    counts = np.random.default_rng(6).integers(0, 30, size=40)
    ranks = np.arange(1, 41, dtype=np.float64)

    def negative_log_likelihood(s):
        return s * (counts @ np.log(ranks)) + counts.sum() * np.log((ranks**-s).sum())

    best = optimize.minimize_scalar(
        negative_log_likelihood, bounds=(-5, 5), method="bounded", options={"xatol": 1e-9}
    )
    assert zipf_exponent(counts) == pytest.approx(best.x, abs=1e-5)


def test_exponent_at_the_ends_of_its_range():
    assert zipf_exponent([9, 0, 0]) == pytest.approx(20.0)
    assert zipf_exponent([0, 0, 9]) == pytest.approx(-5.0)


def test_exponent_of_nothing():
    assert math.isnan(zipf_exponent([0, 0, 0]))
    assert math.isnan(zipf_exponent([5]))
    assert math.isnan(zipf_exponent([]))


def test_zipf_interval_covers_as_often_as_it_says():
    generator = np.random.default_rng(7)
    probabilities = zipf_probabilities(30, 1.0)
    hits = 0
    for seed in range(60):
        counts = generator.multinomial(2000, probabilities)
        estimate = zipf_interval(counts, seed=seed, num_resamples=100)
        assert estimate.low < estimate.value < estimate.high
        assert estimate.value == zipf_exponent(counts)
        hits += estimate.low <= 1.0 <= estimate.high
    assert hits >= 49


def test_zipf_interval_has_the_width_of_theory():
    probabilities = zipf_probabilities(100, 1.0)
    counts = np.random.default_rng(8).multinomial(10_000, probabilities)
    logs = np.log(np.arange(1, 101))
    information = probabilities @ logs**2 - (probabilities @ logs) ** 2
    estimate = zipf_interval(counts, num_resamples=400)
    expected = 2 * 1.96 / math.sqrt(10_000 * information)
    assert estimate.high - estimate.low == pytest.approx(expected, rel=0.2)


def test_zipf_interval_is_reproducible_by_seed():
    counts = [50, 20, 15, 9, 3]
    assert zipf_interval(counts, seed=1) == zipf_interval(counts, seed=1)
    assert zipf_interval(counts, seed=1) != zipf_interval(counts, seed=2)


@pytest.mark.parametrize("last", [0, 3])
def test_zipf_interval_of_many_ranks_is_the_same(monkeypatch, last):
    # Ranks that were never drawn take no random number, so leaving them out changes none.
    counts = np.zeros(500, dtype=np.int64)
    counts[[0, 1, 2, 7, 40, 200]] = 300, 120, 61, 9, 2, 1
    counts[-1] = last
    whole = zipf_interval(counts, seed=3)
    monkeypatch.setattr(statistics, "_MANY_RANKS", 100)
    assert zipf_interval(counts, seed=3) == pytest.approx(whole, abs=1e-9)
    assert whole.low < whole.value < whole.high


def test_zipf_interval_of_nothing():
    assert all(math.isnan(x) for x in zipf_interval([0, 0, 0]))


# Ranks


def test_counts_are_reordered_by_popularity_with_ties_by_item():
    ordered = counts_by_rank([10, 11, 12, 13, 14], [0.1, 0.3, 0.1, 0.4, 0.1])
    assert ordered.tolist() == [13, 11, 10, 12, 14]
    assert ordered.dtype == np.float64


def test_ranks_by_popularity_do_not_bias_the_exponent():
    # Ranks by the counts themselves would find structure in a uniform catalogue.
    counts = np.random.default_rng(9).multinomial(2000, np.full(1000, 1 / 1000))
    popularity = np.random.default_rng(10).random(1000)
    assert abs(zipf_exponent(counts_by_rank(counts, popularity))) < 0.1
    assert zipf_exponent(np.sort(counts)[::-1]) > 0.3


# Roots


@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_the_root_of_a_function_that_rises_or_falls(sign):
    root = monotone_root(lambda x: sign * (x**3 - 2.0), 0.0, 3.0)
    assert root == pytest.approx(2.0 ** (1 / 3), abs=1e-14)


def test_without_a_root_the_nearer_end_is_taken():
    assert monotone_root(lambda x: x + 1.0, 0.0, 3.0) == 0.0
    assert monotone_root(lambda x: x - 4.0, 0.0, 3.0) == 3.0
    assert monotone_root(lambda x: -x, 0.0, 3.0) == 0.0
    assert monotone_root(lambda x: 0.5, 0.0, 3.0) == 3.0
