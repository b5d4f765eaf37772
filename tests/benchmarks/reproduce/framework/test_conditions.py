"""Worlds, logging mixtures and logs of them."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from recsim_drpo import simulate_transitions
from recsim_drpo.benchmarks.calibrate import admissible
from recsim_drpo.benchmarks.reproduce.framework.conditions import (
    EXPERT_ONLY,
    Condition,
    expert_degraded,
    noise_injected,
    other_worlds,
    scenario,
)


def test_mixtures_by_hand():
    base = scenario("medium")
    assert base.weights == {"random": 0.3, "popularity": 0.6, "expert": 0.1}
    noisy = noise_injected(base, 0.8).weights
    assert noisy == pytest.approx({"random": 0.06 + 0.8, "popularity": 0.12, "expert": 0.02})
    degraded = expert_degraded(base, 0.5, 1.0)
    assert degraded.weights == pytest.approx({"random": 0.35, "popularity": 0.6, "expert": 0.05})
    assert degraded.world == {"reward_noise": 1.0}
    assert expert_degraded(EXPERT_ONLY, 0.1, 0.0).weights == pytest.approx(
        {"random": 0.1, "popularity": 0.0, "expert": 0.9}
    )
    assert noise_injected(base, 0.0).weights == pytest.approx(base.weights)
    with pytest.raises(ValueError, match=r"ratio=1\.5"):
        noise_injected(base, 1.5)


@pytest.mark.slow
def test_other_worlds_meet_the_facts_and_differ():
    worlds = other_worlds(3)
    assert len({json.dumps(one.world, sort_keys=True) for one in worlds}) == 3
    for one in worlds:
        assert admissible(one.facts)
        assert one.facts["optimum_ecpm"] == pytest.approx(2.0, abs=0.02)
        assert one.facts["medium_ecpm"] == pytest.approx(1.0, abs=0.01)
    assert other_worlds(3) == worlds


def test_a_condition_logs_what_it_says(small_kwargs):
    condition = Condition("x", {"expert": 1.0}, world=dict(small_kwargs), num_rounds=600)
    log = condition.log(4)
    same = simulate_transitions(
        scenario={"expert": 1.0}, num_rounds=600, seed=4, env_kwargs=dict(small_kwargs)
    )
    assert torch.equal(log.rewards, same.as_batch().rewards)
    assert set(log.infos) == {"item_id", "propensity"}


def test_unclipped_rewards_are_those_of_the_same_noise_without_the_clip(small_kwargs):
    world = {**small_kwargs, "reward_noise": 0.8}
    clipped = Condition("c", {"random": 0.5, "expert": 0.5}, world=world, num_rounds=700)
    raw = replace(clipped, unclipped=True)
    one, other = clipped.log(3), raw.log(3)
    assert float(other.rewards.min()) < -0.5
    assert float(other.rewards.max()) > 1.5
    assert torch.equal(other.rewards.clamp(0.0, 1.0), one.rewards)
    assert torch.equal(other.infos["item_id"], one.infos["item_id"])
    assert "unclipped" not in clipped.as_dict()
    assert raw.as_dict()["unclipped"] is True
