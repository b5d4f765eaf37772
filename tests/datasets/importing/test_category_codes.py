"""The places of categories among known ones: the same for cells of every kind."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from recsim_drpo.datasets.import_log import _row_hashes
from recsim_drpo.datasets.importing.cells import category_text
from recsim_drpo.datasets.importing.coding import CategoryCodes

pyarrow = pytest.importorskip("pyarrow")


class Unread(dict):
    """A dictionary in which one can look up, but not read all."""

    def __iter__(self):
        raise AssertionError("all that are known were read for a block of cells")

    keys = values = items = __iter__


@pytest.mark.parametrize("cells", [[3, 1, 3, None, 99], ["3", " 1 ", "3.0", None, "x"]])
def test_a_block_costs_its_own_cells_however_many_are_known(cells):
    codes = CategoryCodes(["1", "2", "3"])
    codes._codes = Unread(codes._codes)
    found = codes.codes(pyarrow.array(cells))
    np.testing.assert_array_equal(found, [2, 0, 2, np.nan, -1])


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.sampled_from(["7", "07", "7.0", " a", "b", "true", "-0", "٧", "2020-01-31"]), max_size=6
    ),
    st.lists(
        st.sampled_from(["7", " 7", "7.", "a ", "True", "0", "c", "", "nan", "٧", None]), max_size=9
    ),
)
def test_arrays_are_looked_up_as_their_cells_are(known, cells):
    codes = CategoryCodes(known)
    expected = [codes.code(cell) for cell in cells]
    np.testing.assert_array_equal(codes.codes(pyarrow.array(cells, pyarrow.string())), expected)
    np.testing.assert_array_equal(codes.codes(cells), expected)


@given(st.text(st.characters(categories=["Nd"]), min_size=1))
def test_decimals_alone_are_their_own_category(text):
    assert text.isdecimal()
    assert category_text(text) == text


def test_rows_are_numbered_alike_if_they_are_equal():
    rows = np.random.default_rng(0).standard_normal((9_001, 7)).astype(np.float32)
    rows[8_888], rows[5], rows[6] = rows[3], 0.0, -0.0
    hashed = _row_hashes(rows)
    _, of_hashes = np.unique(hashed, return_inverse=True)
    assert len(np.unique(hashed)) == 9_001 - 2
    assert of_hashes[8_888] == of_hashes[3]
    assert of_hashes[5] == of_hashes[6]
    swapped = rows[:, ::-1]
    assert np.isin(_row_hashes(swapped), hashed).sum() == 2  # the two of zeros
