"""What an experiment on a claim leaves behind."""

from __future__ import annotations

from typing import Any, NamedTuple

from recsim_drpo.benchmarks.reproduce.framework.verdicts import Verdict


class Experiment(NamedTuple):
    """Attributes: what to draw, as JSON has it, and what became of the claims."""

    data: dict[str, Any]
    verdicts: list[Verdict]


def result(name: str, quick: bool, parts: dict[str, Experiment]) -> dict[str, Any]:
    """A dictionary for JSON: the data of each part by name, and all verdicts in order."""
    return {
        "experiment": name,
        "quick": quick,
        "data": {part: experiment.data for part, experiment in parts.items()},
        "verdicts": [one.as_dict() for found in parts.values() for one in found.verdicts],
    }
