"""Statistics of agents over all conditions of an experiment together, and their profiles."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from recsim_drpo.benchmarks.reproduce.framework.agent_suite import KINDS, kind_of
from recsim_drpo.benchmarks.reproduce.framework.documents import Table
from recsim_drpo.benchmarks.reproduce.framework.estimates import Floats, brief, mean_of
from recsim_drpo.benchmarks.reproduce.framework.records import (
    agents_of,
    cross_fitted,
    distinct,
    tuned,
)
from recsim_drpo.benchmarks.reproduce.framework.study import Record
from recsim_drpo.reporting import comparison, plots
from recsim_drpo.reporting.statistics import Estimate

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def suite_scores(records: Sequence[Record]) -> dict[str, Floats]:
    """Scores (num_seeds, conditions) by agent: 0 is random items' eCPM, 1 the oracle's."""
    conditions = distinct(records, "condition")
    return {
        agent: np.stack([tuned(records, c, agent, "normalized") for c in conditions], axis=1)
        for agent in agents_of(records)
    }


def suite(title: str, records: Sequence[Record]) -> Table:
    """A table of interquartile means, optimality gaps and probabilities that DRPO is better."""
    scores = suite_scores(records)
    rows = [
        [
            agent,
            brief(_together(runs, comparison.interquartile_mean)),
            brief(_together(runs, comparison.optimality_gap)),
            ""
            if agent == "drpo"
            else brief(
                comparison.probability_of_improvement(scores["drpo"], runs, shared_seeds=True)
            ),
        ]
        for agent, runs in scores.items()
    ]
    seeds, conditions = scores["drpo"].shape
    return Table(
        title,
        ["agent", "interquartile mean", "optimality gap", "P(DRPO better)"],
        rows,
        f"Of the share of the optimum: 0 is random items, 1 the oracle. {conditions} conditions, "
        f"{seeds} seeds, resampled whole"
        + ("; of so few seeds bootstrap intervals are too narrow." if seeds < 10 else "."),
    )


BEST, BEST_OF_ALL = "The best of each kind", "best of all"
"""Title of a table, and its column of what wins, from which sentences are made."""


def kinds(records: Sequence[Record]) -> Table:
    """A table of the best agent of all, and of the best of each kind, on every log.

    Each is chosen by cross-fitting (:func:`.records.cross_fitted`); so is what it is measured by.
    """
    there = agents_of(records)
    by_kind = {
        kind: [name for name in names if name in there]
        for kind, names in KINDS.items()
        if any(name in there for name in names)
    }
    rows, firsts = [], Counter[str]()
    for condition in distinct(records, "condition"):
        best = cross_fitted(records, condition, there)
        chosen = [cross_fitted(records, condition, names) for names in by_kind.values()]
        firsts[kind_of(best.name)] += 1
        cells = (f"{one.told()}: {mean_of(one.scores)}" for one in chosen)
        rows.append([condition, f"{best.told()}: {mean_of(best.scores)}", *cells])
    said = ", ".join(f"{kind} {count}" for kind, count in firsts.most_common())
    note = (
        f"eCPM on test users. The best agent of all is, on {len(rows)} logs, of the kind: {said}. "
        "Chosen for each seed by the validation users of all other seeds, whose number is in "
        "brackets where not all choose one."
    )
    return Table(BEST, ["log", BEST_OF_ALL, *by_kind], rows, note)


def _together(runs: Floats, statistic: comparison.Statistic) -> Estimate:
    # A seed's logs of all conditions share their users and their noise.
    return comparison.stratified_bootstrap(runs, statistic, shared_seeds=True)


def draw_profiles(path: Path, records: Sequence[Record]) -> Figure:
    """A picture of the performance profiles of the six best agents of a suite."""
    thresholds = np.linspace(0.0, 1.0, 101)
    scores = suite_scores(records)
    best = sorted(scores, key=lambda agent: -float(scores[agent].mean()))[:6]
    profiles = {
        agent: comparison.performance_profile(scores[agent], thresholds, shared_seeds=True)
        for agent in best
    }
    return plots.profiles(path, thresholds, profiles, "share of the optimum")
