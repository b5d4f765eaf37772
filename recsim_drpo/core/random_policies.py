"""Policies that draw: functions of the number of the round, and streams that count it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TypeVar

import torch
from torch import Tensor

from recsim_drpo.core.policy import Policy

PolicyT = TypeVar("PolicyT", bound=Policy)


class RandomPolicy(ABC):
    """A policy that draws without a state of its own: the caller numbers its rounds."""

    @abstractmethod
    def act(self, observations: Tensor, rounds: Tensor | None = None) -> Tensor:
        """Action embeddings, float32 (B, d): a pure function of the arguments.

        Args:
            observations: float32 (B, o).
            rounds: int64 (B,), ≥ 0, the counter of each draw; ``None``: 0 to B - 1.
        """


class PolicyStream:
    """A stateful stream of a random policy's actions: it numbers the rounds on from call to call.

    Args:
        policy: what acts, from round 0 on.
    """

    def __init__(self, policy: RandomPolicy) -> None:
        self.policy = policy
        self._next_round = 0

    def act(self, observations: Tensor) -> Tensor:
        """Action embeddings, float32 (B, d), of the next B rounds for observations (B, o)."""
        rounds = torch.arange(self._next_round, self._next_round + len(observations))
        self._next_round += len(observations)
        return self.policy.act(observations, rounds)


def restarted(policy: PolicyT) -> PolicyT | PolicyStream:
    """The policy itself, or a new stream of one that draws: evaluating it twice gives the same."""
    if isinstance(policy, PolicyStream):
        return PolicyStream(policy.policy)
    return PolicyStream(policy) if isinstance(policy, RandomPolicy) else policy
