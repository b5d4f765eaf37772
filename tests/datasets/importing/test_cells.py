from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, strategies as st

from recsim_drpo.datasets.importing.cells import category_text, number_value, number_values

pa = pytest.importorskip("pyarrow")

ZONE = timezone(timedelta(hours=2))


@pytest.mark.parametrize(
    ("cells", "text"),
    [
        ((None, "", "  ", "nan", float("nan"), np.float32("nan"), b""), None),
        ((True, "True", "TRUE", " true ", np.True_), "true"),
        ((1, "1", "1.0", 1.0, np.float32(1), Decimal("1.00"), np.int8(1), b"1"), "1"),
        ((0, "0", "-0", -0.0, "0.0", "-0.0"), "0"),
        ((0.1, "0.1", "0.10", ".1", np.float32(0.1), "1e-1", Decimal("0.10")), "0.1"),
        ((1e20, "1e+20", "1.0E20"), "1e+20"),
        ((10**20, "1" + "0" * 20), "1" + "0" * 20),
        (("007",), "007"),
        (("+7",), "+7"),
        (("7e12",), "7e12"),
        (("1.5e999",), "1.5e999"),
        (("a b", " a b\t", b"a b"), "a b"),
        ((date(2020, 1, 31), datetime(2020, 1, 31), "2020-01-31T00:00", "2020-01-31 00:00:00.000"),
         "2020-01-31"),
        ((datetime(2020, 1, 31, 1, 2, 3, 500000), "2020-01-31T01:02:03.500000000"),
         "2020-01-31 01:02:03.5"),
        ((datetime(2020, 1, 31, 0, tzinfo=UTC), datetime(2020, 1, 31, 2, tzinfo=ZONE),
          "2020-01-31T02:00:00+0200", "2020-01-31 00:00:00Z"), "2020-01-31 00:00:00Z"),
        (("2020-02-30 00:00:00Z",), "2020-02-30 00:00:00Z"),
        ((time(1, 2, 3), "01:02:03.000"), "01:02:03"),
    ],
)  # fmt: skip
def test_one_category_however_it_is_written(cells, text):
    assert {category_text(cell) for cell in cells} == {text}


@given(st.text() | st.floats() | st.from_regex(r"-?[0-9]{0,9}\.?[0-9]{0,9}(e[+-]?[0-9]{1,3})?"))
def test_a_category_text_is_its_own(cell):
    text = category_text(cell)
    assert text is None or category_text(text) == text


@pytest.mark.parametrize(
    ("cells", "number"),
    [
        ((None, "", " ", "nan", "NaN", "-nan", float("nan"), b""), np.nan),
        ((1, 1.0, True, "true", "TRUE", " 1 ", "+1", "1.", b"1", Decimal("1.0")), 1.0),
        ((0, False, "False", "-0"), 0.0),
        ((1500, "1.5e3", "1500.0"), 1500.0),
        (("x", "1_0", "١", "1e400", 1e39, 10**400, "inf", [1], date(2020, 1, 1), "0x1"), np.inf),
    ],
)
def test_one_number_however_it_is_written(cells, number):
    np.testing.assert_array_equal([number_value(cell) for cell in cells], number)
    for cell in cells:  # alone, so that the quick ways are taken
        np.testing.assert_array_equal(number_values([cell]), number)
        if isinstance(cell, (str, bytes)):
            np.testing.assert_array_equal(number_values(pa.array([cell])), number)


@given(st.lists(st.text("0123456789.eE+-_ nainftrues", max_size=6), max_size=4))
def test_arrays_and_lists_are_read_alike(cells):
    expected = [number_value(cell) for cell in cells]
    np.testing.assert_array_equal(number_values(list(cells)), expected)
    np.testing.assert_array_equal(number_values(pa.array(cells, pa.string())), expected)
