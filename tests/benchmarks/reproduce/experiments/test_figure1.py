"""Figure 1."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from recsim_drpo.benchmarks.reproduce.experiments import figure1
from recsim_drpo.benchmarks.reproduce.framework.conditions import Condition
from recsim_drpo.reporting import paper
from tests.conftest import SMALL_WORLD


def test_a_log_is_measured_as_by_hand():
    condition = Condition("x", {"random": 0.5, "expert": 0.5}, world=SMALL_WORLD, num_rounds=1_000)
    found = figure1.measure(condition, 3, "cpu")
    log = condition.log(3, infos=("policy", "latent_reward"))
    true = np.sort(log.infos["latent_reward"].double().numpy())[::-1]
    curves = found["curves"]
    assert curves["true, at the share"][0] == pytest.approx(5 * (0.1 * true[99] + 0.9 * true[100]))
    assert curves["true, mean of the tenth"][8] == pytest.approx(5 * true[800:900].mean())
    # R's seventh quantile, as NumPy's, lies between two rounds.
    best = curves["true, at the share"][0] / 5
    assert found["half"] == (true >= best / 2).mean()
    assert found["fifth"] == (true < best / 5).mean()
    components = found["components"]
    expert = log.infos["policy"] == 2
    assert components["expert"]["rounds"] == pytest.approx(float(expert.double().mean()))
    mean = float(log.infos["latent_reward"][expert].double().mean())
    assert components["expert"]["ecpm"] == pytest.approx(5 * mean)
    assert "popularity" not in components


def test_the_contextual_baseline_is_the_logging_agents_expected_reward(small_world):
    condition = Condition("x", {"random": 1.0}, world=SMALL_WORLD, num_rounds=500)
    log = condition.log(0, infos=("latent_reward",))
    values = small_world.latent_reward(
        small_world.cosines(small_world.tastes(log.observations()))
    ).double()
    expected = values @ torch.from_numpy(small_world.catalogue.popularity)
    below = (log.infos["latent_reward"].double() < expected).double().mean()
    found = figure1.measure(condition, 0, "cpu")["below"]["true below V(x)"]
    assert found == pytest.approx(float(below))


def measured(curve, half, fifth, logged, true):
    readings = {reading: list(curve) for reading in figure1.READINGS}
    below = dict(zip(figure1.BASELINES, (logged, true, true), strict=True))
    component = {"rounds": 0.5, "ecpm": 1.0, "curve": list(curve)}
    return {
        "curves": readings,
        "below": below,
        "half": half,
        "fifth": fifth,
        "components": dict.fromkeys(figure1.POLICIES, component),
    }


def test_verdicts_on_logs_follow_the_evidence():
    logs = [measured(paper.FIGURE_1 * k, 0.18, 0.7 + 0.01 * k, 0.8, 0.9) for k in (1, 2)]
    found = figure1.verdicts("extreme", logs)
    # 0.71 and 0.72 are both above 0.7, but two seeds cannot be sure of it.
    assert [one.verdict for one in found] == ["holds", "holds", "undecided", "holds", "holds"]
    flat = np.linspace(1.0, 0.5, 9)
    found = figure1.verdicts("medium", [measured(flat, 0.5, 0.1, 0.5, 0.8)] * 2)
    assert [one.verdict for one in found] == [
        "does not hold",
        "does not hold",
        "does not hold",
        "holds under a condition",
        "does not hold",
    ]
    found = figure1.verdicts("medium", [measured(flat, 0.5, 0.1, 0.5, 0.5)])
    assert {one.verdict for one in found} == {"undecided"}
