"""Training on half a log and half the policy's own rounds."""

from __future__ import annotations

import torch

from recsim_drpo.agents import Fleet
from recsim_drpo.benchmarks.reproduce.framework import online
from recsim_drpo.core.transitions import Batch


def fleet_of(world, agent="drpo", seeds=(3, 8)):
    return Fleet(agent, observation_dim=world.context_dim, action_dim=world.dim, seeds=seeds)


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
