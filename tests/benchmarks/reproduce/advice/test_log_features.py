"""What a practitioner can measure on a log."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import assume, given, settings, strategies
from scipy import stats

from recsim_drpo import generate_dataset, load_transitions
from recsim_drpo.benchmarks.reproduce.advice.locate import PUBLISHED
from recsim_drpo.benchmarks.reproduce.advice.log_features import (
    FEATURES,
    features_of_datasets,
    features_of_log,
    log_features,
    signal_to_noise,
)
from recsim_drpo.benchmarks.reproduce.experiments.phase_map import condition_at
from recsim_drpo.core import scratch


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


@pytest.mark.parametrize("rewards", [[0.0, 0.0], [0.3, 0.3, 0.3], [1.0], [-2.5, -2.5]])
def test_constant_rewards_are_refused(rewards):
    with pytest.raises(ValueError, match=rf"All {len(rewards)} rewards are {rewards[0]:g}: there"):
        log_features(rewards, list(range(len(rewards))))


def test_rewards_that_are_no_numbers_are_refused():
    with pytest.raises(ValueError, match="A reward is not finite"):
        log_features([0.0, np.nan], [0, 1])


def test_a_log_without_repeated_items_has_finite_features():
    features = log_features([0.3, 0.3, 0.4], [0, 1, 2])
    assert np.isfinite(list(features.values())).all()
    assert features["signal_to_noise"] == 0.0


@settings(max_examples=50, deadline=None)
@given(
    rewards=strategies.lists(strategies.integers(0, 64), min_size=2, max_size=40),
    shift=strategies.integers(-1_000, 1_000),
    scale=strategies.sampled_from([1e-4, 0.3, 1.0, 2.0, 1e5]),
)
def test_shifted_and_scaled_rewards_have_the_same_features(rewards, shift, scale):
    assume(min(rewards) < max(rewards))
    items = np.arange(len(rewards)) % 3
    paid = np.array(rewards) / 64
    moved = log_features((paid + shift) * scale, items)
    assert moved == pytest.approx(log_features(paid, items), rel=1e-6, abs=1e-9)


def test_clicks_are_told_alike_whether_they_are_0_and_1_or_not():
    clicks = np.array([0.0, 0.0, 0.0, 1.0])
    # Of 0 and 1 the Gini coefficient is the share of zeros.
    assert log_features(clicks, [0, 1, 0, 1])["reward_gini"] == 0.75
    assert log_features(2 * clicks - 1, [0, 1, 0, 1])["reward_gini"] == 0.75


@pytest.mark.parametrize("number", [0, 36])
def test_features_of_the_published_maps_logs_are_what_was_published(number):
    """A condition of the map is generated anew; averages over its logs were kept, rounded."""
    result = json.loads((PUBLISHED / "phase-map.json").read_text(encoding="utf-8"))
    small = [point for point in result["data"]["points"] if point["rounds"] == 5_000]
    point = small[number % len(small)]
    logs = [features_of_log(condition_at(point).log(seed, device="cpu")) for seed in range(3)]
    averaged = {name: np.mean([log[name] for log in logs]) for name in FEATURES}
    assert averaged == pytest.approx(point["log"], rel=5e-4)


def test_datasets_are_read_part_by_part(monkeypatch, minari_root, small_kwargs):
    options = {"env_kwargs": small_kwargs, "card": False, "progress": False}
    names = ["a-v0", "b-v0"]
    for seed, name in enumerate(names):
        generate_dataset(name, num_rounds=1_500, seed=seed, **options)
    whole = features_of_log(load_transitions(names, infos=["item_id"]))
    assert features_of_datasets(names) == whole
    monkeypatch.setattr(scratch, "BLOCK", 400)
    assert features_of_datasets(names) == pytest.approx(whole, rel=1e-9)
