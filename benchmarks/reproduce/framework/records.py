"""Queries on the records of a study."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from recsim_drpo.benchmarks.reproduce.framework.estimates import Floats
from recsim_drpo.benchmarks.reproduce.framework.study import Record


def select(records: Sequence[Record], **wanted: Any) -> list[Record]:
    """The records whose fields have the given values."""
    return [r for r in records if all(r[key] == value for key, value in wanted.items())]


def values(records: Sequence[Record], metric: str = "ecpm", **wanted: Any) -> Floats:
    """A test metric of some records in the order of their seeds; NaN where there is none.

    Raises:
        ValueError: there is no such record, or a seed more than once.
    """
    found = sorted(select(records, **wanted), key=lambda record: int(record["seed"]))
    seeds = [record["seed"] for record in found]
    if not found or len(set(seeds)) < len(seeds):
        raise ValueError(f"{len(found)} records with seeds {seeds} are {wanted}.")
    return np.array([record["test"][metric] for record in found], dtype=np.float64)


def best_variant(records: Sequence[Record], condition: str, agent: str) -> int:
    """The variant of largest mean eCPM on validation users: none of them is a test user."""
    found = select(records, condition=condition, agent=agent)
    variants = sorted({record["variant"] for record in found})
    means = [np.mean([r["validation"] for r in select(found, variant=v)]) for v in variants]
    return int(variants[int(np.argmax(means))])


def best_of(agents: Sequence[str], records: Sequence[Record], condition: str) -> str:
    """The agent of largest mean eCPM on validation users, of those that were trained."""
    known = {record["agent"] for record in records}
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
    found = select(records, condition=condition, agent=agent)
    chosen = []
    for seed in sorted({record["seed"] for record in found}):
        best = max(select(found, seed=seed), key=lambda record: float(record["offline"]))
        chosen.append(best["test"][metric])
    return np.array(chosen, dtype=np.float64)
