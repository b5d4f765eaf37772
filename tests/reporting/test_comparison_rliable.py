"""Comparisons against rliable, which the authors of the article wrote: ``make test-peers``."""

import numpy as np
import pytest

from recsim_drpo.reporting.comparison import (
    interquartile_mean,
    mean,
    median,
    optimality_gap,
    performance_profile,
    probability_of_improvement,
    stratified_bootstrap,
)


def draw(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


pytestmark = pytest.mark.peer


@pytest.fixture
def rliable(import_peer):
    """Its modules ``library`` and ``metrics``."""
    return import_peer("rliable.library"), import_peer("rliable.metrics")


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
        for ours, other in zip(
            (mean, median, interquartile_mean, optimality_gap), theirs, strict=True
        ):
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
