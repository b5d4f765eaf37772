"""A log's place on the phase map, and the advice for it: known before any training."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from recsim_drpo.benchmarks.reproduce.advice import leads
from recsim_drpo.benchmarks.reproduce.advice.log_features import FEATURES
from recsim_drpo.benchmarks.reproduce.advice.rules import (
    Judged,
    Point,
    best_judged,
    features_of,
    judge,
)
from recsim_drpo.benchmarks.reproduce.framework.documents import Table
from recsim_drpo.benchmarks.reproduce.framework.estimates import Floats

PUBLISHED = Path(__file__).resolve().parents[2] / "results" / "reproduce"
"""Results of full runs, which come with the package."""

NEAREST = 5
SCALED = ("rounds", "effective_items")
"""Features that are compared by ratio, and therefore positive."""
_ROUNDING = 1e-9  # of the map's range
_METHODS = {
    "two-tower regression": "predict rewards (two-tower)",
    "DRPO": "filter (DRPO)",
    "BC": "clone (BC)",
    "the best soft method": "weigh softly",
}


def points_of(results: Sequence[Mapping[str, Any]]) -> tuple[list[Point], list[Point]]:
    """The conditions of the phase map among results, and those of other worlds, if any.

    Raises:
        ValueError: the map is not among them.
    """
    by_name = {result["experiment"]: result for result in results}
    if leads.PHASE_MAP not in by_name:
        raise ValueError(
            f"There is no {leads.PHASE_MAP} among the results; make it: recsim-drpo reproduce "
            f"{leads.PHASE_MAP}, "
            "then name its folder by --results."
        )
    others = by_name[leads.WORLDS]["data"]["points"] if leads.WORLDS in by_name else []
    return by_name[leads.PHASE_MAP]["data"]["points"], others


def outside(features: Mapping[str, float], points: Sequence[Point]) -> list[str]:
    """Features that lie below the least or above the largest of the map's logs."""
    here, there = _row(features), _rows(points)
    low, high = there.min(axis=0), there.max(axis=0)
    room = _ROUNDING * (high - low)
    beyond = (here < low - room) | (here > high + room)
    return [name for name, is_beyond in zip(FEATURES, beyond, strict=True) if is_beyond]


def locate(
    features: Mapping[str, float], points: Sequence[Point], elsewhere: Sequence[Point]
) -> tuple[str, list[Table]]:
    """The answer in one sentence, and tables of what it rests on.

    Args:
        features: of :func:`.log_features.log_features`.
        points: conditions of the map.
        elsewhere: conditions of other worlds, on which rules are tried; may be empty.

    Returns:
        the sentence, which says whether the rule of thumb and the nearest logs agree and what the
        rule is known to lose; tables of the log's features, the rules' answers, the nearest logs.
    """
    judged = {
        name: best_judged(_judged(points, elsewhere, name)) for name in _pairs(points, elsewhere)
    }
    near = [points[k] for k in _nearest(features, points)]
    tables = [_facts(features, points), _answers(features, judged), _neighbours(near, judged)]
    return _sentence(features, judged, near, outside(features, points)), tables


def _sentence(
    features: Mapping[str, float],
    judged: Mapping[str, Judged],
    near: Sequence[Point],
    beyond: Sequence[str],
) -> str:
    """What to take, whether the rule and the nearest logs agree on it, and what the rule loses."""
    name = _question(features, judged, near)
    by_rule, votes = _says(name, features, judged), _votes(name, near)
    first, second = leads.PAIRS[name]
    most = max(votes.values())
    others = f"{most} of the {len(near)} nearest logs of the map"
    if votes[by_rule] * 2 > len(near):
        answer = f"{_named(by_rule, near)}, as the rule and {others} agree"
    else:
        favoured = _METHODS[second if by_rule == first else first]
        tied = votes[by_rule] == most
        said = "the nearest logs are divided" if tied else f"{others} say {favoured}"
        answer = f"undecided between {first} and {second}, as the rule says {_METHODS[by_rule]}, "
        answer += said
    if beyond:
        answer = f"a guess, outside of the map in {', '.join(beyond)}: {answer}"
    return f"{answer[0].upper()}{answer[1:]}; the rule loses {_uncertainty(judged[name])}."


def _question(
    features: Mapping[str, float], judged: Mapping[str, Judged], near: Sequence[Point]
) -> str:
    """The pair that the answer is about: predicting or cloning where the rule or logs are for it.

    Where neither is, whether to filter or to weigh.
    """
    for name in (leads.REGRESSION, "bc"):
        if name in judged:
            by_rule, votes = _says(name, features, judged), _votes(name, near)
            if by_rule != "DRPO" or votes[by_rule] * 2 <= len(near):
                return name
    return "soft"


def _says(name: str, features: Mapping[str, float], judged: Mapping[str, Judged]) -> str:
    """The method of a pair that the rule chooses."""
    first, second = leads.PAIRS[name]
    return first if judged[name].rule(features_of([features]))[0] else second


def _votes(name: str, near: Sequence[Point]) -> dict[str, int]:
    """On how many of the nearest logs each method of a pair is ahead."""
    ahead = sum(float(np.mean(point["leads"][name])) > 0 for point in near)
    first, second = leads.PAIRS[name]
    return {first: ahead, second: len(near) - ahead}


def _named(method: str, near: Sequence[Point]) -> str:
    if method != leads.PAIRS["soft"][1]:
        return _METHODS[method]
    best = Counter(point["best_soft"] for point in near)
    shown = ", ".join(f"{agent} on {count}" for agent, count in best.most_common())
    return f"{_METHODS[method]} (best of the soft methods there: {shown})"


def _uncertainty(judged: Judged) -> str:
    loss = f"{judged.by_place} eCPM on places of the map that it was not fitted on"
    other = judged.elsewhere[0]
    return loss if math.isnan(other) else f"{loss}, and {other:.3f} in other worlds"


def rules_table(points: Sequence[Point], elsewhere: Sequence[Point]) -> Table:
    """A table of all rules of thumb with their losses; the best rule of each choice in bold."""
    rows = []
    for name, (first, second) in _pairs(points, elsewhere).items():
        candidates = _judged(points, elsewhere, name)
        for judged in candidates:
            rule = f"{first} {judged.rule.describe(FEATURES)}"
            shown = f"**{rule}**" if judged is best_judged(candidates) else rule
            chosen = f"{judged.chosen[0]} of {len(elsewhere)}, {judged.chosen[1]} rightly"
            rows.append([f"{first}, or {second}", shown, *_losses(judged), chosen])
    header = ["choose", "rule", *_LOSSES, "elsewhere it chooses the first"]
    return Table("Rules by the log alone", header, rows, _NOTE)


def _pairs(points: Sequence[Point], elsewhere: Sequence[Point]) -> dict[str, tuple[str, str]]:
    """The pairs that all logs have leads of."""
    there = [*points, *elsewhere]
    return {
        name: pair
        for name, pair in leads.PAIRS.items()
        if all(name in point["leads"] for point in there)
    }


def _judged(points: Sequence[Point], elsewhere: Sequence[Point], name: str) -> list[Judged]:
    return judge(points, leads.places_of(points), elsewhere, name)


_LOSSES = tuple(
    f"{place}: {who}" for place in ("map", "elsewhere") for who in ("rule", "first", "second")
)
_NOTE = (
    "Losses are of eCPM (the optimum is about 2) against knowing the better of the two: by the "
    "rule, by always choosing the first, by always choosing the second. The best of several soft "
    "methods is chosen by true reward, which no log tells: a single one loses more. Map: on logs "
    "that differ from all that the rule was fitted on in more than the number of rounds. "
    "Elsewhere: on logs of other worlds. Taken is the rule whose two losses have the smallest mean."
)


_NEAR_NOTE = (
    "Differences of eCPM; below 0.06 three seeds cannot tell them from nothing. Random rounds show "
    "items by popularity, blind to the user."
)


def _losses(judged: Judged) -> list[str]:
    losses = (*judged.on_the_map, *judged.elsewhere)
    return ["" if math.isnan(loss) else f"{loss:.3f}" for loss in losses]


def _row(features: Mapping[str, float]) -> Floats:
    """Features of a log as distances between logs need them: counts as logarithms."""
    values = [features[name] for name in FEATURES]
    return np.array(
        [
            np.log(value) if name in SCALED else value
            for name, value in zip(FEATURES, values, strict=True)
        ]
    )


def _rows(points: Sequence[Point]) -> Floats:
    return np.array([_row(point["log"]) for point in points])


def _facts(features: Mapping[str, float], points: Sequence[Point]) -> Table:
    beyond = outside(features, points)
    rows = []
    for name in FEATURES:
        there = [point["log"][name] for point in points]
        row = (_short(value) for value in (features[name], min(there), max(there)))
        rows.append([name, *row, "no" if name in beyond else "yes"])
    header = ["measured on the log", "this log", "least on the map", "most on the map", "inside"]
    note = (
        f"Outside of the map in {', '.join(beyond)}: what follows was never tested on such logs."
        if beyond
        else ""
    )
    return Table("The log", header, rows, note)


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 1_000 else f"{value:.4g}"


def _answers(features: Mapping[str, float], judged: Mapping[str, Judged]) -> Table:
    rows = []
    for name, best in judged.items():
        (first, second), answer = leads.PAIRS[name], _says(name, features, judged)
        rule = f"{first} {best.rule.describe(FEATURES)}"
        rows.append([f"{first}, or {second}", answer, rule, *_losses(best)])
    header = ["choose", "here", "by the rule", *_LOSSES]
    return Table("What the rules of thumb say", header, rows, _NOTE)


def _nearest(features: Mapping[str, float], points: Sequence[Point]) -> list[int]:
    """The points that are most like a log, the nearest first."""
    there = _rows(points)
    spread = there.std(axis=0)
    apart = (there - _row(features)) / np.where(spread > 0, spread, 1.0)
    order: list[int] = np.linalg.norm(apart, axis=1).argsort(kind="stable").tolist()
    return order[:NEAREST]


def _neighbours(near: Sequence[Point], pairs: Collection[str]) -> Table:
    rows = [
        [
            *(f"{point[axis]:,g}" for axis in leads.AXES),
            point["best_soft"],
            *(f"{np.mean(point['leads'][name]):+.3f}" for name in pairs),
        ]
        for point in near
    ]
    differences = (" minus ".join(leads.PAIRS[name]) for name in pairs)
    header = [*(leads.LABELS[axis] for axis in leads.AXES), "best soft", *differences]
    return Table("The map's logs that are most like it", header, rows, _NEAR_NOTE)
