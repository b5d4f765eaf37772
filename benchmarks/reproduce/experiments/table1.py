"""Table 1: all agents in both scenarios.

Hyper-parameters are those of Appendix I's grids, chosen on validation users by their true reward as
the paper's must have been, and, as the honest alternative, seed by seed on a held-out log. The
paper's own methods have Table 5's values and no grid.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from recsim_drpo.benchmarks.reproduce.experiments import table1_claims as performance_claims
from recsim_drpo.benchmarks.reproduce.framework.agent_suite import (
    COLLAPSED_ECPM,
    COMBINED,
    DISCRETE,
    GRIDS,
    PAPER_TABLE_1,
    RIVALS,
    SCENARIOS,
    collapsed,
    marks_told,
)
from recsim_drpo.benchmarks.reproduce.framework.conditions import scenario
from recsim_drpo.benchmarks.reproduce.framework.documents import Findings, Table
from recsim_drpo.benchmarks.reproduce.framework.estimates import (
    Floats,
    difference,
    interval,
    mean_of,
    signed,
)
from recsim_drpo.benchmarks.reproduce.framework.experiment import Experiment, run_study
from recsim_drpo.benchmarks.reproduce.framework.records import (
    agents_of,
    best_variant,
    chosen_offline,
    distinct,
    select,
    tuned,
)
from recsim_drpo.benchmarks.reproduce.framework.settings import Settings
from recsim_drpo.benchmarks.reproduce.framework.study import Record, Study
from recsim_drpo.benchmarks.reproduce.framework.suites import draw_profiles, kinds, suite
from recsim_drpo.benchmarks.reproduce.framework.verdicts import Verdict, by_sign, earns_more
from recsim_drpo.reporting import comparison, plots
from recsim_drpo.reporting.statistics import Estimate

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAME = "table1"
COMMAND = "recsim-drpo reproduce table1"
PAIRED, DIFFERENCE = "Paired differences in eCPM", "DRPO minus it, {log}"
"""Title of the table of differences, and its column for a log."""

AGENTS = tuple(name for name in GRIDS if name not in (*DISCRETE, *COMBINED))
"""Agents of the table. Those with a softmax over items cost five times as much as all others, and
what weighs several is measured on all logs at once: docs/softmax.md and docs/all_logs.md."""


def run(settings: Settings) -> dict[str, Any]:
    """The result of Table 1: all agents trained in both scenarios."""
    agents = {name: GRIDS[name][: 1 if settings.quick else None] for name in AGENTS}
    conditions = [scenario(name) for name in SCENARIOS]
    study = Study.of(settings, NAME, conditions, agents, full=20, quick=2, offline=True)
    return run_study(settings, study, findings)


def findings(records: Sequence[Record]) -> Findings:
    """Table 1 for each scenario, paired differences, a suite of both, and the verdicts."""
    tables = [_table(records, name) for name in SCENARIOS]
    tables += [_paired(records), suite("Both scenarios together", records)]
    tables.append(kinds(records))
    return Findings(tables, verdicts_of(records))


def _overrides(records: Sequence[Record], condition: str, agent: str) -> str:
    variant = best_variant(records, condition, agent)
    overrides = select(records, condition=condition, agent=agent, variant=variant)[0]["overrides"]
    return ", ".join(f"{name}={value}" for name, value in overrides.items()) or "defaults"


def _table(records: Sequence[Record], condition: str) -> Table:
    rows, published = [], PAPER_TABLE_1[condition]
    for agent in agents_of(records):
        ecpm = tuned(records, condition, agent)
        distance = tuned(records, condition, agent, "distance")
        runs = select(records, condition=condition, agent=agent)
        diverged = sum(record["diverged_at"] is not None for record in runs)
        rows.append(
            [
                agent,
                f"{tuned(records, condition, agent, 'reward').mean():.3f}",
                mean_of(ecpm),
                mean_of(chosen_offline(records, condition, agent)),
                f"{np.nanmean(distance):.3g}" if np.isfinite(distance).any() else "",
                _shown(tuned(records, condition, agent, "coverage")),
                _overrides(records, condition, agent),
                str(diverged) if diverged else "",
                f"{published[agent]:.2f}" if agent in published else "",
            ]
        )
    seeds = len(distinct(records, "seed"))
    return Table(
        f"Table 1, {condition}",
        [
            "agent",
            "reward",
            "eCPM, tuned online",
            "eCPM, chosen offline",
            "Dist.",
            "items shown",
            "tuned to",
            "diverged",
            "paper's eCPM",
        ],
        rows,
        f"{seeds} paired seeds, each with its own log; 95 % intervals over seeds; test "
        "users. Tuned online: on validation users, by true reward. Chosen offline: seed by seed, "
        "by a reward model of a held-out log.",
    )


def _shown(coverage: Floats) -> str:
    """The share of items shown, or nothing where runs taken over do not tell."""
    return "" if np.isnan(coverage).any() else f"{coverage.mean():.1%}"


def _paired(records: Sequence[Record]) -> Table:
    others = [agent for agent in agents_of(records) if agent != "drpo"]
    raw = [
        comparison.sign_flip_p_value(tuned(records, c, "drpo"), tuned(records, c, agent))
        for c in SCENARIOS
        for agent in others
    ]
    adjusted = dict(
        zip([(c, a) for c in SCENARIOS for a in others], comparison.holm(raw), strict=True)
    )
    rows = []
    for agent in others:
        row = [agent]
        for condition in SCENARIOS:
            row += [
                signed(difference_to_drpo(records, condition, agent)),
                f"{adjusted[condition, agent]:.3g}",
            ]
        rows.append(row)
    header = ["agent"]
    for condition in SCENARIOS:
        header += [DIFFERENCE.format(log=condition), "p"]
    return Table(
        PAIRED,
        header,
        rows,
        "By seed, tuned online; p-values of sign flips, adjusted by Holm over the whole table.",
    )


def difference_to_drpo(records: Sequence[Record], condition: str, agent: str) -> Estimate:
    """DRPO's eCPM minus an agent's, paired by seed."""
    return difference(tuned(records, condition, "drpo"), tuned(records, condition, agent))


def verdicts_of(records: Sequence[Record]) -> list[Verdict]:
    """The verdicts on the claims about Table 1."""
    ecpm = {c: {a: tuned(records, c, a) for a in agents_of(records)} for c in SCENARIOS}
    return [
        _apg_fails(records),
        *(_drpo_against(ecpm[c], c, rival) for c in SCENARIOS for rival in RIVALS),
        *(_degrades(ecpm, agent) for agent in ("iql", "adaptive-bc")),
        *performance_claims.verdicts(ecpm, COMMAND),
    ]


def _apg_fails(records: Sequence[Record]) -> Verdict:
    ecpm = {c: tuned(records, c, "apg") for c in SCENARIOS}
    distances = [tuned(records, c, "apg", "distance") for c in SCENARIOS]
    largest = max(float(scores.max()) for scores in ecpm.values())
    return Verdict(
        "Section 5.3, APG",
        "APG fails catastrophically in both scenarios, with Dist. above 3.8.",
        "reward 0.01, Dist. > 3.8",
        "; ".join(f"{c}: eCPM {mean_of(scores)}" for c, scores in ecpm.items()),
        "holds" if all(map(collapsed, ecpm.values(), distances)) else "does not hold",
        f"largest eCPM {largest:.2f}, smallest Dist. "
        f"{min(float(np.nanmin(distance)) for distance in distances):.3g}; to fail is an eCPM "
        f"below {COLLAPSED_ECPM:g}; {marks_told(largest)}",
        COMMAND,
    )


def _drpo_against(ecpm: Mapping[str, Floats], condition: str, rival: str) -> Verdict:
    published = PAPER_TABLE_1[condition]
    paper = f"{published['drpo']:.2f} against {published[rival]:.2f}" if rival in published else ""
    return earns_more(
        ecpm["drpo"],
        ecpm[rival],
        f"Table 1, {condition}: DRPO against {rival}",
        f"DRPO earns more than {rival}.",
        paper,
        COMMAND,
    )


def _degrades(ecpm: performance_claims.Scores, agent: str) -> Verdict:
    medium, extreme = (ecpm[condition][agent] for condition in ("medium", "extreme"))
    return by_sign(
        difference(medium, extreme),
        f"Section 5.3, {agent} under heavy noise",
        f"{agent} degrades from medium quality to extreme noise.",
        f"{PAPER_TABLE_1['medium'][agent]} to {PAPER_TABLE_1['extreme'][agent]}",
        f"{mean_of(medium)} to {mean_of(extreme)}",
        COMMAND,
    )


def draw(result: dict[str, Any], folder: Path) -> dict[str, Figure]:
    """Pictures of eCPM as bars for both scenarios, and of performance profiles."""
    records = result["records"]
    agents = agents_of(records)
    bars = {c: [interval(tuned(records, c, agent)) for agent in agents] for c in SCENARIOS}
    label = "eCPM on test users, 95 % interval over seeds"
    profiles = f"{NAME}-profiles"
    return {
        NAME: plots.interval_bars(folder / NAME, agents, bars, label),
        profiles: draw_profiles(folder / profiles, records),
    }


def judged(result: dict[str, Any]) -> Findings:
    """What follows from the records of a published result, which tell no items shown."""
    records = result["records"]
    return Findings([kinds(records)], verdicts_of(records))


EXPERIMENT = Experiment(NAME, "all agents in both scenarios", run, draw, judge=judged)
