"""The headlines of Table 1, held against eight other worlds that meet the same facts.

Agents have their defaults: a grid of its own for each world would be another experiment. The unit
of an interval is a world.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from recsim_drpo.benchmarks.reproduce.advice.leads import compared, places, single_methods
from recsim_drpo.benchmarks.reproduce.advice.log_features import features_of_log
from recsim_drpo.benchmarks.reproduce.framework.agent_suite import (
    GRIDS,
    NECESSARY_SHARE,
    RIVALS,
    SCENARIOS,
    SOFT,
    collapsed,
)
from recsim_drpo.benchmarks.reproduce.framework.conditions import Condition, other_worlds
from recsim_drpo.benchmarks.reproduce.framework.documents import Table, report_of
from recsim_drpo.benchmarks.reproduce.framework.estimates import Floats, interval, mean_of, signed
from recsim_drpo.benchmarks.reproduce.framework.records import best_of, select, values
from recsim_drpo.benchmarks.reproduce.framework.settings import Settings
from recsim_drpo.benchmarks.reproduce.framework.study import Record
from recsim_drpo.benchmarks.reproduce.framework.suites import agents_of, draw_profiles, suite
from recsim_drpo.benchmarks.reproduce.framework.verdicts import Verdict, by_sign

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAME = "worlds"
COMMAND = "recsim-drpo reproduce worlds"

TRAINED = tuple(name for name in GRIDS if name not in ("crr", "bppo"))
"""Agents trained on other worlds: two that cost as much as all the rest, and that no headline is
about, are left out."""

QUICK_AGENTS = (*RIVALS, "apg", "drpo-exp", "drpo")
"""Agents of a quick run on other worlds: those that a claim is about."""


def run(settings: Settings) -> dict[str, Any]:
    """Train, measure, judge."""
    started = time.monotonic()
    some = QUICK_AGENTS if settings.quick else TRAINED
    study = settings.study(
        NAME,
        [
            world.condition(name)
            for world in other_worlds(1 if settings.quick else 8)
            for name in SCENARIOS
        ],
        {name: [{}] for name in some},
        full=2,
        quick=1,
    )
    records = settings.run(study)
    labels = [condition.label for condition in study.conditions]
    logs = [_measured(condition, settings.device) for condition in study.conditions]
    data = {"points": places(labels, *compared(records, labels), logs)}
    tables = [
        _leads(records),
        single_methods(records, labels),
        _table(records),
        suite("All worlds together", records),
    ]
    verdicts, seconds = verdicts_of(records), time.monotonic() - started
    return report_of(NAME, settings, [study.plan()], records, tables, verdicts, seconds, data)


def _measured(condition: Condition, device: str) -> dict[str, float]:
    """Features of the first seed's log."""
    return features_of_log(condition.log(0, device=device))


def _table(records: Sequence[Record]) -> Table:
    conditions = list(dict.fromkeys(record["condition"] for record in records))
    agents = list(dict.fromkeys(record["agent"] for record in records))
    rows = [
        [agent, *(mean_of(values(records, condition=c, agent=agent)) for c in conditions)]
        for agent in agents
    ]
    return Table(
        "Other worlds that meet the same facts, eCPM at the defaults",
        ["agent", *conditions],
        rows,
        f"{len({record['seed'] for record in records})} paired seeds, 95 % intervals over them.",
    )


def lead(records: Sequence[Record], condition: str, agent: str) -> Floats:
    """DRPO's eCPM above an agent's at the defaults, by seed."""
    ours, theirs = (values(records, condition=condition, agent=a) for a in ("drpo", agent))
    return ours - theirs


def _leads(records: Sequence[Record]) -> Table:
    rows = []
    for condition in dict.fromkeys(record["condition"] for record in records):
        soft = best_of(SOFT, records, condition)
        rows.append(
            [
                condition,
                mean_of(values(records, condition=condition, agent="drpo")),
                signed(interval(lead(records, condition, "bc"))),
                soft,
                signed(interval(lead(records, condition, soft))),
                ", ".join(_ranking(records, condition)[:2]),
            ]
        )
    header = ["world", "DRPO", "minus bc", "best soft", "minus it", "two best"]
    note = "The best soft method is the one of largest eCPM on validation users."
    return Table("DRPO in other worlds, eCPM", header, rows, note)


def _ranking(records: Sequence[Record], condition: str) -> list[str]:
    """Agents by mean eCPM at the defaults, best first."""
    found = agents_of(select(records, condition=condition))
    return sorted(found, key=lambda a: -float(values(records, condition=condition, agent=a).mean()))


def verdicts_of(records: Sequence[Record]) -> list[Verdict]:
    """The headlines, held against other worlds: the unit of an interval is a world."""
    found = []
    labels = list(dict.fromkeys(record["condition"] for record in records))
    for name in SCENARIOS:
        worlds = [label for label in labels if label.endswith(f", {name}")]
        for rival in (*RIVALS, "the best soft method"):
            leads = {
                world: lead(
                    records, world, rival if rival in GRIDS else best_of(SOFT, records, world)
                )
                for world in worlds
            }
            found.append(
                by_sign(
                    interval(np.array([one.mean() for one in leads.values()])),
                    f"Table 1 in other worlds, {name}: DRPO against {rival}",
                    f"DRPO earns more than {rival} in other worlds that meet the same facts.",
                    "",
                    _won(list(leads.values())),
                    COMMAND,
                )
            )
        best = {world: _ranking(records, world)[:2] for world in worlds}
        found.append(
            _by_count(
                {world: set(two) == {"drpo", "drpo-exp"} for world, two in best.items()},
                f"Table 1 in other worlds, {name}: the two best",
                "DRPO and DRPO-Exp are the two best in other worlds.",
                f"DRPO is among them in {sum('drpo' in two for two in best.values())} of "
                f"{len(worlds)}, DRPO-Exp in {sum('drpo-exp' in two for two in best.values())}",
            )
        )
        found.append(_collapse(records, name, worlds))
    worlds = [label for label in labels if label.endswith(", extreme")]
    shares = {world: _soft_share(records, world) for world in worlds}
    found.append(
        _by_count(
            {world: share < NECESSARY_SHARE for world, share in shares.items()},
            "Section 5.3 in other worlds: necessity",
            "Hard filtering is necessary in extreme noise: soft weighting fails in other worlds.",
            f"the best soft method reaches {min(shares.values()):.0%} to "
            f"{max(shares.values()):.0%} of DRPO's eCPM",
        )
    )
    return found


def _won(leads: Sequence[Floats]) -> str:
    """How many worlds are won, and how many surely: the interval over seeds has no 0."""
    spread = [interval(one) for one in leads]
    ahead = f"ahead in {sum(one.value > 0.0 for one in spread)} of {len(leads)} worlds, surely in "
    behind = f"behind in {sum(one.value < 0.0 for one in spread)}, surely in "
    return (
        f"{ahead}{sum(one.low > 0.0 for one in spread)}; "
        f"{behind}{sum(one.high < 0.0 for one in spread)}"
    )


def _by_count(met: dict[str, bool], claim: str, statement: str, ours: str) -> Verdict:
    """The verdict on a claim that is met in each world or not."""
    where = [world for world, one in met.items() if one]
    verdict = "holds under a condition" if where else "does not hold"
    if len(where) == len(met):
        verdict = "holds"
    because = f"met in {len(where)} of {len(met)}"
    if verdict == "holds under a condition":
        because += f": {'; '.join(where)}"
    return Verdict(claim, statement, "", ours, verdict, because, COMMAND)


def _collapse(records: Sequence[Record], name: str, worlds: Sequence[str]) -> Verdict:
    scores = {world: values(records, condition=world, agent="apg") for world in worlds}
    far = {world: values(records, "distance", condition=world, agent="apg") for world in worlds}
    return _by_count(
        {world: collapsed(scores[world], far[world]) for world in worlds},
        f"Section 5.3 in other worlds, {name}: APG",
        "APG fails catastrophically in other worlds, with Dist. above 3.8.",
        f"largest eCPM {max(float(one.max()) for one in scores.values()):.2f}",
    )


def _soft_share(records: Sequence[Record], world: str) -> float:
    soft = best_of(SOFT, records, world)
    theirs, ours = (values(records, condition=world, agent=a).mean() for a in (soft, "drpo"))
    return float(theirs / ours)


def draw(result: dict[str, Any], folder: Path) -> dict[str, Figure]:
    """Performance profiles of the six best."""
    name = f"{NAME}-profiles"
    return {name: draw_profiles(folder / name, result["records"])}
