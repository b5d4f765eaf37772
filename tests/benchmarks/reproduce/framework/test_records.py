"""Queries on records."""

from __future__ import annotations

import pytest

from recsim_drpo.benchmarks.reproduce.framework import agent_suite
from recsim_drpo.benchmarks.reproduce.framework.records import (
    agents_of,
    best_of,
    best_variant,
    chosen_offline,
    distinct,
    values,
)


def record(agent, seed, ecpm, variant=0, validation=0.0, offline=0.0):
    return {
        "condition": "c",
        "agent": agent,
        "variant": variant,
        "seed": seed,
        "overrides": {},
        "diverged_at": None,
        "test": {"ecpm": ecpm},
        "validation": validation,
        "offline": offline,
    }


def test_variants_are_chosen_on_validation_users_or_offline_never_on_test_users():
    records = [
        record("a", seed, ecpm, variant, validation, offline)
        for variant, validation, rows in (
            (0, 1.0, [(0, 9.0, 0.2), (1, 9.0, 0.9)]),
            (1, 2.0, [(0, 1.0, 0.8), (1, 2.0, 0.1)]),
        )
        for seed, ecpm, offline in rows
    ]
    assert best_variant(records, "c", "a") == 1
    assert values(records, agent="a", variant=1).tolist() == [1.0, 2.0]
    assert chosen_offline(records, "c", "a").tolist() == [1.0, 9.0]
    with pytest.raises(ValueError, match="4 records with seeds"):
        values(records, agent="a")
    with pytest.raises(ValueError, match="0 records"):
        values(records, agent="b", variant=0)


def test_the_best_of_some_agents_is_chosen_on_validation_users():
    records = [
        {"condition": "c", "agent": agent, "validation": value}
        for agent, value in (("awr", 1.0), ("awr", 1.4), ("iql", 1.1), ("iql", 1.1), ("bc", 9.0))
    ]
    assert best_of(agent_suite.SOFT, records, "c") == "awr"


def test_values_of_a_field_come_once_and_agents_in_the_order_of_the_tables():
    runs = [record(agent, seed, 1.0) for seed in (1, 0) for agent in ("drpo", "bc")]
    assert distinct(runs, "agent") == ["drpo", "bc"]
    assert distinct(runs, "seed") == [1, 0]
    assert agents_of(runs) == ["bc", "drpo"]
