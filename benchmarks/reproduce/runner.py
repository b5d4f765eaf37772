"""Run experiments by name, and keep what came out: numbers, tables, pictures, verdicts."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from recsim_drpo.benchmarks.reproduce.experiments import (
    figure1,
    figure3,
    figure6,
    phase_map,
    readings,
    table1,
    table2,
    table3,
    table6,
    worlds,
)
from recsim_drpo.benchmarks.reproduce.framework.documents import Table
from recsim_drpo.benchmarks.reproduce.framework.drawings import drawings
from recsim_drpo.benchmarks.reproduce.framework.experiment import Experiment, Result
from recsim_drpo.benchmarks.reproduce.framework.settings import Settings
from recsim_drpo.benchmarks.reproduce.results import read_panels, read_result
from recsim_drpo.benchmarks.reproduce.theory import figure2, theorems
from recsim_drpo.core.executor import Engine
from recsim_drpo.core.files import write_atomically
from recsim_drpo.core.validation import check_integer, unknown_name
from recsim_drpo.reporting import plots
from recsim_drpo.reporting.tables import markdown_table

RESULT = "result.json"
TABLES = "tables.md"
PANELS = "panels"
_MOST_PROCESSES = 1_024
_MOST_SEEDS = 100_000
"""File, and key of a loaded result: the lines of its pictures, for the report."""


EXPERIMENTS: dict[str, Experiment] = {
    experiment.name: experiment
    for experiment in (
        figure1.EXPERIMENT,
        figure6.EXPERIMENT,
        table1.EXPERIMENT,
        readings.EXPERIMENT,
        worlds.EXPERIMENT,
        table2.EXPERIMENT,
        table3.EXPERIMENT,
        table6.EXPERIMENT,
        figure3.EXPERIMENT,
        figure2.EXPERIMENT,
        theorems.EXPERIMENT,
        phase_map.EXPERIMENT,
    )
}
"""By name, in the order in which all of them are run."""


def reproduce(
    names: Sequence[str],
    settings: Settings,
    experiments: Mapping[str, Experiment] = EXPERIMENTS,
) -> list[Result]:
    """Run experiments, each into a folder of its name below ``settings.folder``.

    A run that was stopped goes on where it was. The folder of an experiment has ``result.json``
    (configuration, versions, verdicts, tables and every run's numbers), ``tables.md`` and pictures
    as PNG and SVG.

    Args:
        names: of experiments, or ``["all"]``.
        settings: how.
        experiments: those that there are, by name.

    Raises:
        ValueError: an unknown name, a number of seeds for an experiment that has none, a folder
            that holds results of another configuration, or an engine that cannot be had.
    """
    check_integer("processes", settings.processes, 1, _MOST_PROCESSES)
    if settings.num_seeds is not None:
        check_integer("seeds", settings.num_seeds, 1, _MOST_SEEDS)
    wanted = list(experiments) if list(names) == ["all"] else list(names)
    for name in wanted:
        if name not in experiments:
            raise unknown_name("experiment", name, [*experiments, "all"])
        if name in names and settings.num_seeds is not None and not experiments[name].seeded:
            raise ValueError(
                f"seeds={settings.num_seeds}: {name} has none, its instances are fixed; leave the "
                "number of seeds out. (With all, it counts for the others.)"
            )
    with (settings.engine or Engine()).opened():
        return [
            _kept(experiments[name], replace(settings, folder=settings.folder / name))
            for name in wanted
        ]


def _kept(experiment: Experiment, settings: Settings) -> Result:
    """The result of an experiment, which is written into its folder."""
    settings.folder.mkdir(parents=True, exist_ok=True)
    result = experiment.run(settings)
    write_atomically(settings.folder / RESULT, json.dumps(result, indent=1) + "\n")
    write_atomically(settings.folder / TABLES, as_markdown(result))
    draw(experiment, result, settings.folder)
    return result


def draw(experiment: Experiment, result: Result, folder: Path) -> None:
    """Write the pictures of a result, and their lines as numbers, if matplotlib is installed."""
    try:
        figures = experiment.draw(result, folder)
    except plots.PlotsMissingError as error:
        print(error)
    else:
        write_atomically(folder / f"{PANELS}.json", json.dumps(drawings(figures)) + "\n")


def load_results(folder: Path) -> list[Result]:
    """The results that :func:`reproduce` left in a folder, in the order of :data:`EXPERIMENTS`.

    Those that :mod:`recsim_drpo.benchmarks.reproduce.publish` made lie in it as ``NAME.json``. A
    single file is read as well.

    Raises:
        ValueError: there are none, or a file is no result.
    """
    if folder.is_file():
        return [read_result(folder)]
    results = []
    for path in sorted(folder.glob(f"*/{RESULT}")) or sorted(folder.glob("*.json")):
        result = read_result(path)
        panels = path.with_name(f"{PANELS}.json")
        if path.name == RESULT and panels.exists():
            result[PANELS] = read_panels(panels)
        results.append(result)
    if not results:
        raise ValueError(
            f"{str(folder)!r} holds no results; name the folder that has some (--results), or make "
            "them: recsim-drpo reproduce all --quick"
        )
    order = list(EXPERIMENTS)
    return sorted(
        results,
        key=lambda result: (
            order.index(result["experiment"]) if result["experiment"] in order else len(order)
        ),
    )


def as_markdown(result: Mapping[str, Any]) -> str:
    """Markdown of a result's tables and verdicts."""
    return "\n\n".join([*_tables(result), verdict_table(result["verdicts"])]) + "\n"


def as_text(result: Mapping[str, Any], width: int = 100) -> str:
    """A result's tables and verdicts for a terminal: claims, a table too wide there, as lines.

    Args:
        result: of :func:`reproduce`.
        width: characters to a line of the verdicts.
    """
    parts = _tables(result)
    for verdict in result["verdicts"]:
        told = [("it says", "statement"), *((key, key) for key in ("paper", "ours", "because"))]
        lines = [f"{verdict['verdict'].upper()}: {verdict['claim']}"]
        lines += [f"  {label}: {verdict[key]}" for label, key in told if verdict[key]]
        wrapped = (textwrap.fill(line, width, subsequent_indent="    ") for line in lines)
        parts.append("\n".join(wrapped))
    return "\n\n".join(parts) + "\n"


def _tables(result: Mapping[str, Any]) -> list[str]:
    """The title of a result and its tables, as Markdown."""
    parts = [f"# {result['experiment']}" + (" (quick)" if result["quick"] else "")]
    if result["quick"]:
        parts.append("**Quick: few seeds and short training. Only the full run is evidence.**")
    return parts + [Table(**table).markdown() for table in result["tables"]]


def verdict_table(verdicts: Sequence[Mapping[str, Any]]) -> str:
    """A Markdown table of claims with the paper's numbers, ours, and the verdicts."""
    header = ["claim", "the paper says", "paper", "ours", "verdict", "because"]
    keys = ("claim", "statement", "paper", "ours", "verdict", "because")
    return markdown_table(header, [[str(verdict[key]) for key in keys] for verdict in verdicts])
