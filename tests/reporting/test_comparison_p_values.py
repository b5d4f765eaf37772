"""p-values by hand, against SciPy and statsmodels, and by how often they are small."""

import math

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy import stats

from recsim_drpo.reporting.comparison import holm, moderated_p_values, sign_flip_p_value

quick = settings(derandomize=True, database=None, deadline=None, max_examples=40)


def draw(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


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


def test_random_flips_approximate_the_exact_ones():
    a, b = draw(12, 3) + 0.4, draw(12, 4)
    exact = sign_flip_p_value(a, b)
    approximate = sign_flip_p_value(a, b, exact_up_to=11)
    assert 0.01 < exact < 0.9
    assert approximate == pytest.approx(exact, abs=4 * math.sqrt(0.25 / 20_000))
    assert approximate == sign_flip_p_value(a, b, exact_up_to=11)


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


# Moderated t


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


# Holm


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    assert holm([0.02]) == pytest.approx([0.02])
    assert holm([]).shape == (0,)
    assert holm([[0.01, 0.04], [0.03, 0.2]]) == pytest.approx(np.array([[0.04, 0.09], [0.09, 0.2]]))


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


@pytest.mark.peer
def test_holm_is_statsmodels(import_peer):
    multitest = import_peer("statsmodels.stats.multitest")
    p_values = np.random.default_rng(0).uniform(0, 0.1, size=30) ** 2
    expected = multitest.multipletests(p_values, method="holm")[1]
    assert holm(p_values) == pytest.approx(expected, abs=1e-15)


@pytest.mark.parametrize("p_values", [[0.1, math.nan], [0.1, 1.2], [-0.1, 0.1]])
def test_holm_refuses_what_is_no_probability(p_values):
    with pytest.raises(ValueError, match=r"1 of 2 values are not in \[0, 1\]"):
        holm(p_values)
