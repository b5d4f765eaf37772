from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pytest

from recsim_drpo.datasets.importing.descriptions import NumberDescription
from recsim_drpo.datasets.importing.transforms import (
    QUANTILES,
    TRANSFORMS,
    NumberCoding,
    NumberMeasures,
)


def measured(values, transform, *, single=False, block=7):
    values = np.asarray(values, dtype=np.float64)
    measures = NumberMeasures([transform])
    for start in range(0, len(values), block):
        measures.add(values[start : start + block, None])
    return measures, measures.coding(0, single)


def test_moments_of_blocks_are_those_of_all_of_them():
    values = np.random.default_rng(0).normal(1.7e9, 30.0, 1000)
    values[::10] = np.nan
    _, coding = measured(values, "standardise")
    assert coding.mean == pytest.approx(np.nanmean(values), rel=1e-15)
    assert coding.deviation == pytest.approx(np.nanstd(values), rel=1e-9)
    assert coding.missing_share == pytest.approx(0.1)
    np.testing.assert_allclose(coding.quantiles, np.nanquantile(values, QUANTILES))


def test_transforms_by_hand():
    values = np.array([0.0, 0.0, 3.0, np.nan, 1.0])
    _, standard = measured(values, "standardise")
    np.testing.assert_allclose(standard.apply(np.array([1.0, 3.0, np.nan])), [0, 2 / 1.5**0.5, 0])
    _, raw = measured(values, "none")
    np.testing.assert_allclose(raw.apply(np.array([7.0, np.nan])), [7, 1])
    _, logged = measured([0.0, np.e - 1, 1 - np.e], "log")  # logarithms 0, 1, -1
    np.testing.assert_allclose(
        logged.apply(np.array([np.e**2 - 1, 1 - np.e**3, np.nan])), np.array([2, -3, 0]) * 1.5**0.5
    )
    _, ranked = measured(np.arange(101.0) ** 3, "quantile")
    np.testing.assert_allclose(
        ranked.apply(np.array([-5.0, 25.0**3, 50.0**3, 1e9, np.nan])), [-1, -0.5, 0, 1, 0]
    )
    _, tied = measured([0.0] * 75 + [1.0] * 25, "quantile")
    levels = tied.apply(np.array([0.0, 1.0]))  # the mean rank of each
    np.testing.assert_allclose(levels, [-0.25, 0.75], atol=0.04)


def test_a_column_of_one_number_becomes_zero():
    for transform in ("standardise", "log", "quantile"):
        measures, coding = measured([0.1] * 30, transform)
        np.testing.assert_allclose(coding.apply(np.array([0.1])), [0.0], atol=1e-12)
        assert "is 0.1 in every row" in measures.note(0, "x", coding)


def test_numbers_of_single_precision_are_rounded_first():
    _, coding = measured(np.array([0.1, 0.7], dtype=np.float32), "standardise", single=True)
    assert coding.apply(np.array([0.1])) == coding.apply(np.array([np.float32(0.1)], dtype=float))


def test_numbers_that_single_precision_cannot_tell_apart_are_said():
    ids = 1_700_000_000.0 + np.arange(100)
    measures, coding = measured(ids, "none")
    note = measures.note(0, "user", coding)
    assert "'user': single precision leaves 2 of 100 different numbers" in note
    assert "--transform user=standardise" in note
    for transform in ("standardise", "quantile"):
        measures, coding = measured(ids, transform)
        assert measures.note(0, "user", coding) is None
        assert len(np.unique(coding.apply(ids).astype(np.float32))) == 100
    milliseconds = 1.7e12 + 1000.0 * np.arange(1000)
    measures, coding = measured(milliseconds, "none")
    assert "single precision leaves 8 of 1,000" in measures.note(0, "time", coding)
    for transform in ("standardise", "log"):
        measures, coding = measured(milliseconds, transform)
        assert measures.note(0, "time", coding) is None


def test_the_sample_is_even_and_bounded():
    measures = NumberMeasures(["quantile", "none"])
    for start in range(0, 200_000, 10_000):
        values = np.arange(start, start + 10_000.0)
        measures.add(np.stack([values, -values], axis=1))
    np.testing.assert_allclose(measures.coding(1, False).quantiles[3], -100_000, rtol=0.02)
    assert measures._sample.shape == (16_384, 2)
    np.testing.assert_array_equal(measures._sample[:, 0], -measures._sample[:, 1])


def test_a_column_without_a_number():
    measures, coding = measured([np.nan] * 3, "standardise")
    assert (coding.mean, coding.missing, coding.missing_share) == (None, True, 1.0)
    assert "has no number" in measures.note(0, "x", coding)
    np.testing.assert_array_equal(coding.apply(np.array([np.nan])), [0.0])
    assert NumberCoding().apply(np.array([2.0])) == 2.0


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_numbers_come_back_from_what_they_became(transform):
    values = np.random.default_rng(0).lognormal(3.0, 1.0, size=500)
    measures = NumberMeasures([transform])
    measures.add(values[:, None])
    coding = measures.coding(0, single=False)
    back = coding.invert(coding.apply(values))
    np.testing.assert_allclose(back, values, rtol=1e-9)


def test_what_json_says_of_a_column_is_what_codes_it():
    """The schema has the fields and defaults of the coding, of which a file may leave out any."""
    described = {name: field.default for name, field in NumberDescription.model_fields.items()}
    assert described == asdict(NumberCoding())
