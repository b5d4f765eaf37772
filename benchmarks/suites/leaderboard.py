"""The leaderboard: results in ``benchmarks/leaderboard`` as a page of the documentation.

``python -m recsim_drpo.benchmarks.suites.leaderboard`` writes ``docs/leaderboard.md`` and its
picture, with which the README begins.
"""

from __future__ import annotations

import html
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from recsim_drpo.agents.builtin import BUILT_IN
from recsim_drpo.benchmarks.reproduce.framework.estimates import brief, interval
from recsim_drpo.benchmarks.suites.result import Result, read
from recsim_drpo.benchmarks.suites.run import reads_of, verify
from recsim_drpo.benchmarks.suites.suite import Suite, load_suite, names
from recsim_drpo.benchmarks.suites.tables import Scores, scores_of
from recsim_drpo.core.files import write_atomically
from recsim_drpo.core.messages import shown_path
from recsim_drpo.reporting import comparison, plots
from recsim_drpo.reporting.statistics import Estimate
from recsim_drpo.reporting.tables import markdown_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FOLDER = Path("benchmarks/leaderboard")
PAGE = Path("docs/leaderboard.md")
PICTURE = Path("docs/images/leaderboard")

STRICT, MET_USERS = "strict", "users chose"
"""How offline an entry is."""

_HEAD = """# Leaderboard

Written by `python -m recsim_drpo.benchmarks.suites.leaderboard` from the files in
[benchmarks/leaderboard](../benchmarks/leaderboard), each checked by `recsim-drpo benchmark verify
FILE`, and from the references of each suite; [benchmark.md](benchmark.md) says how to take part.
eCPM, or the return of sessions, with 95 % intervals over paired seeds; *of optimum* is the
interquartile mean of the share that 0 and 1 of a suite's scale stand for: of eCPM random items and
the oracle.

All agents learn from logs alone. *Offline* says what chose their hyper-parameters: **strict** is
that no user did, **users chose** that the true reward of validation users did. *Tuned by* says it
in detail: nothing, logs, or true-reward. *Reads* is what an agent takes from a log besides
contexts, actions and ends: rewards, logged propensities, the catalogue of items never shown.

[![eCPM of every agent, suite by suite](images/leaderboard.png)](images/leaderboard.svg)

In another colour: the best of a suite, and those whose interval reaches it.
"""


@dataclass(frozen=True)
class Standing:
    """Where an agent stands on a suite.

    Attributes:
        label: what tables call the agent.
        earned: of the suite's metric, the mean of its logs.
        optimum: interquartile mean of the share of the suite's scale.
        told: what is said of the entry: offline, tuned by, reads, made by.
    """

    label: str
    earned: Estimate
    optimum: Estimate
    told: Sequence[str]


def standings(suite: Suite, entries: Sequence[Result]) -> list[Standing]:
    """Where the references of a suite and the entries of it stand, the best first."""
    found = _references(suite)
    for result in entries:
        made = f"`{_plain(result.command)}`, {_plain(result.revision)}"
        reads = _told(result.reads, result.agent, result)
        offline = STRICT if result.strict else MET_USERS
        cells = [offline, result.tuned_by, reads, made]
        found.append(_standing(scores_of(suite, result), result.label, result.label, cells))
    return sorted(found, key=lambda one: -one.earned.value)


def page(results: Sequence[Result]) -> str:
    """The page of some results, suite by suite, the best first."""
    parts = [_HEAD]
    for suite, entries in _by_suite(results):
        how = suite.rules["references"]
        about = f"{suite.title} References: {how} Scale: {suite.metric.scale}."
        parts.append(f"## {suite.name}\n\n{about}\n")
        parts.append(_table(suite, entries) + "\n")
    return "\n".join(parts)


def draw(results: Sequence[Result], path: Path) -> Figure:
    """Draw what everyone earns, suite by suite; of entries with one label the best.

    Agents are in the order of the first suite, and those that it has not follow.

    Args:
        results: the entries.
        path: PNG or SVG to write, or both where it has no suffix.

    Raises:
        plots.PlotsMissingError: the extra ``plots`` is not installed.
    """
    stand = [(suite, standings(suite, entries)) for suite, entries in _by_suite(results)]
    agents = list(dict.fromkeys(one.label for _, found in stand for one in found))
    nothing = Estimate(*[math.nan] * 3)
    panels = {}
    for suite, found in stand:
        earned = {one.label: one.earned for one in reversed(found)}
        title = f"{suite.name}\n{len(suite.labels)} logs, {len(suite.seeds)} seeds"
        panels[title] = suite.metric.label, [earned.get(agent, nothing) for agent in agents]
    return plots.standings(path, agents, panels)


def _by_suite(results: Sequence[Result]) -> list[tuple[Suite, list[Result]]]:
    return [
        (load_suite(name), [result for result in results if result.suite == name])
        for name in names()
    ]


def _table(suite: Suite, entries: Sequence[Result]) -> str:
    rows = [
        [_plain(one.label), brief(one.earned), brief(one.optimum), *one.told]
        for one in standings(suite, entries)
    ]
    header = ["agent", suite.metric.label, "of optimum", "offline", "tuned by", "reads", "made by"]
    return markdown_table(header, rows)


def _references(suite: Suite) -> list[Standing]:
    """Where the references of a suite stand."""
    alone = _references_alone(suite)
    scores = scores_of(suite, alone)
    tuned = suite.references_tuned_by
    offline = STRICT if tuned != "true-reward" else MET_USERS
    command, _, revision = suite.references_command.partition(", ")
    made = f"reference, `{command}`, {revision}" if command else "reference"
    found = {}
    for name in scores.earned:
        agent = name.removesuffix(" (reference)")
        if agent not in found:
            cells = [offline, tuned, _told(None, agent, alone), made]
            found[agent] = _standing(scores, name, agent, cells)
    return [*found.values()]


def _standing(scores: Scores, name: str, label: str, told: Sequence[str]) -> Standing:
    optimum = comparison.stratified_bootstrap(
        scores.normalized[name], comparison.interquartile_mean, shared_seeds=True
    )
    return Standing(label, interval(scores.earned[name].mean(axis=1)), optimum, told)


def _told(reads: Sequence[str] | None, agent: str, result: Result) -> str:
    """What an agent reads, in words; of files of before as the agents that are built in say."""
    if reads is None and agent in BUILT_IN:
        reads = reads_of(agent, result.hyperparameters if agent == result.agent else {})
    if reads is None:
        return "not stated"
    return ", ".join(["rewards", *map(_plain, reads)])


def _plain(text: str) -> str:
    """Text of whoever made a result as text in a table's cell."""
    return html.escape(" ".join(text.split()), quote=False).replace("|", "&#124;").replace("`", "'")


def _references_alone(suite: Suite) -> Result:
    """The references as a result, one of them as its own."""
    first = suite.references[0]["agent"]
    own = [record for record in suite.references if record["agent"] == first]
    return Result(
        suite.name, suite.sha256, first, first, {}, "nothing", False, True, suite.seeds, "", own, ""
    )


def load(folder: Path) -> list[Result]:
    """The results in a folder, by the names of their files.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: a file is no whole result of the suite that it names.
    """
    if not folder.is_dir():
        raise FileNotFoundError(
            f"There is no folder {shown_path(folder)} here; the page is written from the root of a "
            "checkout."
        )
    results = []
    for path in sorted(folder.glob("*.json")):
        result = read(path)
        try:
            verify(load_suite(result.suite), result, folder, again=0)
        except ValueError as error:
            raise ValueError(f"{shown_path(path)} cannot be an entry: {error}") from error
        results.append(result)
    return results


def main() -> None:
    """Write the page and its picture, or say in one line why they cannot be."""
    try:
        results = load(FOLDER)
    except (FileNotFoundError, ValueError) as error:
        sys.exit(f"leaderboard: error: {error}")
    draw(results, PICTURE)
    write_atomically(PAGE, page(results))
    print(f"{PAGE}, {PICTURE}.png, {PICTURE}.svg")


if __name__ == "__main__":
    main()
