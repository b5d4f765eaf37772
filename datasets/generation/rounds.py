"""Log independent rounds: ten thousand of them are one Minari episode."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from minari.data_collector import EpisodeBuffer

from recsim_drpo.datasets.generation.source import Log, References, sampled_users
from recsim_drpo.datasets.packing import PACKING, ROUNDS_PER_EPISODE, info_column
from recsim_drpo.datasets.shards import Shard
from recsim_drpo.envs.base import spaces_of
from recsim_drpo.simulator.logging_agent import LoggingAgent
from recsim_drpo.simulator.reference_policies import reference_policy
from recsim_drpo.simulator.world import World

_REFERENCE_USERS = 10_000
_SHARES_USERS = 2_000


class RoundLog(Log):
    """Rounds of training users in order, packed."""

    unit = "rounds"

    def __init__(self, agent: LoggingAgent) -> None:
        super().__init__(agent)
        self.packing = {"rounds_per_episode": ROUNDS_PER_EPISODE, "rule": PACKING}

    @property
    def spaces(self) -> tuple[Any, Any]:
        """Observation and action space."""
        return spaces_of(self.agent.world)

    def references(self) -> References:
        """Mean observed rewards of random items and of the oracle's."""
        world = self.agent.world
        users = sampled_users(_REFERENCE_USERS, world.num_items)
        low, high = (_observed_mean(world, policy, users) for policy in ("random", "oracle"))
        score = "mean observed reward"
        fewer = users < _REFERENCE_USERS
        return References(score, "random", low, "oracle", high, users, is_sample=fewer)

    def bytes_per_round(self) -> float:
        """Size of a round on the disk, in bytes."""
        world = self.agent.world
        return 4 * (world.context_dim + world.dim + 1) + 2 + 8 + 1 + 8 + 4 + 4

    def starts(self, num_rounds: int) -> Iterator[int]:
        """Number of the first round of every packed episode."""
        return iter(range(0, num_rounds, ROUNDS_PER_EPISODE))

    def starts_of(self, shard: Shard, num_rounds: int) -> tuple[int, Iterator[int]]:
        """The number of a shard's first round, and the starts of its episodes."""
        starts = range(0, num_rounds, ROUNDS_PER_EPISODE)
        mine = [start for start in starts if shard.place(start, num_rounds) == 0]
        return mine[0], iter(mine)

    @property
    def longest(self) -> int:
        """Rounds that an episode may have."""
        return ROUNDS_PER_EPISODE

    def block(self, seed: int, start: int, num_rounds: int) -> list[EpisodeBuffer]:
        """One packed episode."""
        world, size = self.agent.world, min(ROUNDS_PER_EPISODE, num_rounds - start)
        rounds = torch.arange(start, start + size + 1)  # one more: the observation after the last
        users = world.users("train", seed, rounds)
        choices = self.agent.choose(users.tastes[:size], seed, rounds[:size])
        interests = users.interests[:size]
        latent = world.reward_of_items(choices.items, interests)
        observed = world.observed_reward(latent, users.reward_noise[:size])
        columns = {
            "item_id": choices.items,
            "policy": choices.policies,
            "propensity": choices.propensities,
            "latent_reward": latent,
            "oracle_reward": world.reward_of_items(choices.oracle_items, interests),
        }
        rows = np.arange(1, size + 1)
        return [
            EpisodeBuffer(
                observations=users.contexts.cpu().numpy(),
                actions=world.embeddings[choices.items].cpu().numpy(),
                rewards=observed.cpu().numpy(),
                terminations=np.ones(size, dtype=np.bool_),
                truncations=np.zeros(size, dtype=np.bool_),
                infos={
                    name: info_column(values.cpu().numpy(), rows, size + 1)
                    for name, values in columns.items()
                },
            )
        ]

    def tastes(self) -> torch.Tensor:
        """Tastes of the first training users."""
        world = self.agent.world
        users = torch.arange(sampled_users(_SHARES_USERS, world.num_items))
        return world.users("train", 0, users).tastes


def _observed_mean(world: World, policy: str, num_users: int) -> float:
    """Mean observed reward of a reference policy on test users."""
    users = world.users("test", 0, torch.arange(num_users))
    actions = reference_policy(policy, world).act(users.contexts)
    latent = world.reward_of_items(world.decode(actions), users.interests)
    return float(world.observed_reward(latent, users.reward_noise).mean())
