"""The phase map: where hard filtering wins, over four properties of logs.

The paper concludes that "as we move from clean benchmarks to noisy production data, explicit data
rejection becomes a prerequisite for robustness", and that "soft-weighting suffices for mild
shifts". Here the ``medium`` log is varied along four axes: the share of its rounds that π_rand's
replace, σ_noise of the observed reward, the exponent α by which π_pop follows organic popularity,
and the number of rounds. (At a noise share of 95 % π_pop logs 3 % of the rounds, and α hardly
matters; π_rand's own exponent stays 1.)

A condition's best soft method is chosen for each seed by the mean eCPM on validation users over all
other seeds, and is measured on test users: what a method earns that is chosen by true reward, which
a log cannot tell, without the luck of the run that is measured. So is the better of the hard
filters, here DRPO and Adaptive BC.

Significance is a moderated t on differences paired by seed, under Holm's correction
(:func:`.comparison.moderated_p_values`): three seeds tell little about a condition's own
variance, so that Student's t would ask for some 40 standard errors of the least of 72 conditions,
and no p-value by flipping signs is below 0.25.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from recsim_drpo.benchmarks.reproduce.advice import rules
from recsim_drpo.benchmarks.reproduce.advice.leads import (
    AGENTS,
    AXES,
    CLAIMED,
    LABELS,
    PAIRS,
    compared,
    places,
    places_of,
    single_methods,
)
from recsim_drpo.benchmarks.reproduce.advice.log_features import FEATURES, features_of_log
from recsim_drpo.benchmarks.reproduce.framework.agent_suite import UNTUNED
from recsim_drpo.benchmarks.reproduce.framework.conditions import (
    Condition,
    noise_injected,
    scenario,
)
from recsim_drpo.benchmarks.reproduce.framework.documents import Findings, Table
from recsim_drpo.benchmarks.reproduce.framework.estimates import Floats, signed
from recsim_drpo.benchmarks.reproduce.framework.experiment import Experiment, run_study
from recsim_drpo.benchmarks.reproduce.framework.records import select
from recsim_drpo.benchmarks.reproduce.framework.settings import Settings
from recsim_drpo.benchmarks.reproduce.framework.study import Record, Study
from recsim_drpo.benchmarks.reproduce.framework.suites import kinds
from recsim_drpo.benchmarks.reproduce.framework.thresholds import threshold
from recsim_drpo.benchmarks.reproduce.framework.verdicts import Verdict, by_sign
from recsim_drpo.core.transitions import Transitions
from recsim_drpo.reporting import comparison, plots
from recsim_drpo.reporting.statistics import seed_interval
from recsim_drpo.training.sweep import Trained

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAME = "phase-map"
COMMAND = "recsim-drpo reproduce phase-map"

Point = dict[str, float]
"""Where a condition is, by axis."""

QUICK_AXES: Mapping[str, tuple[float, ...]] = {
    "noise_share": (0.0, 0.95),
    "reward_noise": (0.2, 0.8),
    "popularity_bias": (1.0,),
    "rounds": (5_000, 20_000),
}

QUICK_AGENTS = ("drpo", "adaptive-bc", "asymre", "bc", "two-tower")


_LEVEL = threshold("level")


class LogStudy(Study):
    """A study whose records hold the features of the run's log as well, under ``log``."""

    def details(self, trained: Trained, log: Transitions) -> dict[str, Any]:
        """The log's features."""
        return {"log": features_of_log(log)}

    def completed(self, record: Record, source: Mapping[str, Any]) -> Record | None:
        """The record with its log's features: of published results their mean over the seeds."""
        if "log" in record:
            return record
        points = source.get("data", {}).get("points", [])
        logs = {point["label"]: point["log"] for point in points}
        log = logs.get(record["condition"])
        return None if log is None else {**record, "log": log}


def condition_at(point: Mapping[str, float]) -> Condition:
    """The condition at a point of the map."""
    base = scenario(
        "medium",
        world={"reward_noise": point["reward_noise"]},
        logging={"popularity_bias": point["popularity_bias"]},
        num_rounds=int(point["rounds"]),
    )
    label = ", ".join(f"{name} {point[name]:g}" for name in AXES)
    return replace(noise_injected(base, point["noise_share"]), label=label)


def run(settings: Settings) -> dict[str, Any]:
    """The result of the phase map: agents trained at every point of the grid."""
    axes = QUICK_AXES if settings.quick else AXES
    points: list[Point] = [
        dict(zip(axes, place, strict=True)) for place in itertools.product(*axes.values())
    ]
    some = QUICK_AGENTS if settings.quick else AGENTS
    agents = {name: UNTUNED[name] for name in some}
    conditions = [condition_at(point) for point in points]
    study = LogStudy.of(settings, NAME, conditions, agents, full=3, quick=2, curves=False)
    return run_study(settings, study, partial(findings, points=points))


def findings(records: Sequence[Record], points: Sequence[Point]) -> Findings:
    """Tables of leads and of rules of thumb, the verdicts, and the points of the map."""
    labels = [condition_at(point).label for point in points]
    rivals, leads = compared(records, labels)
    measured = [_measured(records, label) for label in labels]
    told = places(labels, rivals, leads, measured)
    return Findings(
        [
            single_methods(records, labels),
            _counts(leads),
            *(_marginals(points, leads[name], name) for name in leads),
            _every(points, rivals, leads),
            _rules(points, measured, leads),
            kinds(records),
        ],
        _verdicts(points, leads),
        {"points": [point | place for point, place in zip(points, told, strict=True)]},
    )


def cells(
    points: Sequence[Mapping[str, float]], leads: Floats, x: str, y: str
) -> tuple[list[float], list[float], Floats, NDArray[np.bool_]]:
    """Mean leads over two axes of the map, averaged over the others.

    Args:
        points: n places.
        leads: (n, num_seeds).
        x: axis of the columns.
        y: axis of the rows.

    Returns:
        values of x and of y, mean leads (len(y), len(x)), and where they differ from 0 by a
        moderated t over seeds under Holm's correction over the map.
    """
    columns, rows = ([point[axis] for point in points] for axis in (x, y))
    xs, ys = sorted(set(columns)), sorted(set(rows))
    by_seed = np.array(
        [
            leads[(np.array(columns) == column) & (np.array(rows) == row)].mean(axis=0)
            for row in ys
            for column in xs
        ]
    )
    shape = (len(ys), len(xs))
    significant = _sure(by_seed)
    return xs, ys, by_seed.mean(axis=1).reshape(shape), significant.reshape(shape)


def _adjusted(leads: Floats) -> Floats:
    """p-values of the means of rows, (n, num_seeds) to (n,), under Holm's correction."""
    return comparison.holm(comparison.moderated_p_values(leads))


def _sure(leads: Floats) -> NDArray[np.bool_]:
    return _adjusted(leads) < _LEVEL


def _title(name: str) -> str:
    return " minus ".join(PAIRS[name])


def _measured(records: Sequence[Record], label: str) -> dict[str, float]:
    """Features of a condition's logs, averaged over seeds."""
    logs = [record["log"] for record in select(records, condition=label, agent="drpo")]
    return {name: float(np.mean([log[name] for log in logs])) for name in FEATURES}


def _varied(points: Sequence[Mapping[str, float]]) -> list[str]:
    return [axis for axis in AXES if len({point[axis] for point in points}) > 1]


def _counts(leads: Mapping[str, Floats]) -> Table:
    header = ["difference of eCPM", "conditions", "ahead", "behind", "ahead, sure", "behind, sure"]
    rows = []
    for name, lead in leads.items():
        mean, sure = lead.mean(axis=1), _sure(lead)
        kinds = (mean > 0, mean < 0, sure & (mean > 0), sure & (mean < 0))
        rows.append([_title(name), str(len(lead)), *(str(int(kind.sum())) for kind in kinds)])
    seeds = next(iter(leads.values())).shape[1]
    note = f"Sure: moderated t on {seeds} seeds, Holm over conditions, 5 %."
    return Table("Conditions won and lost", header, rows, note)


def _marginals(points: Sequence[Point], lead: Floats, name: str) -> Table:
    rows = []
    for axis in _varied(points):
        for value in sorted({point[axis] for point in points}):
            here = lead[[point[axis] == value for point in points]]
            wins = float((here.mean(axis=1) > 0).mean())
            mean = signed(seed_interval(here.mean(axis=0)))
            rows.append([LABELS[axis], f"{value:,g}", mean, f"{wins:.0%}"])
    header = ["axis", "value", "difference of eCPM", "conditions ahead"]
    note = "Averaged over the other axes; 95 % intervals by Student's t over seeds."
    return Table(_title(name), header, rows, note)


def _every(points: Sequence[Point], rivals: Sequence[str], leads: Mapping[str, Floats]) -> Table:
    adjusted = {name: _adjusted(lead) for name, lead in leads.items()}
    rows = [
        [
            *(f"{point[axis]:,g}" for axis in AXES),
            rivals[k],
            *(
                cell
                for name, lead in leads.items()
                for cell in (signed(seed_interval(lead[k])), f"{adjusted[name][k]:.2g}")
            ),
        ]
        for k, point in enumerate(points)
    ]
    differences = (cell for name in leads for cell in (_title(name), "p"))
    header = [*(LABELS[axis] for axis in AXES), "best soft", *differences]
    note = (
        "Differences of eCPM with intervals by Student's t over seeds; p by moderated t, adjusted "
        "over conditions by Holm."
    )
    return Table("Every condition", header, rows, note)


def _rules(
    points: Sequence[Point], logs: Sequence[Mapping[str, float]], leads: Mapping[str, Floats]
) -> Table:
    grid = np.array([[point[axis] for axis in AXES] for point in points])
    seen = (("the axes", grid, tuple(AXES)), ("the log", rules.features_of(logs), FEATURES))
    rows = []
    for name, lead in leads.items():
        first, second = PAIRS[name]
        gains = lead.mean(axis=1)
        for sees, x, names in seen:
            for fit in rules.FITS[1:]:
                says = rules.leave_out(x, gains, places_of(points), fit)
                rows.append(
                    [
                        f"{first}, or {second}",
                        sees,
                        f"the first {fit(x, gains).describe(names)}",
                        *(f"{loss:.3f}" for loss in rules.losses(gains, says)),
                        f"{(says == (gains > 0)).mean():.0%}",
                    ]
                )
    header = [
        "choose",
        "by",
        "the rule",
        "it loses",
        "always the first loses",
        "always the second loses",
        "right",
    ]
    note = (
        "One threshold or two, fitted to lose the least. Losses are of eCPM against knowing the "
        "better of the two, averaged over conditions, each told by a rule fitted on those that "
        "differ in more than the number of rounds; neighbours on the grid are alike all the same, "
        "so that a log from elsewhere will be told worse."
    )
    return Table("Rules of thumb", header, rows, note)


def _verdicts(points: Sequence[Point], leads: Mapping[str, Floats]) -> list[Verdict]:
    verdicts = []
    for name in CLAIMED:
        lead, (who, rival) = leads[name], PAIRS[name]
        for axis, about in (("noise_share", "random rounds"), ("reward_noise", "reward noise")):
            if axis not in _varied(points):
                continue
            place = np.array([point[axis] for point in points])
            low, high = (lead[place == end].mean(axis=0) for end in (place.min(), place.max()))
            where = f"Section 7 on the map, {about}, {_title(name)}"
            verdicts += [
                by_sign(
                    seed_interval(high),
                    f"{where}: the noisiest logs",
                    f"On logs with the most {about}, {who} earns more than {rival}.",
                    "",
                    f"difference {signed(seed_interval(high))} at {axis} {place.max():g}",
                    COMMAND,
                ),
                by_sign(
                    seed_interval(high - low),
                    f"{where}: the trend",
                    f"What {who} earns above {rival} grows with {about}.",
                    "",
                    f"difference {signed(seed_interval(low))} at {axis} {place.min():g}, "
                    f"{signed(seed_interval(high))} at {place.max():g}",
                    COMMAND,
                ),
            ]
    return verdicts


def draw(result: dict[str, Any], folder: Path) -> dict[str, Figure]:
    """Pictures of mean leads, one for every pair of varied axes and each pair of methods."""
    points = result["data"]["points"]
    figures = {}
    for pair in points[0]["leads"]:
        leads = np.array([point["leads"][pair] for point in points])
        for x, y in itertools.combinations(_varied(points), 2):
            xs, ys, means, significant = cells(points, leads, x, y)
            name = f"{NAME}-{pair}-{x}-{y}".replace("_", "-")
            figures[name] = plots.heatmap(
                folder / name,
                means,
                significant,
                xs,
                ys,
                xlabel=LABELS[x],
                ylabel=LABELS[y],
                label=f"eCPM, {_title(pair)}",
                mark="differs from 0 (moderated t, Holm, 5 %)",
            )
    return figures


def judged(result: dict[str, Any]) -> Findings:
    """What follows from the records of a published result."""
    logs = {point["label"]: point["log"] for point in result["data"]["points"]}
    points = [{axis: point[axis] for axis in AXES} for point in result["data"]["points"]]
    records = [{**record, "log": logs[record["condition"]]} for record in result["records"]]
    return findings(records, points)


EXPERIMENT = Experiment(NAME, "where hard filtering wins", run, draw, judge=judged)
