"""Figure 6 and Appendix H: what is measured."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from recsim_drpo.benchmarks.reproduce.experiments import figure6
from recsim_drpo.simulator.logging_agent import LoggingAgent


def test_neighbours_and_ranks_by_brute_force(small_world):
    embeddings = small_world.catalogue.embeddings.astype(np.float64)
    apart = ((embeddings[:, None] - embeddings[None]) ** 2).sum(axis=2)
    np.fill_diagonal(apart, np.inf)
    topics = small_world.catalogue.topics
    expected = (topics[apart.argmin(axis=1)] == topics).mean()
    assert figure6.purity(small_world) == pytest.approx(expected)

    found = figure6.measure(small_world, 5, 40)
    users = small_world.users("train", 5, torch.arange(40))
    values = np.exp(
        (users.interests.numpy() @ embeddings.T - 1) / (2 * small_world.config.delta**2)
    )
    curve = -np.sort(-values, axis=1).mean(axis=0)
    assert found["curve"][0] == pytest.approx(5 * values.max(axis=1).mean(), rel=1e-3)
    assert found["curve"][-1] == pytest.approx(5 * values.min(axis=1).mean(), rel=1e-3)
    assert found["high"] == pytest.approx((curve >= 0.6538 * curve[0]).mean(), abs=0.01)
    items = LoggingAgent(small_world, {"random": 1.0}).choose(users.tastes, 5, torch.arange(40))
    shown = values[np.arange(40), items.items.numpy()]
    ranks = (values > shown[:, None]).sum(axis=1) / 300
    random = found["components"]["random"]
    assert random["ecpm"] == pytest.approx(5 * shown.mean(), rel=1e-3)
    assert random["types"]["Expert"] == pytest.approx((ranks < 0.06).mean(), abs=0.03)
    for name in figure6.POLICIES:
        assert sum(found["components"][name]["types"].values()) == pytest.approx(1.0)
    uniform = found["zipf"]["extreme"]["uniformly"]["exponent"]
    assert uniform < 0.4 < found["zipf"]["extreme"]["by popularity"]["exponent"]
