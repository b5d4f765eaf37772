"""Fits of curves."""

from __future__ import annotations

import numpy as np
import pytest

from recsim_drpo.benchmarks.reproduce.framework.shapes import zipf_fit
from recsim_drpo.reporting import paper


def test_zipf_fits_give_back_the_law_and_the_papers_own_numbers():
    x = np.array([1.0, 2.0, 5.0, 9.0])
    exact = zipf_fit(x, 3.0 * x**-0.7)
    assert exact == pytest.approx((0.7, 1.0, 0.7, 1.0), abs=1e-4)
    theirs = zipf_fit(paper.FIGURE_1_SHARES, paper.FIGURE_1)
    assert theirs.explained == pytest.approx(0.99, abs=0.005)
    assert theirs.exponent == pytest.approx(1.5, abs=0.05)
    assert theirs.log_explained == pytest.approx(0.91, abs=0.005)
    assert np.isnan(zipf_fit(x, [1.0, 0.5, 0.1, 0.0]).log_explained)
