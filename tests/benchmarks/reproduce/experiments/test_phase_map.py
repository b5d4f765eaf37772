"""The map of where hard filtering wins."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from recsim_drpo.benchmarks.reproduce import runner
from recsim_drpo.benchmarks.reproduce.advice import leads
from recsim_drpo.benchmarks.reproduce.experiments import phase_map
from recsim_drpo.benchmarks.reproduce.framework import agent_suite
from tests.benchmarks.reproduce.small import TINY, tiny


def test_a_map_averages_over_the_other_axes():
    points = [{"a": a, "b": b, "c": c} for a in (1.0, 2.0) for b in (5.0, 6.0) for c in (0.0, 1.0)]
    leads = np.array([[p["a"] * p["b"] + p["c"] + d for d in (-1e-6, 1e-6)] for p in points])
    leads[6:] = [[3.0, -3.0], [-3.0, 3.0]]
    xs, ys, means, significant = phase_map.cells(points, leads, "a", "b")
    assert (xs, ys) == ([1.0, 2.0], [5.0, 6.0])
    np.testing.assert_allclose(means, [[5.5, 10.5], [6.5, 0.0]])
    assert significant.tolist() == [[True, True], [True, False]]


def test_conditions_of_the_map_are_its_axes():
    point = {"noise_share": 0.8, "reward_noise": 0.4, "popularity_bias": 2.0, "rounds": 5_000.0}
    condition = phase_map.condition_at(point)
    assert condition.weights == pytest.approx({"random": 0.86, "popularity": 0.12, "expert": 0.02})
    assert condition.world == {"reward_noise": 0.4}
    assert condition.logging == {"popularity_bias": 2.0}
    assert condition.num_rounds == 5_000
    grid = itertools.product(*leads.AXES.values())
    labels = {phase_map.condition_at(dict(zip(leads.AXES, p, strict=True))).label for p in grid}
    assert len(labels) == 72


def _at(record, point, agent):
    return (record["condition"], record["agent"]) == (point["label"], agent)


@pytest.mark.slow
def test_the_phase_map_runs_and_chooses_rivals_on_validation_users(tmp_path):
    settings = tiny(tmp_path, scale=replace(TINY, max_rounds=6_000))
    result = runner.reproduce(["phase-map"], settings)[0]
    points = result["data"]["points"]
    assert len(points) == 8
    assert [step for step, _ in result["records"][0]["curve"]] == [0, TINY.steps]
    for point in points:
        scores = {
            agent: [r["test"]["ecpm"] for r in result["records"] if _at(r, point, agent)]
            for agent in phase_map.QUICK_AGENTS
        }
        assert point["best_soft"] == "asymre"
        # Of two seeds, each takes the filter that the other's validation users like best.
        told = {
            agent: [r["validation"] for r in result["records"] if _at(r, point, agent)]
            for agent in agent_suite.HARD
        }
        there = [agent for agent in told if told[agent]]
        chosen = [max(there, key=lambda agent: told[agent][other]) for other in (1, 0)]
        filters = [scores[agent][seed] for seed, agent in enumerate(chosen)]
        pairs = (
            ("soft", scores["drpo"], "asymre"),
            ("bc", scores["drpo"], "bc"),
            ("regression", scores["two-tower"], "drpo"),
        )
        for name, ours, rival in (*pairs, ("hard", filters, "asymre")):
            expected = np.subtract(ours, scores[rival])
            assert point["leads"][name] == pytest.approx(expected.tolist())
        assert point["log"]["rounds"] == min(point["rounds"], 6_000)
    for name in leads.PAIRS:
        assert (tmp_path / "phase-map" / f"phase-map-{name}-noise-share-rounds.svg").exists()
