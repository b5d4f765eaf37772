"""What :mod:`.scale` measured, as a table for the pages and as a picture of growth."""

from __future__ import annotations

import json
import re
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from recsim_drpo.benchmarks.speed.measuring import number
from recsim_drpo.reporting import plots
from recsim_drpo.reporting.tables import markdown_table

FORMER_ROUNDS: Mapping[int, float] = {5_000: 12_500, 100_000: 890, 1_000_000: 27}
"""Rounds a second of the code before tiles, by items, as they were told of it."""

FORMER_STEPS: Mapping[int, float] = {5_000: 21_400, 100_000: 1_700, 1_000_000: 74}
"""Likewise, steps a second of 256 environments."""

_OF_ITEMS = re.compile(r"^(?P<what>.+?),? (?P<items>[\d,]+) items(?P<rest>.*)$")
_OF_ROUNDS = re.compile(r"^(?P<rounds>[\d,]+) rounds, [\d,]+ items: (?P<rest>time|memory)$")


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The lines that :mod:`.scale` wrote, of all sections."""
    report = json.loads(path.read_text(encoding="utf-8"))
    return [line for section in report.values() for line in section["lines"]]


def summary(lines: list[dict[str, Any]]) -> str:
    """A table of simulating and stepping by items, in Markdown, of the lines of :mod:`.scale`."""
    simulated = _by_items(lines, "simulate rounds", "")
    memory = _by_items(lines, "simulate rounds", ": memory")
    steps = _by_items(lines, f"step {_num_envs(lines)} environments", "")
    roofs = _by_items(lines, "simulate rounds", "", peer="its arithmetic")
    exact = _by_items(lines, f"step {_num_envs(lines)} environments", "", peer="exact")
    make = _by_items(lines, "make", "")
    rows = [
        [
            f"{items:,}",
            _cell(simulated, items),
            _share(simulated, roofs, items),
            _before(FORMER_ROUNDS, items),
            _cell(memory, items),
            _cell(steps, items),
            _cell(exact, items),
            _before(FORMER_STEPS, items),
            _cell(make, items),
        ]
        for items in simulated
    ]
    header = (
        "items",
        "rounds/s",
        "of its arithmetic",
        "before",
        "memory, GB",
        "steps/s, auto",
        "exact",
        "before",
        "make, s",
    )
    return markdown_table(header, rows)


def _num_envs(lines: list[dict[str, Any]]) -> str:
    found = (re.match(r"step (\d+) environments", line["what"]) for line in lines)
    return next((match.group(1) for match in found if match), "")


def _by_items(
    lines: list[dict[str, Any]], what: str, rest: str, peer: str = ""
) -> dict[int, float]:
    """The median of what was measured, or of a peer, by number of items."""
    medians = {}
    for line in lines:
        match = _OF_ITEMS.match(line["what"])
        if match is None or match.group("what", "rest") != (what, rest):
            continue
        values = line["peers"] if peer else line["measured"]
        if values and peer in ("", line["peer"]):
            medians[int(match.group("items").replace(",", ""))] = statistics.median(values)
    return medians


def _cell(values: Mapping[int, float], items: int) -> str:
    return number(values[items]) if items in values else ""


def _share(values: Mapping[int, float], of: Mapping[int, float], items: int) -> str:
    return f"{values[items] / of[items]:.0%}" if items in values and items in of else ""


def _before(told: Mapping[int, float], items: int) -> str:
    return number(told[items]) if items in told else ""


def draw_growth(path: Path, picture: Path) -> list[Path]:
    """Draw time and memory against items and against rounds, of a file that :mod:`.scale` wrote.

    Raises:
        PlotsMissingError: matplotlib is not installed.
    """
    lines = read_lines(path)
    figure, panels = plots.new_panels(2, 2, 8.0, 6.0, share="")
    simulated = _by_items(lines, "simulate rounds", "")
    series = {
        "simulate a round": simulated,
        "its arithmetic": _by_items(lines, "simulate rounds", "", peer="its arithmetic"),
        "before": {n: rate for n, rate in FORMER_ROUNDS.items() if n in simulated},
        "step of an environment, auto": _by_items(
            lines, f"step {_num_envs(lines)} environments", ""
        ),
    }
    for colour, (name, rates) in zip(plots.COLOURS, series.items(), strict=False):
        milliseconds = [1e3 / rate for rate in rates.values()]
        panels[0][0].plot(list(rates), milliseconds, "o-", ms=4, color=colour, label=name)
    memory = _by_items(lines, "simulate rounds", ": memory")
    panels[0][1].plot(list(memory), list(memory.values()), "o-", ms=4, color=plots.COLOURS[0])
    for axes, what in zip(panels[1], ("time", "memory"), strict=True):
        rounds = _by_rounds(lines, what)
        axes.plot(list(rounds), list(rounds.values()), "o-", ms=4, color=plots.COLOURS[0])
    labels = ("ms each", "peak memory, GB", "s", "peak memory, GB")
    for axes, label in zip([*panels[0], *panels[1]], labels, strict=True):
        axes.set_ylabel(label)
        if any(np.size(line.get_xdata()) for line in axes.lines):  # else the section was left out
            axes.set_xscale("log")
            axes.xaxis.minorticks_off()
            if label in ("ms each", "s"):
                axes.set_yscale("log")
        axes.set_xlabel("items" if axes in panels[0] else "rounds, of the largest catalogue")
    for axes in (panels[0][1], panels[1][1]):
        axes.set_ylim(0.0, 1.2 * axes.get_ylim()[1])
    panels[0][0].legend(frameon=False, fontsize=8)
    return plots.save(figure, picture)


def _by_rounds(lines: list[dict[str, Any]], what: str) -> dict[int, float]:
    """The median of time or memory by number of rounds."""
    found = ((line, _OF_ROUNDS.match(line["what"])) for line in lines)
    return {
        int(match.group("rounds").replace(",", "")): statistics.median(line["measured"])
        for line, match in found
        if match is not None and match.group("rest") == what
    }
