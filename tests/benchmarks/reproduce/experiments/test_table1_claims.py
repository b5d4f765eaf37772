"""What the paper concludes from Table 1, on numbers made to decide it."""

from __future__ import annotations

import numpy as np

from recsim_drpo.benchmarks.reproduce.experiments import (
    table1,
    table1_claims as performance_claims,
)
from recsim_drpo.benchmarks.reproduce.framework import agent_suite
from tests.benchmarks.reproduce.small import WOBBLE


def as_the_paper():
    """Table 1 as the paper has it, with seeds that differ a little and not all alike."""
    return {
        scenario: {
            agent: mean + np.roll(WOBBLE, shift)
            for shift, (agent, mean) in enumerate(
                {**published, "apg": 0.05, "asymre": 1.2, "asymre-delta": 0.9}.items()
            )
        }
        for scenario, published in agent_suite.PAPER_TABLE_1.items()
    }


def verdicts_of(ecpm):
    found = performance_claims.verdicts(ecpm, table1.COMMAND)
    assert len({one.claim for one in found}) == len(found)
    return {one.claim: one for one in found}


def test_the_papers_own_table_1_answers_its_claims():
    found = verdicts_of(as_the_paper())
    answers = {claim: one.verdict for claim, one in found.items()}
    assert answers == {
        "Section 5.2, any weight": "does not hold",  # AsymRe at 1.2 does not fail
        "Table 1, medium: the two best": "undecided",  # 1.86 against 1.84
        "Table 1, extreme: the two best": "holds",
        "Section 5.3, Adaptive BC in medium": "holds",
        "Section 5.3, Adaptive BC in extreme": "undecided",  # 1.48 against 1.44
        "Section 5.3, iql in medium quality": "holds",
        "Section 5.3, adaptive-bc in medium quality": "holds",
        "Section 5.3, noise cloning by awr": "holds",
        "Section 5.3, noise cloning by asymre": "holds",
        "Section 5.3, DRPO-Exp in extreme noise": "undecided",  # 1.59 against 1.54
        "Section 5.3, DRPO-Exp": "does not hold",  # 1.86 and 1.59 differ by 15 %
        "Section 5.3, necessity": "does not hold",  # IQL has 94 % of DRPO's
    }
    assert "iql" in found["Section 5.3, necessity"].ours
    assert found["Section 5.3, Adaptive BC in medium"].paper == "1.84, the best other baseline 1.70"


def test_claims_hold_where_soft_weighting_fails():
    ecpm = as_the_paper()
    for scenario in ecpm.values():
        for agent in agent_suite.SOFT:
            scenario[agent] = 0.2 + WOBBLE
    ecpm["extreme"]["drpo-exp"] = ecpm["medium"]["drpo-exp"] + 0.01 * WOBBLE
    answers = {claim: one.verdict for claim, one in verdicts_of(ecpm).items()}
    for claim in ("Section 5.2, any weight", "Section 5.3, DRPO-Exp", "Section 5.3, necessity"):
        assert answers[claim] == "holds"
    assert answers["Section 5.3, iql in medium quality"] == "does not hold"


def test_a_single_seed_decides_nothing():
    ecpm = {name: {a: v[:1] for a, v in s.items()} for name, s in as_the_paper().items()}
    assert {one.verdict for one in verdicts_of(ecpm).values()} == {"undecided"}
