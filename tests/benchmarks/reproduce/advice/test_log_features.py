"""What a practitioner can measure on a log."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from recsim_drpo.benchmarks.reproduce.advice.log_features import (
    FEATURES,
    log_features,
    signal_to_noise,
)


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
