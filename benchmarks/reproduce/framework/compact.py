"""Compact records, as they are committed: every run's numbers, in a tenth of the room.

Runs of one condition, agent and variant are a row: places in the lists of conditions, variants and
seeds, then for each metric its values over the seeds. Learning curves are left out, or beside the
rows: for each its seeds' steps and values. What a study followed besides is left out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from recsim_drpo.benchmarks.reproduce.framework.estimates import rounded
from recsim_drpo.benchmarks.reproduce.framework.study import Record
from recsim_drpo.simulator.config import ECPM_PER_REWARD

METRICS = ("ecpm", "distance", "normalized")
"""What is kept of a run's test metrics; the reward is a fifth of the eCPM."""

SESSION_METRICS = ("return", "session_length")
"""The same of runs whose users have sessions."""

LATER = ("coverage",)
"""Test metrics that are kept too, where there are any: files of before have none."""

_TESTED = (*METRICS, *SESSION_METRICS)
_OWN = ("validation", "offline", "diverged_at")
_DIGITS = 6  # enough that intervals over two seeds come out as they were


def compacted(records: Sequence[Record], *, curves: bool = False) -> dict[str, Any]:
    """Compact records: ``conditions``, ``variants``, ``seeds``, ``columns`` and ``rows``.

    Args:
        records: of :meth:`.study.Study.run`, runs of different seeds beside one another.
        curves: keep learning curves too, under ``curves``.
    """
    conditions, variants, seeds = _Places(), _Places(), _Places()
    there = (n for n in (*LATER, *_OWN) if any(_value(r, n) is not None for r in records))
    of_sessions = any("return" in record["test"] for record in records)
    columns = [*(SESSION_METRICS if of_sessions else METRICS), *there]
    rows, drawn = [], []
    for (condition, agent, variant), group in groupby(
        records, lambda r: (r["condition"], r["agent"], r["variant"])
    ):
        runs = list(group)
        place = [
            conditions.of(condition),
            variants.of([agent, variant, runs[0]["overrides"]]),
            seeds.of([run["seed"] for run in runs]),
        ]
        by_column = ([_value(run, name) for run in runs] for name in columns)
        rows.append([*place, *map(_rounded, by_column)])
        drawn.append([rounded(_turned(run.get("curve", [])), _DIGITS) for run in runs])
    compact = {
        "conditions": conditions.all,
        "variants": variants.all,
        "seeds": seeds.all,
        "columns": columns,
        "rows": rows,
    }
    return compact | ({"curves": drawn} if curves else {})


def _turned(curve: Sequence[Sequence[Any]]) -> list[list[Any]]:
    """Steps and values of pairs of step and value, and the other way round."""
    return [list(column) for column in zip(*curve, strict=True)]


def expanded(compact: Mapping[str, Any]) -> list[Record]:
    """The records that :func:`compacted` was given, less what it leaves out."""
    records: list[Record] = []
    drawn = compact.get("curves") or [None] * len(compact["rows"])
    for (condition, variant, seeds, *by_column), curves in zip(compact["rows"], drawn, strict=True):
        agent, number, overrides = compact["variants"][variant]
        columns = dict(zip(compact["columns"], by_column, strict=True))
        for k, seed in enumerate(compact["seeds"][seeds]):
            own = {name: None if v is None else v[k] for name, v in columns.items()}
            test = {name: own.pop(name) for name in (*_TESTED, *LATER) if name in own}
            if "ecpm" in test:
                test["reward"] = None if test["ecpm"] is None else test["ecpm"] / ECPM_PER_REWARD
            records.append(
                {
                    "condition": compact["conditions"][condition],
                    "agent": agent,
                    "variant": number,
                    "overrides": overrides,
                    "seed": seed,
                    "test": test,
                    **dict.fromkeys(_OWN),
                    **own,
                    **({"curve": _turned(curves[k])} if curves else {}),
                }
            )
    return records


def _value(record: Record, name: str) -> Any:
    if name in LATER:
        return record["test"].get(name)
    return record["test"][name] if name in _TESTED else record[name]


def _rounded(values: Sequence[float | None]) -> Any:
    """The values with few digits, or ``None`` where there is none at all."""
    return None if all(value is None for value in values) else rounded(list(values), _DIGITS)


class _Places:
    """A list of different values that knows the position of each."""

    def __init__(self) -> None:
        self.all: list[Any] = []
        self._places: dict[str, int] = {}

    def of(self, value: Any) -> int:
        key = json.dumps(value, sort_keys=True)
        if key not in self._places:
            self._places[key] = len(self.all)
            self.all.append(value)
        return self._places[key]
