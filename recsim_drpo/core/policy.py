"""What a policy is to those who evaluate it, and the checks of what it returns."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor

PolicyT = TypeVar("PolicyT", bound="Policy")


class Policy(Protocol):
    """Anything that acts: an agent, a reference policy, or an object from elsewhere."""

    def act(self, observations: Tensor) -> Any:
        """Action embeddings (B, d), tensor or array, for float32 observations (B, o)."""
        ...


class RandomPolicy(ABC):
    """A policy that draws without a state of its own: the caller numbers its rounds."""

    @abstractmethod
    def act(self, observations: Tensor, rounds: Tensor | None = None) -> Tensor:
        """Action embeddings, float32 (B, d): a pure function of the arguments.

        Args:
            observations: float32 (B, o).
            rounds: int64 (B,), ≥ 0, the counter of each draw: one seed and one counter are one
                draw. ``None``: 0 to B - 1.
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
    """The policy, or a new stream of it where it draws: to evaluate it twice gives the same."""
    if isinstance(policy, PolicyStream):
        return PolicyStream(policy.policy)
    return PolicyStream(policy) if isinstance(policy, RandomPolicy) else policy


class Policies(Protocol):
    """Several policies that act at once, as a fleet of learners does."""

    def __len__(self) -> int:
        """How many, L."""
        ...

    def act(self, observations: Tensor) -> Any:
        """Action embeddings (L, B, d) for float32 observations (L, B, o)."""
        ...


class Measured(Protocol):
    """What was found about a policy."""

    def headline(self) -> dict[str, float]:
        """The numbers that a learning curve shows, by name."""
        ...


class PolicyEvaluator(Protocol):
    """What measures policies, on simulated users or on held-out rounds."""

    def __call__(self, policy: Policy) -> Measured:
        """Measure one policy."""
        ...

    def many(self, policies: Policies) -> Sequence[Measured]:
        """Measure every policy of several that act at once."""
        ...


def check_acts(policy: object) -> None:
    """Raise ``TypeError`` unless it has ``act``, all that evaluating it needs."""
    if not callable(getattr(policy, "act", None)):
        raise TypeError(f"{type(policy).__name__} has no method 'act', which a policy needs.")


def checked_actions(given: Any, expected: tuple[int, ...], of: str = "users") -> Tensor:
    """What a policy returned, detached; ``ValueError`` unless its shape (..., B, a) is expected.

    ``of`` says what the B rows are, for the message.
    """
    actions = torch.as_tensor(given).detach()
    if actions.shape != expected:
        raise ValueError(
            f"The policy returned actions of shape {tuple(actions.shape)} for "
            f"{expected[-2]} {of}; this catalogue takes {expected}."
        )
    return actions


def as_observations(
    observations: Any, observation_dim: int, device: torch.device, axes: tuple[int, ...] = ()
) -> Tensor:
    """Observations as float32 (*axes, B, o) on the device; ``ValueError`` for another shape."""
    tensor = torch.as_tensor(observations, dtype=torch.float32, device=device)
    shape = tuple(tensor.shape)
    if len(shape) != 2 + len(axes) or shape[:-2] != axes or shape[-1] != observation_dim:
        expected = ", ".join(map(str, (*axes, "B", observation_dim)))
        raise ValueError(f"Observations of shape {shape}; expected ({expected}).")
    return tensor
