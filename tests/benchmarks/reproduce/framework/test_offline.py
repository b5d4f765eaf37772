"""Choosing an agent by a reward model of a held-out log."""

from __future__ import annotations

from recsim_drpo import make_world
from recsim_drpo.benchmarks.reproduce.framework.conditions import (
    Condition,
)
from recsim_drpo.benchmarks.reproduce.framework.offline import RewardModel
from recsim_drpo.simulator.reference_policies import reference_policy

STEPS = 200


def test_a_reward_model_prefers_better_policies(small_kwargs):
    world = make_world(**small_kwargs)
    log = Condition(
        "x", {"random": 0.5, "expert": 0.5}, world=dict(small_kwargs), num_rounds=4_000
    ).log(0)
    model = RewardModel(log, 0, STEPS)
    worth = [
        model.value(reference_policy(name, world), world)
        for name in ("random", "popularity", "oracle")
    ]
    assert worth == sorted(worth)
    assert RewardModel(log, 0, STEPS).value(reference_policy("oracle", world), world) == worth[-1]
