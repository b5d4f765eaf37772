"""Records in little room."""

from __future__ import annotations

import json

from recsim_drpo.benchmarks.reproduce import publish
from recsim_drpo.benchmarks.reproduce.framework.compact import compacted, expanded
from tests.benchmarks.reproduce.published import record


def test_compact_records_tell_studies_of_other_seeds_apart():
    records = [record("main", seed) | {"offline": 0.5} for seed in (0, 1, 2)]
    records += [record("elsewhere", seed) | {"diverged_at": 9 * seed or None} for seed in (5, 0)]
    compact = compacted(records)
    assert compact["seeds"] == [[0, 1, 2], [5, 0]]
    assert len(compact["rows"]) == 2
    again = expanded(json.loads(json.dumps(compact)))
    keys = ("condition", "seed", "offline", "diverged_at")
    assert [[one[key] for key in keys] for one in again] == [
        ["main", 0, 0.5, None],
        ["main", 1, 0.5, None],
        ["main", 2, 0.5, None],
        ["elsewhere", 5, None, 45],
        ["elsewhere", 0, None, None],
    ]


def test_twenty_seeds_of_many_conditions_are_small():
    records = [
        record(f"condition {c}", seed) | {"validation": seed / 7.0 + c / 3.0}
        for c in range(200)
        for seed in range(20)
    ]
    assert len(publish.as_text(compacted(records))) < 40 * len(records)
