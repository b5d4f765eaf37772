from __future__ import annotations

import itertools
import json
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from scipy import stats

from recsim_drpo.agents import Fleet
from recsim_drpo.benchmarks.reproduce import runner
from recsim_drpo.benchmarks.reproduce.advice import leads
from recsim_drpo.benchmarks.reproduce.advice.log_features import (
    FEATURES,
    log_features,
    signal_to_noise,
)
from recsim_drpo.benchmarks.reproduce.advice.rules import (
    fit_constant,
    fit_pair,
    fit_stump,
    leave_out,
    lost,
)
from recsim_drpo.benchmarks.reproduce.experiments import phase_map, table3
from recsim_drpo.benchmarks.reproduce.framework import agent_suite, online
from recsim_drpo.benchmarks.reproduce.framework.records import best_of
from recsim_drpo.benchmarks.reproduce.framework.settings import Settings
from recsim_drpo.core.transitions import Batch
from recsim_drpo.training.config import TrainingConfig
from tests.conftest import SMALL_WORLD


@dataclass(frozen=True)
class Tiny(Settings):
    """Settings whose studies take seconds: a small world, few rounds, steps and users."""

    def study(self, *args, **options):
        study = super().study(*args, **options)
        return replace(
            study,
            conditions=[
                replace(one, world={**one.world, **SMALL_WORLD}, num_rounds=one.num_rounds // 100)
                for one in study.conditions
            ],
            training=TrainingConfig(
                steps=12,
                batch_size=16,
                evaluate_every=12 if study.training.evaluate_every == study.training.steps else 4,
            ),
            num_test_users=100,
            num_validation_users=50,
        )


def tiny(folder):
    return Tiny(quick=True, folder=folder, progress=False)


def fleet_of(world, agent="drpo", seeds=(3, 8)):
    return Fleet(agent, observation_dim=world.context_dim, action_dim=world.dim, seeds=seeds)


def test_table_3_that_was_stopped_goes_on_to_the_same_numbers(tmp_path):
    whole = runner.reproduce(["table3"], tiny(tmp_path))[0]
    pieces = sorted((tmp_path / "table3").rglob("records/*.json"))
    assert len(pieces) == len(table3.AGENTS)
    pieces[1].unlink()
    again = runner.reproduce(["table3"], tiny(tmp_path))[0]
    assert json.dumps(again["records"]) == json.dumps(whole["records"])
    assert len(whole["records"]) == 2 * len(table3.AGENTS)
    assert {verdict["command"] for verdict in whole["verdicts"]} == {table3.COMMAND}
    assert (tmp_path / "table3" / "figure4-admitted.png").exists()
    for record in whole["records"]:
        assert [step for step, _ in record["curve"]] == [0, 4, 8, 12]
        assert [row["step"] for row in record["followed"]] == [4, 8, 12]
        assert ("admitted" in record["followed"][0]) == record["agent"].startswith("drpo")


def test_a_single_seed_of_table_3_decides_nothing(tmp_path):
    result = runner.reproduce(["table3"], replace(tiny(tmp_path), num_seeds=1))[0]
    assert {verdict["verdict"] for verdict in result["verdicts"]} == {"undecided"}


def test_online_rounds_are_what_the_policy_shows_to_new_users(small_world):
    world, fleet, same = small_world, fleet_of(small_world), fleet_of(small_world)
    batch = online.online_rounds(world, fleet, 5, 7)
    for k, seed in enumerate((3, 8)):
        users = world.users("train", seed + online.ONLINE, torch.arange(35, 42))
        assert torch.equal(batch.observations[k], users.contexts)
    actions = same.sample(batch.observations)
    assert not torch.equal(actions, same.act(batch.observations))
    for k, seed in enumerate((3, 8)):
        users = world.users("train", seed + online.ONLINE, torch.arange(35, 42))
        items = (actions[k] @ world.embeddings.T).argmax(dim=1)
        assert torch.equal(batch.actions[k], world.embeddings[items])
        latent = world.reward_of_items(items, users.interests)
        expected = (latent + world.config.reward_noise * users.reward_noise).clamp(0, 1)
        torch.testing.assert_close(batch.rewards[k], expected)
    assert bool(batch.terminations.all())
    later = online.online_rounds(world, fleet, 6, 7)
    assert not torch.isin(later.observations, batch.observations).any()


def test_a_batch_is_the_log_and_then_the_policys_rounds():
    def rounds(value, size):
        two = torch.full((1, size, 2), value)
        one = torch.full((1, size), value)
        return Batch(two, two, one, two, one > 0, {"item_id": one})

    batch = online.joined(rounds(1.0, 2), rounds(2.0, 1))
    assert batch.rewards.tolist() == [[1.0, 1.0, 2.0]]
    assert batch.actions.shape == (1, 3, 2)
    assert batch.infos == {}


def test_what_the_filter_admits_of_the_online_half_by_hand():
    # Of four rewards two are admitted: 0.9 and, in the first row, one of the two 0.5 each by half.
    rewards = torch.tensor([[0.5, 0.1, 0.9, 0.5], [0.8, 0.9, 0.1, 0.2]])
    kappa = torch.tensor([0.5, 0.5], dtype=torch.float64)
    of_online, of_admitted = online.admitted(rewards, kappa, 2)
    assert of_online.tolist() == [0.75, 0.0]
    assert of_admitted.tolist() == [0.75, 0.0]
    of_online, of_admitted = online.admitted(rewards, kappa / 2, 2)
    assert of_online.tolist() == [0.5, 0.0]
    assert of_admitted.tolist() == [1.0, 0.0]


def test_steps_and_drawdowns_by_hand():
    steps = np.array([0.0, 250.0, 500.0])
    ecpm = np.array([[0.2, 1.0, 0.7], [0.1, 0.2, 0.3]])
    assert table3.steps_to(steps, ecpm, np.array([0.63, 0.3])).tolist() == [250.0, 500.0]
    assert table3.steps_to(steps, ecpm, np.array([2.0, 0.0])).tolist() == [np.inf, 0.0]
    assert table3.drawdown(ecpm) == pytest.approx([0.3, 0.0])


def test_features_of_a_log_by_hand():
    # Item 0 pays 0 and 0.2, item 1 pays 0.6 and 0.8, item 2 once 1: the mean is 0.52.
    features = log_features([0.0, 0.6, 0.2, 1.0, 0.8], [0, 1, 0, 2, 1])
    assert set(features) == set(FEATURES)
    assert features["rounds"] == 5
    assert features["above_mean"] == 0.6
    assert features["effective_items"] == pytest.approx(1 / (0.16 + 0.16 + 0.04))
    # Sorted, weighted -4, -2, 0, 2, 4: (-0.4 + 1.6 + 4) / (5 × 2.6).
    assert features["reward_gini"] == pytest.approx(5.2 / 13)
    assert features["skewness"] == pytest.approx(stats.skew([0.0, 0.6, 0.2, 1.0, 0.8]))
    # Within: 4 × 0.1² / 2 = 0.02. Between: 2 × (0.3² + 0.3²) / 1 = 0.36. Two rounds an item.
    assert features["signal_to_noise"] == pytest.approx((0.36 - 0.02) / 2 / 0.02)


def test_signal_to_noise_finds_variances_of_groups_of_unequal_size():
    generator = np.random.default_rng(0)
    weights = np.arange(1, 2_001)
    items = generator.choice(2_000, size=40_000, p=weights / weights.sum())
    rewards = generator.normal(0.0, 0.3, 2_000)[items] + generator.normal(0.0, 0.6, len(items))
    assert signal_to_noise(rewards, items) == pytest.approx(0.25, rel=0.1)


def test_logs_without_contrast_have_features_all_the_same():
    for rewards, items in (([0.0, 0.0], [0, 0]), ([0.3, 0.3, 0.3], [0, 1, 2]), ([1.0], [0])):
        features = log_features(rewards, items)
        assert np.isfinite(list(features.values())).all()
        assert features["signal_to_noise"] == features["skewness"] == 0.0


def test_a_stump_finds_the_threshold_and_says_when_there_is_none():
    x = np.array([[5.0, 0.1], [1.0, 0.2], [4.0, 0.6], [2.0, 0.9], [3.0, 0.4]])
    gains = np.array([1.0, 1.0, -1.0, -1.0, 1.0])
    stump = fit_stump(x, gains)
    assert (stump.feature, stump.threshold, stump.above) == (1, 0.5, False)
    assert stump(x).tolist() == [True, True, False, False, True]
    assert stump.describe(("a", "b")) == "where b ≤ 0.5"
    # Without the row of 0.6 the threshold is 0.65: that row alone is told wrong.
    each = list("abcde")
    assert leave_out(x, gains, each, fit_stump).tolist() == [True, True, True, False, True]
    # Without both that lose, all that is left says yes.
    pairs = list("abccd")
    assert leave_out(x, gains, pairs, fit_stump).all()
    # Without features, what the others gain decides.
    assert leave_out(x, gains, each, fit_constant).tolist() == [True] * 5
    assert not leave_out(x, gains - 0.6, each, fit_constant).any()
    assert fit_stump(np.ones((3, 1)), gains[:3]).describe(("a",)) == "always"
    # A great loss is avoided at the price of small gains.
    assert fit_stump(x, gains * [1, 1, 9, 1, 1]).describe(("a", "b")) == "where b ≤ 0.5"
    assert fit_stump(x[:, :1], gains * [1, 1, 9, 1, 1]).describe(("a",)) == "where a > 4.5"


def test_a_stump_is_the_best_of_all_thresholds():
    generator = np.random.default_rng(1)
    for _ in range(20):
        x, gains = generator.integers(4, size=(12, 2)).astype(float), generator.normal(size=12)
        best = max(
            [gains.sum(), 0.0]
            + [
                gains[(x[:, k] > t) == says].sum()
                for k in (0, 1)
                for t in (0.5, 1.5, 2.5)
                for says in (True, False)
            ]
        )
        assert gains[fit_stump(x, gains)(x)].sum() == pytest.approx(best)


def test_a_pair_is_the_best_of_all_pairs():
    generator = np.random.default_rng(2)
    for _ in range(10):
        x, gains = generator.integers(3, size=(10, 2)).astype(float), generator.normal(size=10)
        single = [
            (x[:, k] > t) == says for k in (0, 1) for t in (0.5, 1.5) for says in (True, False)
        ]
        single += [np.full(10, True), np.full(10, False)]
        best = max(gains[found].sum() for a in single for b in single for found in (a & b, a | b))
        assert gains[fit_pair(x, gains)(x)].sum() == pytest.approx(best)


def test_a_pair_says_what_it_is_and_yields_to_a_stump():
    x = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    pair = fit_pair(x, np.array([-1.0, -1.0, -1.0, 1.0]))
    assert pair.describe(("a", "b")) == "where a > 0.5 and b > 0.5"
    assert pair(x).tolist() == [False, False, False, True]
    pair = fit_pair(x, np.array([-1.0, 1.0, 1.0, 1.0]))
    assert pair.describe(("a", "b")) == "where a > 0.5 or b > 0.5"
    assert fit_pair(x, np.array([-1.0, -1.0, 1.0, 1.0])).describe(("a", "b")) == "where a > 0.5"
    assert fit_pair(x[:, :0], np.ones(4)).describe(()) == "always"


def test_what_answers_lose_against_knowing():
    gains = np.array([0.4, -0.2, 0.1, -0.3])
    assert lost(gains, gains > 0) == 0.0
    assert lost(gains, np.array([True] * 4)) == pytest.approx(0.5 / 4)
    assert lost(gains, np.array([False] * 4)) == pytest.approx(0.5 / 4)
    assert lost(gains, np.array([True, True, False, False])) == pytest.approx(0.3 / 4)


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


def test_the_phase_map_runs_and_chooses_rivals_on_validation_users(tmp_path):
    result = runner.reproduce(["phase-map"], tiny(tmp_path))[0]
    points = result["data"]["points"]
    assert len(points) == 8
    assert [step for step, _ in result["records"][0]["curve"]] == [0, 12]
    for point in points:
        scores = {
            agent: [r["test"]["ecpm"] for r in result["records"] if _at(r, point, agent)]
            for agent in ("drpo", "adaptive-bc", "asymre", "bc")
        }
        assert point["best_soft"] == "asymre"
        hard = {
            agent: sum(r["validation"] for r in result["records"] if _at(r, point, agent))
            for agent in agent_suite.HARD
        }
        ours = {"soft": "drpo", "bc": "drpo", "hard": max(hard, key=lambda agent: hard[agent])}
        for name, rival in (("soft", "asymre"), ("bc", "bc"), ("hard", "asymre")):
            expected = np.subtract(scores[ours[name]], scores[rival])
            assert point["leads"][name] == pytest.approx(expected.tolist())
        assert point["log"]["rounds"] == point["rounds"] / 100
    for name in leads.PAIRS:
        assert (tmp_path / "phase-map" / f"phase-map-{name}-noise-share-rounds.svg").exists()
    records = [
        {"condition": "c", "agent": agent, "validation": value}
        for agent, value in (("awr", 1.0), ("awr", 1.4), ("iql", 1.1), ("iql", 1.1), ("bc", 9.0))
    ]
    assert best_of(agent_suite.SOFT, records, "c") == "awr"
