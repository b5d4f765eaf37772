from __future__ import annotations

import numpy as np
import pytest

from recsim_drpo.datasets.generation.statistics import LogStatistics


def test_log_statistics_of_deciles():
    statistics = LogStatistics(3)
    latent = np.linspace(0, 1, 1001, dtype=np.float32)
    infos = {
        "policy": np.zeros(1001, np.int8),
        "item_id": np.zeros(1001, np.int64),
        "latent_reward": latent,
        "oracle_reward": np.ones(1001, np.float32),
    }
    statistics.add(latent / 2, infos)
    np.testing.assert_allclose(statistics.deciles(), np.linspace(0.9, 0.1, 9), atol=2e-3)
    assert statistics.mean_latent_reward == pytest.approx(0.5)
    assert statistics.mean_reward == pytest.approx(0.25)
    assert statistics.mean_oracle_reward == 1.0
    assert statistics.counts.tolist() == [[1001, 0, 0], [0, 0, 0], [0, 0, 0]]
