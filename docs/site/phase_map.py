"""The phase map on the site: what every agent earns on each of its logs, from the published result.

Nothing is loaded at view: the numbers are in the page, and ``phase_map.js`` shows them. Whoever has
no JavaScript reads the table of the best agents. Only Python's own library is used, since the site
is built where no other is installed.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
RESULT = ROOT / "benchmarks/results/reproduce/phase-map.json"
PAGE = "phase_map.md"
MARK = "<!-- phase-map -->"

AXES = {
    "noise_share": "share of random rounds",
    "reward_noise": "reward noise σ",
    "popularity_bias": "popularity bias α of the logger",
    "rounds": "rounds logged",
}

# 97.5 % of Student's t, by degrees of freedom from 1 on.
STUDENT = (
    *(12.7062, 4.30265, 3.18245, 2.77645, 2.57058, 2.44691, 2.36462, 2.30600, 2.26216, 2.22814),
    *(2.20099, 2.17881, 2.16037, 2.14479, 2.13145, 2.11991, 2.10982, 2.10092, 2.09302, 2.08596),
)

Scores = dict[str, dict[int, float]]
"""By agent and seed, a log's eCPM on test users."""


def on_page_markdown(markdown: str, page: Any, **kwargs: Any) -> str:
    """Return the phase map's page with its numbers, any other as it is."""
    if page.file.src_uri != PAGE:
        return markdown
    return filled(markdown, json.loads(RESULT.read_text(encoding="utf-8")))


def filled(markdown: str, result: Mapping[str, Any]) -> str:
    """Return the page with the map of a result in place of the mark.

    Raises:
        ValueError: the mark is not there once.
    """
    if markdown.count(MARK) != 1:
        raise ValueError(f"{PAGE} has {MARK} {markdown.count(MARK)} times, not once.")
    logs = logs_of(result)
    return markdown.replace(MARK, "\n".join([*shown(logs), "", *table(logs)]))


def logs_of(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return each log of the map: where it is (``at``), and its agents, the best one first.

    An agent has its name, its mean eCPM over seeds with a 95 % interval by Student's t, and how
    much less than the best one's it is, paired by seed, with its interval.
    """
    scores = scores_of(result["records"])
    logs = []
    for point in result["data"]["points"]:
        own = {name: by for name, by in scores[point["label"]].items() if by}
        best = max(own, key=lambda name: fmean(own[name].values()))
        agents = []
        for name, by in own.items():
            paired = [score - by[seed] for seed, score in own[best].items() if seed in by]
            behind = interval(paired or [fmean(own[best].values()) - fmean(by.values())])
            numbers = (*interval(list(by.values())), *behind)
            agents.append([name, *(None if n is None else round(n, 4) for n in numbers)])
        agents.sort(key=lambda agent: (-agent[1], agent[0] != best))
        logs.append({"at": [point[axis] for axis in AXES], "agents": agents})
    return logs


def scores_of(records: Mapping[str, Any]) -> dict[str, Scores]:
    """Return what the compact records of a result hold: condition → agent → seed → eCPM.

    A run that diverged has none; an agent's further variants have their number in the name.
    """
    column = 3 + records["columns"].index("ecpm")
    scores: dict[str, Scores] = {}
    for row in records["rows"]:
        name, variant, _ = records["variants"][row[1]]
        agent = f"{name} #{variant}" if variant else name
        seeds = records["seeds"][row[2]]
        values = row[column] or [None] * len(seeds)
        by = scores.setdefault(records["conditions"][row[0]], {}).setdefault(agent, {})
        by |= {seed: v for seed, v in zip(seeds, values, strict=True) if v is not None}
    return scores


def interval(values: Sequence[float]) -> tuple[float, float | None, float | None]:
    """Return the mean and its 95 % interval by Student's t, of which one value alone has none.

    Raises:
        ValueError: there are none, or more than the table of t has.
    """
    if not 1 <= len(values) <= len(STUDENT) + 1:
        raise ValueError(f"{len(values)} seeds; from 1 to {len(STUDENT) + 1} can be shown.")
    mean = fmean(values)
    if len(values) == 1:
        return mean, None, None
    margin = STUDENT[len(values) - 2] * stdev(values) / math.sqrt(len(values))
    return mean, mean - margin, mean + margin


def told(agent: Sequence[Any]) -> bool:
    """Whether an agent that is not the best one is told from it."""
    return agent[5] is not None and agent[5] > 0


def shown(logs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return lines of HTML: where the map is shown, and its numbers."""
    data = {"axes": list(AXES.items()), "logs": list(logs)}
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    return [
        '<div id="map-view"></div>',
        f'<script type="application/json" id="map-data">{text}</script>',
    ]


def table(logs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return lines of Markdown: the best agent of each log, and those that are not told from it."""
    lines = [
        f'<details markdown="1"><summary>The best agent of all {len(logs)} logs</summary>',
        "",
        f"| {' | '.join(AXES.values())} | best | eCPM | not told from it |",
        "| ---: | ---: | ---: | ---: | --- | ---: | --- |",
    ]
    for log in logs:
        best, *others = log["agents"]
        open_ones = ", ".join(agent[0] for agent in others if not told(agent))
        places = " | ".join(f"{value:,g}" for value in log["at"])
        value = f"{best[1]:.2f}"
        if best[2] is not None:
            value += f" [{best[2]:.2f}, {best[3]:.2f}]"
        lines.append(f"| {places} | {best[0]} | {value} | {open_ones} |")
    return [*lines, "", "</details>"]
