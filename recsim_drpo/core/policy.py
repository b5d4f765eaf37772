"""What a policy is to those who evaluate it, and the checks of what it returns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor


class Policy(Protocol):
    """Anything that acts: an agent, a reference policy, or an object from elsewhere."""

    def act(self, observations: Tensor) -> Any:
        """Action embeddings (B, d), tensor or array, for float32 observations (B, o)."""
        ...


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
