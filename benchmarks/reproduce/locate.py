"""Where a log lies on the phase map: what a practitioner can know before any training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from recsim_drpo.benchmarks.reproduce import phase_map
from recsim_drpo.benchmarks.reproduce.log_features import (
    FEATURES,
    Rule,
    fit_stump,
    leave_one_out,
)
from recsim_drpo.benchmarks.reproduce.results import Floats, Table

PUBLISHED = Path(__file__).resolve().parents[1] / "results" / "reproduce"
"""Results of full runs, which come with the package."""

NEAREST = 5
_SCALED = ("rounds", "effective_items")  # compared by ratio
_OUTSIDE = 0.1  # of the map's range, beyond either end


def points_of(results: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The conditions of the phase map among results.

    Raises:
        ValueError: it is not among them.
    """
    for result in results:
        if result["experiment"] == phase_map.NAME:
            points: list[dict[str, Any]] = result["data"]["points"]
            return points
    raise ValueError(
        f"There is no {phase_map.NAME} among the results; make it: {phase_map.COMMAND}, "
        "then name its folder by --results."
    )


def outside(features: Mapping[str, float], points: Sequence[Mapping[str, Any]]) -> list[str]:
    """Features that lie beyond the map's, by more than a tenth of their range there."""
    here, there = _row(features), _rows(points)
    low, high = there.min(axis=0), there.max(axis=0)
    room = _OUTSIDE * (high - low)
    beyond = (here < low - room) | (here > high + room)
    return [name for name, is_beyond in zip(FEATURES, beyond, strict=True) if is_beyond]


def locate(features: Mapping[str, float], points: Sequence[Mapping[str, Any]]) -> list[Table]:
    """Facts of a log beside those of the map's logs, what the rules say, and its neighbours.

    Args:
        features: of :func:`.log_features.log_features`.
        points: of :func:`points_of`.
    """
    return [_facts(features, points), _answers(features, points), _neighbours(features, points)]


def _row(features: Mapping[str, float]) -> Floats:
    """Features in the units that distances are measured in."""
    values = [features[name] for name in FEATURES]
    return np.array(
        [
            np.log(value) if name in _SCALED else value
            for name, value in zip(FEATURES, values, strict=True)
        ]
    )


def _rows(points: Sequence[Mapping[str, Any]]) -> Floats:
    return np.array([_row(point["log"]) for point in points])


def _facts(features: Mapping[str, float], points: Sequence[Mapping[str, Any]]) -> Table:
    beyond = outside(features, points)
    rows = []
    for name in FEATURES:
        there = [point["log"][name] for point in points]
        row = (f"{value:,.4g}" for value in (features[name], min(there), max(there)))
        rows.append([name, *row, "no" if name in beyond else "yes"])
    header = ["measured on the log", "this log", "least on the map", "most on the map", "inside"]
    note = (
        f"Outside of the map in {', '.join(beyond)}: what follows was never tested on such logs."
        if beyond
        else ""
    )
    return Table("The log", header, rows, note)


def _answers(features: Mapping[str, float], points: Sequence[Mapping[str, Any]]) -> Table:
    measured = np.array([[point["log"][name] for name in FEATURES] for point in points])
    here = np.array([[features[name] for name in FEATURES]])
    rows = []
    for name, (first, second) in phase_map.PAIRS.items():
        gains = np.array([np.mean(point["leads"][name]) for point in points])
        rule, losses = _best_rule(measured, gains)
        rows.append(
            [
                f"{first}, or {second}",
                first if rule(here)[0] else second,
                f"{first} {rule.describe(FEATURES)}",
                *(f"{loss:.3f}" for loss in losses),
            ]
        )
    header = ["choose", "here", "by the rule", "it loses", "the first loses", "the second loses"]
    note = (
        "Losses of eCPM on the map against knowing the better of the two, the rule's on conditions "
        "that it was not fitted on. Of rules with no, one and two thresholds the one that loses "
        "least."
    )
    return Table("What the rules of thumb say", header, rows, note)


def _best_rule(x: Floats, gains: Floats) -> tuple[Rule, list[float]]:
    """The rule that loses least where it was not fitted, the simplest of equals; and its losses."""
    found = [
        (fit(seen, gains), phase_map.rule_losses(gains, leave_one_out(seen, gains, fit)))
        for seen, fit in ((x[:, :0], fit_stump), *((x, fit) for fit in phase_map.RULES))
    ]
    return min(found, key=lambda one: one[1][0])


def _neighbours(features: Mapping[str, float], points: Sequence[Mapping[str, Any]]) -> Table:
    there = _rows(points)
    spread = there.std(axis=0)
    apart = (there - _row(features)) / np.where(spread > 0, spread, 1.0)
    nearest = np.linalg.norm(apart, axis=1).argsort(kind="stable")[:NEAREST]
    rows = [
        [
            *(f"{points[k][axis]:,g}" for axis in phase_map.AXES),
            points[k]["best_soft"],
            *(f"{np.mean(points[k]['leads'][name]):+.3f}" for name in phase_map.PAIRS),
        ]
        for k in nearest
    ]
    differences = (" minus ".join(pair) for pair in phase_map.PAIRS.values())
    header = [*(phase_map.LABELS[axis] for axis in phase_map.AXES), "best soft", *differences]
    return Table("The map's logs that are most like it", header, rows, "Differences of eCPM.")
