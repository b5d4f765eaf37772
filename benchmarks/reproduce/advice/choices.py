"""What it costs to let a rule of the log choose between two-tower regression and another method."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsim_drpo.benchmarks.reproduce.advice.leads import (
    REGRESSION,
    means_of,
    places_of,
)
from recsim_drpo.benchmarks.reproduce.advice.log_features import FEATURES
from recsim_drpo.benchmarks.reproduce.advice.rules import best_judged, features_of, judge
from recsim_drpo.benchmarks.reproduce.framework.documents import Table

OTHERWISE = ("drpo", "drpo-boltzmann")
"""Methods that are taken where the rule does not say two-tower regression."""

_NEAR = 0.03
_MAP, _ELSEWHERE = "map, places that the rule was not fitted on", "other worlds"


def choices_table(
    phase_map: Mapping[str, Any], worlds: Mapping[str, Any] | None = None
) -> Table | None:
    """A table of what two-tower regression by the rule, and else one other method, loses.

    Args:
        phase_map: result with records; without two-tower regression or the other methods among
            them there is no table.
        worlds: result of other worlds, if there is one.
    """
    results = {_MAP: phase_map} | ({_ELSEWHERE: worlds} if worlds else {})
    if not all(map(_tells, results.values())):
        return None
    points = {where: result["data"]["points"] for where, result in results.items()}
    rule = best_judged(
        judge(points[_MAP], places_of(points[_MAP]), points.get(_ELSEWHERE, []), REGRESSION)
    )
    rows = []
    for where, result in results.items():
        labels, logs = ([point[key] for point in points[where]] for key in ("label", "log"))
        says = rule.left_out if where == _MAP else rule.rule(features_of(logs))
        rows += [[where, *row] for row in _rows(*means_of(result["records"], labels), says)]
    told = f"two-tower regression {rule.rule.describe(FEATURES)}"
    return Table(
        f"By the log alone: {told}",
        ["logs", "otherwise", "eCPM", "it loses", "at most", f"within {_NEAR:g}"],
        rows,
        "Losses of eCPM against the best of all methods of the tables above, which no log tells. "
        "Nothing is trained in order to choose, and nothing is tuned. That the rule is of this "
        "kind was chosen with both kinds of logs in view.",
    )


def _tells(result: Mapping[str, Any]) -> bool:
    """Whether a result has what the table needs of each of its logs."""
    there = {(record["condition"], record["agent"]) for record in result["records"]}
    return all(
        REGRESSION in point["leads"]
        and all((point.get("label"), name) in there for name in ("two-tower", *OTHERWISE))
        for point in result["data"]["points"]
    )


def _rows(
    agents: list[str], means: NDArray[np.float64], says: NDArray[np.bool_]
) -> Iterator[list[str]]:
    for other in OTHERWISE:
        taken = np.where(says, *(means[:, agents.index(name)] for name in ("two-tower", other)))
        lost = means.max(axis=1) - taken
        yield [
            other,
            f"{taken.mean():.2f}",
            f"{lost.mean():.3f}",
            f"{lost.max():.2f}",
            f"{int((lost <= _NEAR).sum())} of {len(lost)}",
        ]
