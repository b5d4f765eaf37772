"""Figure 6 and Appendix H: what becomes of the claims."""

from __future__ import annotations

import numpy as np
import pytest

from recsim_drpo.benchmarks.reproduce.experiments import figure6_claims
from recsim_drpo.reporting import paper


def test_an_exponential_is_told_from_a_power_law():
    ranks = paper.FIGURE_6B_RANKS.astype(float)
    power, _, exponential = figure6_claims.laws(0.5 * np.exp(-ranks / 700.0))
    assert exponential == pytest.approx(1.0, abs=1e-6)
    assert power < 0.9
    power, on_log_axes, exponential = figure6_claims.laws(0.5 * ranks**-0.4)
    assert (power, on_log_axes) == pytest.approx((1.0, 1.0), abs=1e-6)
    assert exponential < 0.97


def zipf(gap, exponent):
    return {"exponent": exponent, "gap": gap}


@pytest.mark.parametrize(
    ("popular", "uniform", "verdict"),
    [
        (zipf(0.01, 0.9), zipf(0.02, 0.8), "holds"),
        (zipf(0.01, 0.9), zipf(0.01, 0.1), "holds under a condition"),
        (zipf(0.10, 0.9), zipf(0.01, 0.1), "does not hold"),
    ],
)
def test_zipfian_frequencies_need_a_small_gap_and_an_exponent(popular, uniform, verdict):
    seed = {"zipf": {"medium": {"by popularity": popular, "uniformly": uniform}}}
    assert figure6_claims.zipf_verdict([seed, seed], "medium").verdict == verdict


def test_clusters_are_asked_of_every_dimension():
    one = figure6_claims.cluster_verdict({"d = 128": 1.0, "d = 3": 0.2})
    assert (one.verdict, one.because[:16]) == ("holds under a condition", "Met for d = 128.")
    assert figure6_claims.cluster_verdict({"a": 0.95, "b": 0.9}).verdict == "holds"
    assert figure6_claims.cluster_verdict({"a": 0.1, "b": 0.2}).verdict == "does not hold"
