"""Figure 3: noise injection.

A share of the ``medium`` log's rounds is replaced by π_rand's, from 0 to 80 %. π_rand draws by
organic popularity as in the registered world, and, as the other natural reading, uniformly.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from recsim_drpo import plots
from recsim_drpo.benchmarks.reproduce.conditions import Condition, noise_injected, scenario
from recsim_drpo.benchmarks.reproduce.results import (
    Floats,
    Settings,
    Table,
    brief,
    by_sign,
    difference,
    interval,
    report_of,
    signed,
    values,
)
from recsim_drpo.benchmarks.reproduce.study import Record, Variants
from recsim_drpo.benchmarks.reproduce.verdicts import Verdict

NAME = "figure3"
COMMAND = "recsim-drpo reproduce figure3"
RATIOS = (0.0, 0.2, 0.4, 0.6, 0.8)
PAPER = {
    "drpo-exp": (1.50, 1.44, 1.45, 1.42, 1.35),
    "drpo": (1.46, 1.47, 1.45, 1.41, 1.33),
    "iql": (1.47, 1.40, 1.35, 1.28, 1.14),
    "awr": (1.29, 1.16, 1.08, 1.03, 1.06),
    "crr": (1.12, 1.11, 1.12, 1.01, 0.75),
    "apg": (0.05, 0.0, 0.0, 0.0, 0.0),
}
"""eCPM read off the figure; its "vanilla AsymRe" collapses as unweighted advantages do: our apg."""

AGENTS: Variants = {
    "bc": [{}],
    "apg": [{}],
    "crr": [{}],
    "awr": [{"beta": 0.05, "standardize": False}],
    "iql": [{}],
    "asymre": [{}],
    "asymre-delta": [{}],
    "adaptive-bc": [{}],
    "drpo-exp": [{}],
    "drpo-boltzmann": [{}],
    "drpo": [{}],
}


def _bases() -> tuple[Condition, Condition]:
    popular = scenario("medium")
    uniform = replace(popular, label="medium, uniform noise", logging={"random_exponent": 0.0})
    return popular, uniform


def run(settings: Settings) -> dict[str, Any]:
    """Train, measure, judge."""
    started = time.monotonic()
    bases = _bases()[:1] if settings.quick else _bases()
    conditions = [noise_injected(base, ratio) for base in bases for ratio in RATIOS]
    some = ("bc", "awr", "asymre", "drpo") if settings.quick else tuple(AGENTS)
    agents = {name: AGENTS[name] for name in some}
    study = settings.study(NAME, conditions, agents, full=20, quick=2)
    records = settings.run(study)
    return report_of(
        NAME,
        settings,
        [study.plan()],
        records,
        [_table(records, base) for base in bases],
        [verdict for base in bases for verdict in _verdicts(records, base)],
        time.monotonic() - started,
    )


def scores(records: Sequence[Record], base: Condition, ratio: float, agent: str) -> Floats:
    """eCPM over seeds at one noise ratio."""
    return values(records, condition=noise_injected(base, ratio).label, agent=agent)


def _agents(records: Sequence[Record]) -> list[str]:
    return list(dict.fromkeys(record["agent"] for record in records))


def _table(records: Sequence[Record], base: Condition) -> Table:
    rows = []
    for agent in _agents(records):
        paper = " / ".join(f"{x:.2f}" for x in PAPER[agent]) if agent in PAPER else ""
        cells = [brief(interval(scores(records, base, ratio, agent))) for ratio in RATIOS]
        rows.append([agent, *cells, paper])
    header = ["agent", *(f"{ratio:.0%}" for ratio in RATIOS), "paper"]
    return Table(f"Figure 3, {base.label}", header, rows, "eCPM, 95 % intervals.")


def _verdicts(records: Sequence[Record], base: Condition) -> list[Verdict]:
    where = f"Figure 3, {base.label}"
    found = []

    def share_kept(agent: str) -> float:
        first, last = (scores(records, base, ratio, agent).mean() for ratio in (0.0, 0.8))
        return float(last / first)

    drop = difference(scores(records, base, 0.0, "drpo"), scores(records, base, 0.8, "drpo"))
    found.append(
        Verdict(
            f"{where}: DRPO",
            "DRPO keeps its performance up to 80 % noise.",
            "1.46 to 1.33",
            f"{brief(interval(scores(records, base, 0.0, 'drpo')))} to "
            f"{brief(interval(scores(records, base, 0.8, 'drpo')))}",
            "holds" if share_kept("drpo") > 0.9 else "does not hold",
            f"it keeps {share_kept('drpo'):.0%}, losing {signed(drop)}",
            COMMAND,
        )
    )
    for agent in ("awr", "asymre"):
        curve = np.array([scores(records, base, ratio, agent).mean() for ratio in RATIOS])
        slope, level = np.polyfit(RATIOS, curve, 1)
        left = curve - (level + slope * np.array(RATIOS))
        explained = 1.0 - float((left**2).sum() / max(((curve - curve.mean()) ** 2).sum(), 1e-12))
        linear = share_kept(agent) < 0.9 and explained > 0.9
        found.append(
            Verdict(
                f"{where}: {agent}",
                f"{agent} degrades linearly with noise.",
                "1.29 to 1.06" if agent == "awr" else "",
                f"{brief(interval(scores(records, base, 0.0, agent)))} to "
                f"{brief(interval(scores(records, base, 0.8, agent)))}",
                "holds" if linear else "does not hold",
                f"it keeps {share_kept(agent):.0%}; a line explains {explained:.0%} of the change",
                COMMAND,
            )
        )
        found.append(
            by_sign(
                difference(scores(records, base, 0.8, "drpo"), scores(records, base, 0.8, agent)),
                f"{where}: DRPO against {agent} at 80 %",
                f"At 80 % noise DRPO earns more than {agent}.",
                "1.33 against 1.06" if agent == "awr" else "",
                f"{brief(interval(scores(records, base, 0.8, 'drpo')))} against "
                f"{brief(interval(scores(records, base, 0.8, agent)))}",
                COMMAND,
            )
        )
    return found


def draw(result: dict[str, Any], folder: Path) -> None:
    """eCPM against the noise ratio, a line for each agent."""
    records = result["records"]
    known = {record["condition"] for record in records}
    for number, base in enumerate(_bases()):
        if noise_injected(base, 0.0).label not in known:
            continue
        lines = {
            agent: [interval(scores(records, base, ratio, agent)) for ratio in RATIOS]
            for agent in _agents(records)
        }
        name = folder / (NAME if number == 0 else f"{NAME}-uniform")
        plots.sweep(name, 100 * np.array(RATIOS), lines, "noise ratio (%)", "eCPM")
