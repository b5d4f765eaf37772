"""What becomes of a claim, by intervals."""

from __future__ import annotations

import math

import numpy as np
import pytest

from recsim_drpo.benchmarks.reproduce.framework.estimates import (
    mean_of,
)
from recsim_drpo.benchmarks.reproduce.framework.verdicts import (
    Verdict,
    answer,
    answer_within,
    by_sign,
    earns_more,
)
from recsim_drpo.reporting.statistics import Estimate


@pytest.mark.parametrize(
    ("estimate", "verdict"),
    [
        (Estimate(1.0, 0.5, 1.5), "holds"),
        (Estimate(-1.0, -1.5, -0.5), "does not hold"),
        (Estimate(0.1, -0.5, 0.5), "undecided"),
        (Estimate(0.1, float("nan"), float("nan")), "undecided"),
    ],
)
def test_verdicts_go_by_the_interval(estimate, verdict):
    assert by_sign(estimate, "c", "s", "", "", "cmd").verdict == verdict


def test_holding_scores_against_others_is_paired():
    ours, theirs = np.array([1.0, 2.0, 3.0]), np.array([0.9, 1.9, 2.85])
    found = earns_more(ours, theirs, "c", "s", "", "cmd")
    assert found.verdict == "holds"
    assert found.ours == f"{mean_of(ours)} against {mean_of(theirs)}"
    assert earns_more(theirs, ours, "c", "s", "", "cmd").verdict == "does not hold"


def test_a_verdict_is_one_of_four():
    with pytest.raises(ValueError, match="Did you mean 'holds'"):
        Verdict("c", "s", "", "", "hold", "", "")


@pytest.mark.parametrize(
    ("low", "high", "positive", "within"),
    [
        (0.1, 0.2, "holds", "holds"),
        (-0.2, -0.1, "does not hold", "holds"),
        (-0.1, 0.2, "undecided", "holds"),
        (0.1, 0.9, "holds", "undecided"),
        (0.4, 0.9, "holds", "does not hold"),
        (-0.9, -0.4, "does not hold", "does not hold"),
        (math.nan, math.nan, "undecided", "undecided"),
    ],
)
def test_answers_go_by_the_interval(low, high, positive, within):
    estimate = Estimate(0.0, low, high)
    assert answer(estimate) == positive
    assert answer_within(estimate, 0.3) == within
