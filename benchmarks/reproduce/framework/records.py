"""Queries on the records of a study: which there are, what they measured, which variant to take.

A record is of one run: an agent's variant, trained on a seed's log of a condition.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from recsim_drpo.benchmarks.reproduce.framework.agent_suite import GRIDS
from recsim_drpo.benchmarks.reproduce.framework.estimates import Floats
from recsim_drpo.benchmarks.reproduce.framework.study import Record
from recsim_drpo.core.provenance import revision


def select(records: Sequence[Record], **wanted: Any) -> list[Record]:
    """The records whose fields have the wanted values."""
    return [r for r in records if all(r[key] == value for key, value in wanted.items())]


def distinct(records: Sequence[Mapping[str, Any]], key: str) -> list[Any]:
    """The values of a field, each once, in the order in which they first occur."""
    return list(dict.fromkeys(record[key] for record in records))


def revisions_of(records: Sequence[Record]) -> str:
    """The revisions of the code that made records, separated by commas; of none the present one.

    They are several where a stopped study was gone on with after the code had changed. Records of
    before, and those taken over from published results, do not say.
    """
    told = dict.fromkeys(str(record["revision"]) for record in records if "revision" in record)
    return ", ".join(told) or revision()


def agents_of(records: Sequence[Record]) -> list[str]:
    """The agents that were run, in the order of :data:`.agent_suite.GRIDS`."""
    there = distinct(records, "agent")
    return [name for name in GRIDS if name in there]


def values(records: Sequence[Record], metric: str = "ecpm", **wanted: Any) -> Floats:
    """A test metric of some records in the order of their seeds; NaN where there is none.

    Raises:
        ValueError: there is no such record, or a seed more than once.
    """
    chosen = sorted(select(records, **wanted), key=lambda record: int(record["seed"]))
    seeds = [record["seed"] for record in chosen]
    if not chosen or len(set(seeds)) < len(seeds):
        raise ValueError(f"{len(chosen)} records with seeds {seeds} are {wanted}.")
    return np.array([record["test"].get(metric) for record in chosen], dtype=np.float64)


def tuned(records: Sequence[Record], condition: str, agent: str, metric: str = "ecpm") -> Floats:
    """A test metric over seeds of the variant chosen on validation users."""
    variant = best_variant(records, condition, agent)
    return values(records, metric, condition=condition, agent=agent, variant=variant)


def best_variant(records: Sequence[Record], condition: str, agent: str) -> int:
    """The variant of largest mean eCPM on validation users: none of them is a test user."""
    runs = select(records, condition=condition, agent=agent)
    variants = sorted({record["variant"] for record in runs})
    means = [np.mean([r["validation"] for r in select(runs, variant=v)]) for v in variants]
    return int(variants[int(np.argmax(means))])


class Chosen(NamedTuple):
    """What a choice among agents and variants measured, and what was chosen.

    Attributes:
        scores: test metric (num_seeds,), each of the agent chosen without that seed.
        agents: names by how many seeds chose them, most often first.
    """

    scores: Floats
    agents: Mapping[str, int]

    @property
    def name(self) -> str:
        """The agent that was chosen most often."""
        return next(iter(self.agents))

    def told(self) -> str:
        """The agents and how often each was chosen, as text; of one alone its name."""
        if len(self.agents) == 1:
            return self.name
        return ", ".join(f"{name} ({count})" for name, count in self.agents.items())


def cross_fitted(
    records: Sequence[Record], condition: str, agents: Sequence[str], metric: str = "ecpm"
) -> Chosen:
    """A test metric of the best of several agents, chosen for each seed by the other seeds.

    Each seed is measured with the agent and variant of largest mean eCPM on validation users over
    all other seeds, so that no run is both what chooses and what is measured: the largest of
    several means looks better than it is. Of a single seed, its own validation chooses.

    Args:
        records: with the same seeds of every variant.
        condition: its label.
        agents: names, of which those that were trained are compared.
        metric: of the test.

    Raises:
        ValueError: none of the agents was trained.
    """
    runs: dict[tuple[str, int], dict[int, Record]] = {}
    for record in select(records, condition=condition):
        if record["agent"] in agents:
            runs.setdefault((record["agent"], record["variant"]), {})[record["seed"]] = record
    if not runs:
        raise ValueError(f"None of {', '.join(agents)} was trained in {condition!r}.")
    seeds = sorted(next(iter(runs.values())))
    told = [[by[seed]["validation"] for seed in seeds] for by in runs.values()]
    scores = [[by[seed]["test"].get(metric) for seed in seeds] for by in runs.values()]
    names = [agent for agent, _ in runs]
    return _without_own(names, np.array(told, dtype=float), np.array(scores, dtype=float))


def cross_fitted_scores(scores: Mapping[str, Floats], agents: Sequence[str]) -> Chosen:
    """The best of several agents, chosen for each seed by what they score on the other seeds.

    Args:
        scores: (num_seeds,) by agent, paired.
        agents: names, of which those that have scores are compared.

    Raises:
        ValueError: none of the agents has scores.
    """
    there = [name for name in agents if name in scores]
    if not there:
        raise ValueError(f"None of {', '.join(agents)} has scores.")
    table = np.array([scores[name] for name in there], dtype=np.float64)
    return _without_own(there, table, table)


def _without_own(names: Sequence[str], told: Floats, scores: Floats) -> Chosen:
    """What each seed scores with the row that all other seeds are told is the best one."""
    others = told if told.shape[1] == 1 else told.sum(axis=1, keepdims=True) - told
    best = others.argmax(axis=0)
    counts = Counter(names[row] for row in best)
    return Chosen(scores[best, np.arange(len(best))], dict(counts.most_common()))


def chosen_offline(
    records: Sequence[Record], condition: str, agent: str, metric: str = "ecpm"
) -> Floats:
    """A test metric of the variant that each seed's held-out log would choose: (num_seeds,)."""
    runs = select(records, condition=condition, agent=agent)
    chosen = []
    for seed in sorted({record["seed"] for record in runs}):
        best = max(select(runs, seed=seed), key=lambda record: float(record["offline"]))
        chosen.append(best["test"][metric])
    return np.array(chosen, dtype=np.float64)
