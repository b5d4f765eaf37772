"""The evidence on a claim that needs no agents: its numbers, and what became of the claim."""

from __future__ import annotations

from typing import Any, NamedTuple

from recsim_drpo.benchmarks.reproduce.framework.verdicts import Verdict


class Evidence(NamedTuple):
    """What was computed on a claim, and what follows.

    Attributes:
        data: what to draw, as JSON can hold it.
        verdicts: on the claim and its parts.
    """

    data: dict[str, Any]
    verdicts: list[Verdict]


def result(name: str, quick: bool, parts: dict[str, Evidence]) -> dict[str, Any]:
    """A dictionary for JSON: the data of each part by name, and all verdicts in order."""
    return {
        "experiment": name,
        "quick": quick,
        "data": {part: evidence.data for part, evidence in parts.items()},
        "verdicts": [
            verdict.as_dict() for evidence in parts.values() for verdict in evidence.verdicts
        ],
    }
