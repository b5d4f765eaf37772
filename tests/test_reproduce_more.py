from __future__ import annotations

import json
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from recsim_drpo.agents import Fleet
from recsim_drpo.agents.protocol import Batch
from recsim_drpo.benchmarks.reproduce import online, runner, table3
from recsim_drpo.benchmarks.reproduce.results import Settings
from recsim_drpo.training import TrainingConfig
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
            training=TrainingConfig(steps=12, batch_size=16, evaluate_every=4),
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
