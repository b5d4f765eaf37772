from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from recsim_drpo.core.spreadsheets import plain_cell, plain_cells


@pytest.mark.parametrize(
    ("cell", "plain"),
    [
        ('=HYPERLINK("http://x","y")', '\'=HYPERLINK("http://x","y")'),
        ("+1+cmd|' /C calc'!A0", "'+1+cmd|' /C calc'!A0"),
        ("-2+3", "'-2+3"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'\t=1"),
        ("\r=1", "'\r=1"),
        ("＝1+1", "'＝1+1"),
        ("-0.5", "-0.5"),
        ("+7", "+7"),
        ("-1e-05", "-1e-05"),
        ("-", "'-"),
        ("a=1", "a=1"),
        ("", ""),
        (-3, -3),
        (None, None),
    ],
)
def test_formulas_and_numbers(cell, plain):
    assert plain_cell(cell) == plain


@given(st.lists(st.text()))
def test_nothing_begins_as_a_formula_and_nothing_is_lost(cells):
    for cell, plain in zip(cells, plain_cells(cells), strict=True):
        assert plain in (cell, f"'{cell}")
        if plain[:1] in tuple("=@\t\r\n"):
            assert not plain
