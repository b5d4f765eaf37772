"""Scores, differences, tables and the picture of continuous control.

Used by :mod:`recsim_drpo.benchmarks.control`. A report has sizes, and by task the returns of an
expert, of random actions and of every agent on every log.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from recsim_drpo.benchmarks.control_agents import CONTENDERS, PAIRS
from recsim_drpo.reporting import plots
from recsim_drpo.reporting.statistics import Estimate, seed_interval
from recsim_drpo.reporting.tables import markdown_table


def normalised(value: float, random: float, best: float) -> float:
    """A return as D4RL's score: 0 for ``random``, 100 for ``best``."""
    return 100.0 * (value - random) / (best - random)


def scores(section: Mapping[str, Any], contender: str, share: str) -> list[float]:
    """Normalised scores of an agent on the logs of a share, seed by seed."""
    references = section["references"]
    returns = section["agents"][contender]["returns"][share]
    return [normalised(value, references["random"], references["expert"]) for value in returns]


def score_of(section: Mapping[str, Any], reference: str) -> float:
    """The normalised score of a reference: 0 of ``random``, 100 of ``expert``."""
    known = section["references"]
    return normalised(known[reference], known["random"], known["expert"])


def table(report: Mapping[str, Any]) -> str:
    """Scores of all agents on all logs in Markdown."""
    shares = [str(share) for share in report["sizes"]["shares"]]
    columns = [(name, share) for name in report["tasks"] for share in shares]
    rows = []
    measured = {one for section in report["tasks"].values() for one in section["agents"]}
    for contender in (one for one in CONTENDERS if one in measured):
        row = [contender]
        for name, share in columns:
            section = report["tasks"][name]
            known = contender in section["agents"]
            row.append(_short(seed_interval(scores(section, contender, share))) if known else "")
        rows.append(row)
    middle = [score_of(report["tasks"][name], "middle") for name, _ in columns]
    rows.append(["the middle of the box", *(f"{score:.0f}" for score in middle)])
    header = ["agent", *(f"{name}, {float(share):.0%}" for name, share in columns)]
    return markdown_table(header, rows)


def differences(report: Mapping[str, Any]) -> dict[str, dict[str, Estimate]]:
    """Paired differences of scores by log, and by pair of agents where both were measured."""
    found: dict[str, dict[str, Estimate]] = {}
    for name, section in report["tasks"].items():
        for share in map(str, report["sizes"]["shares"]):
            found[f"{name}, {float(share):.0%}"] = {
                f"{one} − {other}": seed_interval(
                    np.subtract(scores(section, one, share), scores(section, other, share))
                )
                for one, other in PAIRS
                if one in section["agents"] and other in section["agents"]
            }
    return found


def difference_table(report: Mapping[str, Any]) -> str:
    """The differences in Markdown, bold where the interval does not have 0 in it."""
    found = differences(report)
    names = [f"{one} − {other}" for one, other in PAIRS]
    rows = [[log, *(_marked(some.get(name)) for name in names)] for log, some in found.items()]
    return markdown_table(["log", *names], rows)


def _short(estimate: Estimate) -> str:
    value, low, high = (f"{number:.0f}".replace("-0", "0") for number in estimate)
    return f"{value} [{low}, {high}]"


def _marked(estimate: Estimate | None) -> str:
    if estimate is None:
        return ""
    apart = estimate.low > 0 or estimate.high < 0
    return f"**{_short(estimate)}**" if apart else _short(estimate)


def draw(report: Mapping[str, Any], path: Path) -> list[Path]:
    """Write scores against the share of random steps, a panel a task."""
    tasks = report["tasks"]
    figure, panels = plots.new_panels(1, len(tasks), 3.4 * len(tasks) + 1.0, 3.8)
    shares = report["sizes"]["shares"]
    for axes, (name, section) in zip(panels[0], tasks.items(), strict=True):
        for number, contender in enumerate(CONTENDERS):
            if contender not in section["agents"]:
                continue
            found = [seed_interval(scores(section, contender, str(share))) for share in shares]
            means = [one.value for one in found]
            spread = np.nan_to_num([[one.value - one.low for one in found]] * 2)
            axes.errorbar(
                [100 * share + 0.5 * (number - 5) for share in shares],
                means,
                yerr=spread,
                color=plots.COLOURS[number % len(plots.COLOURS)],
                ls="-" if number < len(plots.COLOURS) else "--",
                marker="o",
                ms=4,
                lw=1,
                label=contender if axes is panels[0][0] else None,
            )
        axes.set(title=name, xlabel="random steps (%)", ylim=(-40, 130))
        axes.axhline(100, color="0.5", lw=0.8, ls=":")
    panels[0][0].set_ylabel("normalised return (random 0, expert 100)")
    figure.legend(loc="outside lower center", frameon=False, fontsize=8, ncols=8)
    return plots.save(figure, path)


def tables(report: Mapping[str, Any], quick: bool) -> str:
    """Both tables, with a line that says what they are, or that they are no evidence."""
    sizes = report["sizes"]
    about = (
        f"{sizes['seeds']} seeds, {sizes['log_steps']:,} steps a log, {sizes['updates']:,} updates "
        f"of {sizes['batch_size']}, {sizes['episodes']} episodes; 95 % intervals over seeds."
    )
    if quick:
        about = f"QUICK: THIS IS NO EVIDENCE. {about}"
    return f"{about}\n\n{table(report)}\n\n{difference_table(report)}\n"
