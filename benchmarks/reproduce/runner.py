"""Run experiments by name, and keep what came out: numbers, tables, pictures, verdicts."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recsim_drpo.benchmarks.reproduce.experiments import (
    figure1,
    figure3,
    figure6,
    phase_map,
    table1,
    table2,
    table3,
    table6,
    worlds,
)
from recsim_drpo.benchmarks.reproduce.framework.compact import expanded
from recsim_drpo.benchmarks.reproduce.framework.documents import Table, report_of
from recsim_drpo.benchmarks.reproduce.framework.drawings import drawings
from recsim_drpo.benchmarks.reproduce.framework.settings import Settings
from recsim_drpo.benchmarks.reproduce.theory import figure2, theorems as theory
from recsim_drpo.core.files import write_aside
from recsim_drpo.core.validation import check_integer, unknown_name
from recsim_drpo.reporting import plots
from recsim_drpo.reporting.tables import markdown_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RESULT = "result.json"
TABLES = "tables.md"
PANELS = "panels"
"""File, and key of a loaded result: the lines of its pictures, for the report."""


@dataclass(frozen=True)
class Experiment:
    """What a name stands for.

    Attributes:
        about: one line.
        run: trains and measures; the dictionary that is kept as JSON.
        draw: writes the pictures of such a dictionary into a folder; their figures by file name.
        seeded: whether it has seeds, of which there can be more or fewer.
    """

    about: str
    run: Callable[[Settings], dict[str, Any]]
    draw: Callable[[dict[str, Any], Path], Mapping[str, Figure]]
    seeded: bool = True


def _without_agents(run: Callable[[Settings], dict[str, Any]]) -> Callable[[Settings], Any]:
    """An experiment that compares no agents, and so has no tables and records of theirs."""

    def with_settings(settings: Settings) -> dict[str, Any]:
        started = time.monotonic()
        found = run(settings)
        seconds = time.monotonic() - started
        frame = report_of(found["experiment"], settings, [], [], [], [], seconds, found["data"])
        return frame | {"verdicts": found["verdicts"]}

    return with_settings


EXPERIMENTS: dict[str, Experiment] = {
    "figure1": Experiment("how eCPM is spread over logged rounds", figure1.run, figure1.draw),
    "figure6": Experiment(
        "items, what they are worth, who is shown them", figure6.run, figure6.draw
    ),
    "table1": Experiment("all agents in both scenarios", table1.run, table1.draw),
    "worlds": Experiment("Table 1's headlines on eight other worlds", worlds.run, worlds.draw),
    "table2": Experiment("what each part of DRPO contributes", table2.run, table2.draw),
    "table3": Experiment("offline to online, with Figure 4", table3.run, table3.draw),
    "table6": Experiment("fixed filters under two kinds of noise", table6.run, table6.draw),
    "figure3": Experiment("noise injection, 0 to 80 %", figure3.run, figure3.draw),
    "figure2": Experiment(
        "phantom gradients of rejected samples", _without_agents(figure2.run), figure2.draw
    ),
    "theory": Experiment(
        "the propositions and theorems as experiments",
        _without_agents(theory.run),
        theory.draw,
        seeded=False,
    ),
    "phase-map": Experiment("where hard filtering wins", phase_map.run, phase_map.draw),
}


def reproduce(names: Sequence[str], settings: Settings) -> list[dict[str, Any]]:
    """Run experiments, each into a folder of its name below ``settings.folder``.

    A run that was stopped goes on where it was. The folder of an experiment has ``result.json``
    (configuration, versions, verdicts, tables and every run's numbers), ``tables.md`` and pictures
    as PNG and SVG.

    Args:
        names: of :data:`EXPERIMENTS`, or ``["all"]``.
        settings: how.

    Raises:
        ValueError: an unknown name, a number of seeds for an experiment that has none, or a folder
            that holds results of another configuration.
    """
    check_integer("processes", settings.processes, 1)
    if settings.num_seeds is not None:
        check_integer("seeds", settings.num_seeds, 1)
    wanted = list(EXPERIMENTS) if list(names) == ["all"] else list(names)
    for name in wanted:
        if name not in EXPERIMENTS:
            raise unknown_name("experiment", name, [*EXPERIMENTS, "all"])
        if name in names and settings.num_seeds is not None and not EXPERIMENTS[name].seeded:
            raise ValueError(
                f"seeds={settings.num_seeds}: {name} has none, its instances are fixed; leave the "
                "number of seeds out. (With all, it counts for the others.)"
            )
    results = []
    for name in wanted:
        folder = settings.folder / name
        folder.mkdir(parents=True, exist_ok=True)
        result = EXPERIMENTS[name].run(replace(settings, folder=folder))
        write_aside(folder / RESULT, json.dumps(result, indent=1) + "\n")
        write_aside(folder / TABLES, as_markdown(result))
        draw(name, result, folder)
        results.append(result)
    return results


def draw(name: str, result: dict[str, Any], folder: Path) -> None:
    """The pictures of a result, and their lines as numbers, where matplotlib is installed."""
    try:
        figures = EXPERIMENTS[name].draw(result, folder)
    except plots.PlotsMissingError as error:
        print(error)
    else:
        write_aside(folder / f"{PANELS}.json", json.dumps(drawings(figures)) + "\n")


def load_results(folder: Path) -> list[dict[str, Any]]:
    """The results that :func:`reproduce` left in a folder, in the order of :data:`EXPERIMENTS`.

    Those that :mod:`recsim_drpo.benchmarks.reproduce.publish` made lie in it as ``NAME.json``.

    Raises:
        ValueError: there are none, or a file is no result.
    """
    results = []
    for path in sorted(folder.glob(f"*/{RESULT}")) or sorted(folder.glob("*.json")):
        result = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(result, dict) or not {"experiment", "verdicts"} <= result.keys():
            raise ValueError(f"{str(path)!r} is no result of recsim-drpo reproduce.")
        if isinstance(result.get("records"), dict):
            result["records"] = expanded(result["records"])
        panels = path.with_name(f"{PANELS}.json")
        if path.name == RESULT and panels.exists():
            result[PANELS] = json.loads(panels.read_text(encoding="utf-8"))
        results.append(result)
    if not results:
        raise ValueError(
            f"{str(folder)!r} holds no results; make some: recsim-drpo reproduce all --quick"
        )
    order = list(EXPERIMENTS)
    return sorted(
        results,
        key=lambda result: (
            order.index(result["experiment"]) if result["experiment"] in order else len(order)
        ),
    )


def as_markdown(result: Mapping[str, Any]) -> str:
    """Tables and verdicts of a result, as Markdown that reads well in a terminal too."""
    parts = [f"# {result['experiment']}" + (" (quick)" if result["quick"] else "")]
    if result["quick"]:
        parts.append("**Quick: few seeds and short training. Only the full run is evidence.**")
    parts += [Table(**table).markdown() for table in result.get("tables", [])]
    parts.append(verdict_table(result["verdicts"]))
    return "\n\n".join(parts) + "\n"


def verdict_table(verdicts: Sequence[Mapping[str, Any]]) -> str:
    """Claims with the paper's numbers, ours, and what became of them."""
    header = ["claim", "the paper says", "paper", "ours", "verdict", "because"]
    keys = ("claim", "statement", "paper", "ours", "verdict", "because")
    return markdown_table(header, [[str(one[key]) for key in keys] for one in verdicts])
