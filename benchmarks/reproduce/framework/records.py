"""Queries on the records of a study: which there are, what they measured, which variant to take.

A record is of one run: an agent's variant, trained on a seed's log of a condition.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from recsim_drpo.benchmarks.reproduce.framework.agent_suite import GRIDS
from recsim_drpo.benchmarks.reproduce.framework.estimates import Floats
from recsim_drpo.benchmarks.reproduce.framework.study import Record


def select(records: Sequence[Record], **wanted: Any) -> list[Record]:
    """The records whose fields have the wanted values."""
    return [r for r in records if all(r[key] == value for key, value in wanted.items())]


def distinct(records: Sequence[Mapping[str, Any]], key: str) -> list[Any]:
    """The values of a field, each once, in the order in which they first occur."""
    return list(dict.fromkeys(record[key] for record in records))


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


def best_of(agents: Sequence[str], records: Sequence[Record], condition: str) -> str:
    """The agent of largest mean eCPM on validation users, of those that were trained."""
    known = distinct(records, "agent")
    means = {
        name: np.mean([r["validation"] for r in select(records, condition=condition, agent=name)])
        for name in agents
        if name in known
    }
    return max(means, key=lambda name: float(means[name]))


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
