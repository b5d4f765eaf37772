"""What became of a claim: one line of docs/claims.md."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from recsim_drpo.core.validation import unknown_name
from recsim_drpo.reporting.statistics import Estimate

VERDICTS = ("holds", "holds under a condition", "does not hold", "undecided")
"""``undecided``: the interval covers both answers; more seeds could tell."""


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
        """Its fields by name, for JSON."""
        return asdict(self)


def answer(margin: Estimate) -> str:
    """The verdict on a claim that a margin is positive, by its interval.

    Of a single seed, whose interval is NaN, nothing is decided.
    """
    if margin.low > 0.0:
        return "holds"
    return "does not hold" if margin.high < 0.0 else "undecided"


def answer_within(difference: Estimate, limit: float) -> str:
    """The verdict on a claim that a difference is smaller than a limit, to either side.

    That an interval has 0 would not do: with few seeds every interval has.
    """
    if -limit < difference.low and difference.high < limit:
        return "holds"
    outside = difference.low > limit or difference.high < -limit
    return "does not hold" if outside else "undecided"
