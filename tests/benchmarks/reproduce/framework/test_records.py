"""Queries on records."""

from __future__ import annotations

import numpy as np
import pytest

from recsim_drpo.benchmarks.reproduce.framework.records import (
    agents_of,
    best_variant,
    chosen_offline,
    cross_fitted,
    cross_fitted_scores,
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


def test_values_of_a_field_come_once_and_agents_in_the_order_of_the_tables():
    runs = [record(agent, seed, 1.0) for seed in (1, 0) for agent in ("drpo", "bc")]
    assert distinct(runs, "agent") == ["drpo", "bc"]
    assert distinct(runs, "seed") == [1, 0]
    assert agents_of(runs) == ["bc", "drpo"]


def test_the_best_is_chosen_by_the_other_seeds_by_hand():
    runs = [
        # Means without seed 0, 1, 2: a 1.5, 2.5, 2.0; b's first 2.0, 2.0, 2.0; its second less.
        *(record("a", s, 10.0 + s, 0, v) for s, v in enumerate((3.0, 1.0, 2.0))),
        *(record("b", s, 20.0 + s, 0, v) for s, v in enumerate((2.0, 2.0, 2.0))),
        *(record("b", s, 30.0 + s, 1, v) for s, v in enumerate((1.9, 1.9, 1.9))),
    ]
    found = cross_fitted(runs, "c", ["a", "b", "unknown"])
    # Seed 2 ties: the first that was run.
    assert found.scores.tolist() == [20.0, 11.0, 12.0]
    assert dict(found.agents) == {"a": 2, "b": 1}
    assert (found.name, found.told()) == ("a", "a (2), b (1)")
    alone = cross_fitted([r for r in runs if r["seed"] == 0], "c", ["a", "b"])
    assert alone.scores.tolist() == [10.0]
    assert alone.told() == "a"
    with pytest.raises(ValueError, match="None of iql was trained in 'c'"):
        cross_fitted(runs, "c", ["iql"])


def test_the_best_by_the_scores_of_other_seeds_by_hand():
    scores = {"a": np.array([9.0, 1.0, 2.0]), "b": np.array([3.0, 3.0, 3.0]), "c": np.ones(3)}
    # Without seed 0 a has 3 and b 6; without seed 1 a has 11; without seed 2, 10.
    found = cross_fitted_scores(scores, ["b", "a", "d"])
    assert found.scores.tolist() == [3.0, 1.0, 2.0]
    assert found.told() == "a (2), b (1)"
    with pytest.raises(ValueError, match="None of d has scores"):
        cross_fitted_scores(scores, ["d"])


def test_choosing_by_other_seeds_is_not_flattered_by_chance():
    """Methods of pure noise earn 0 on average, whichever is chosen; the largest mean is more."""
    noise = np.random.default_rng(0).normal(size=(300, 5, 4))
    fitted = [
        cross_fitted(
            [
                record(f"m{k}", seed, scores[k, seed], 0, scores[k, seed])
                for k in range(5)
                for seed in range(4)
            ],
            "c",
            [f"m{k}" for k in range(5)],
        ).scores.mean()
        for scores in noise
    ]
    error = np.std(fitted) / np.sqrt(len(fitted))
    assert abs(np.mean(fitted)) < 3 * error
    assert noise.mean(axis=2).max(axis=1).mean() > 10 * error
