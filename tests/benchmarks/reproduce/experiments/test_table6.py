"""Table 6, on numbers made to decide its claims."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np

from recsim_drpo.benchmarks.reproduce.experiments import (
    table6,
)
from recsim_drpo.benchmarks.reproduce.framework.conditions import expert_degraded
from recsim_drpo.benchmarks.reproduce.framework.verdicts import Verdict
from tests.benchmarks.reproduce.small import SEEDS, record


def fixed_filters(cells):
    """Verdicts of Table 6 on expert logs, by what they are about, of means by cell."""
    base = table6.readings()[0]
    noise = np.random.default_rng(0).normal(scale=0.01, size=(len(cells), 4, SEEDS))
    records = [
        record(expert_degraded(base, policy, reward).label, "drpo", seed, value + wobble, variant)
        for ((reward, policy), means), cell in zip(cells.items(), noise, strict=True)
        for variant, (value, wobbles) in enumerate(zip((*means, 1.5), cell, strict=True))
        for seed, wobble in enumerate(wobbles)
    ]
    return {
        one.claim.removeprefix("Table 6, expert logs: "): one
        for one in table6.findings(records, [base]).verdicts
    }


def test_table_6s_filters_on_the_papers_own_cells():
    found = fixed_filters(table6.PAPER)
    # Both lose 0.16 in the paper.
    assert found["filtering against policy noise"].verdict == "undecided"
    assert found["top 5 % and top 40 %"].verdict == "holds"
    assert found["adaptivity"].verdict == "holds"
    assert "top 5%" in found["adaptivity"].ours
    assert found["policy noise without a filter"].verdict == "holds"  # 13 % of 1.20
    for policy in ("0.1", "0.5"):
        assert found[f"no single ratio, policy noise {policy}"].verdict == "holds"


def test_table_6_where_one_ratio_is_best_throughout_and_the_filter_collapses():
    found = fixed_filters(
        {
            place: (0.3 if place[0] else 1.4, 1.9, 1.94 if place[1] == 0.1 else 1.92)
            for place in table6.PAPER
        }
    )
    for policy in ("0.1", "0.5"):
        assert found[f"no single ratio, policy noise {policy}"].verdict == "does not hold"
    # It costs 0.02 of 1.94, and the top 5 % had nothing to lose.
    assert found["policy noise without a filter"].verdict == "does not hold"
    assert found["filtering against policy noise"].verdict == "undecided"
    assert "have collapsed at policy noise 0.1" in found["filtering against policy noise"].because


def test_a_ratio_between_the_ends_that_is_never_beaten_is_a_single_best_one():
    """The ends cross over, as the paper says; top 40 % is the best all along."""
    found = fixed_filters(
        {
            place: ((1.6, 1.7, 1.4), (1.4, 1.7, 1.5), (1.1, 1.7, 1.6))[k // 2]
            for k, place in enumerate(table6.PAPER)
        }
    )
    for policy in ("0.1", "0.5"):
        one = found[f"no single ratio, policy noise {policy}"]
        assert one.verdict == "does not hold"
        assert one.ours == "best: top 40% at noise 0, top 40% at noise 0.5, top 40% at noise 1"
        assert re.search(r"top 5% \+0\.(59|60|61) \[", one.because)
        assert "top 40% -0.1" in one.because  # the nearest other one


def test_a_claim_that_one_log_has_and_another_has_not_holds_under_one_reading():
    bases = table6.readings()
    assert [base.unclipped for base in bases] == [False, False, True, True]
    verdict = Verdict("Table 6, expert logs: trend", "It is so.", "1", "2", "holds", "", "c")
    others = [
        replace(verdict, claim=f"Table 6, {base.label}: trend", verdict=kind, ours=str(k))
        for k, (base, kind) in enumerate(
            zip(bases, ("does not hold", "undecided", "holds", "does not hold"), strict=True)
        )
    ]
    (one,) = table6.over_logs(others, bases)
    assert one.claim == "Table 6, all readings: trend"
    assert one.verdict == "holds under one reading"
    assert "expert logs, noise after the clip: holds" in one.because
    assert one.ours.startswith("expert logs: 0; medium: 1; ")
    pairs = [replace(v, verdict="does not hold") for v in others for _ in (0, 1)]
    assert [v.verdict for v in table6.over_logs(pairs, bases)] == ["does not hold"] * 2
