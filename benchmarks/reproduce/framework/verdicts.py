"""Verdicts on claims of the paper: the lines of docs/claims.md."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from recsim_drpo.benchmarks.reproduce.framework.estimates import Floats, difference, mean_of, signed
from recsim_drpo.core.validation import unknown_name
from recsim_drpo.reporting.statistics import Estimate

VERDICTS = (
    "holds",
    "holds under one reading",
    "holds under a condition",
    "does not hold",
    "undecided",
)
"""``holds under one reading``: of what the paper leaves open, one way to read it has the claim and
another has not. ``undecided``: the interval covers both answers; more seeds could tell."""


@dataclass(frozen=True)
class Verdict:
    """A claim of the paper beside what was measured.

    Attributes:
        claim: where it stands, for example ``"Section 5.3, extreme noise"`` or ``"Theorem 3.2"``.
        statement: what it says, in one sentence.
        paper: the paper's number, or ``""`` where it gives none.
        ours: our number with its interval.
        verdict: one of :data:`VERDICTS`.
        because: the condition under which it holds, the counter-example, or what decides it.
        command: what makes our number.
    """

    claim: str
    statement: str
    paper: str
    ours: str
    verdict: str
    because: str
    command: str

    def __post_init__(self) -> None:
        if self.verdict not in VERDICTS:
            raise unknown_name("verdict", self.verdict, VERDICTS)

    def as_dict(self) -> dict[str, Any]:
        """The verdict's fields by name, for JSON."""
        return asdict(self)


def answer(margin: Estimate) -> str:
    """The verdict on a claim that a margin is positive, by its interval.

    Of a single seed, whose interval is NaN, nothing is decided.
    """
    if margin.low > 0.0:
        return "holds"
    return "does not hold" if margin.high < 0.0 else "undecided"


def over_readings(answers: Mapping[str, str]) -> str:
    """The verdict on a claim that was answered under several readings, by their names.

    It holds if it does under each, and under one reading if it does under some; else nothing is
    decided as long as one is not.
    """
    found = set(answers.values())
    if found == {"holds"}:
        return "holds"
    if "holds" in found:
        return "holds under one reading"
    return "undecided" if "undecided" in found else "does not hold"


def answer_within(difference: Estimate, limit: float) -> str:
    """The verdict on a claim that a difference is smaller than a limit, to either side.

    That an interval has 0 would not do: with few seeds every interval has.
    """
    if -limit < difference.low and difference.high < limit:
        return "holds"
    outside = difference.low > limit or difference.high < -limit
    return "does not hold" if outside else "undecided"


def by_sign(
    difference: Estimate, claim: str, statement: str, paper: str, ours: str, command: str
) -> Verdict:
    """The verdict on a claim that a difference is positive, by its interval."""
    verdict = answer(difference)
    because = f"the difference is {signed(difference)}"
    if math.isnan(difference.low):
        because += ", of a single replicate, which has no interval"
    elif verdict == "undecided":
        because = f"the interval of the difference, {signed(difference)}, has 0"
    return Verdict(claim, statement, paper, ours, verdict, because, command)


def earns_more(
    ours: Floats, theirs: Floats, claim: str, statement: str, paper: str, command: str
) -> Verdict:
    """The verdict on a claim that scores over seeds are larger than others, paired by seed."""
    against = f"{mean_of(ours)} against {mean_of(theirs)}"
    return by_sign(difference(ours, theirs), claim, statement, paper, against, command)
