"""Policies as those see them who evaluate them, and the checks of what goes in and comes out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

ROWS_AT_A_TIME = 8_192
"""Rows of observations, of all policies together, that are asked about at a time."""


class Policy(Protocol):
    """Anything that acts: an agent, a reference policy, or an object from elsewhere."""

    def act(self, observations: Tensor) -> Any:
        """Action embeddings (B, d), tensor or array, for float32 observations (B, o)."""
        ...


class Policies(Protocol):
    """Several policies that act at once, as a fleet of learners does."""

    def __len__(self) -> int:
        """The number of policies L."""
        ...

    def act(self, observations: Tensor) -> Any:
        """Action embeddings (L, B, d) for float32 observations (L, B, o)."""
        ...


class Measured(Protocol):
    """The result of measuring a policy."""

    def headline(self) -> dict[str, float]:
        """The numbers that a learning curve shows, by name."""
        ...


class PolicyEvaluator(Protocol):
    """A measure of policies, on simulated users or on held-out rounds."""

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


def actions_of(
    policy: Policy | Policies,
    observations: Tensor,
    action_dim: int,
    *,
    axes: tuple[int, ...] = (),
    rows: str = "users",
) -> Tensor:
    """The actions of a policy, or of several at once, checked here and nowhere below.

    Args:
        policy: one that acts (:func:`check_acts`); it sees a copy of the observations, so that it
            cannot change them.
        observations: float32 (B, o), or (*axes, B, o) where each of several sees its own.
        action_dim: d.
        axes: (L,) for L policies at once.
        rows: what the B rows are, for the message.

    Returns:
        detached (*axes, B, d) of whatever type and device.

    Raises:
        ValueError: what it returns has another shape.
    """
    actions = policy.act(observations.clone())
    return checked_actions(actions, (*axes, observations.shape[-2], action_dim), rows)


def checked_actions(returned: Any, expected: tuple[int, ...], rows: str = "users") -> Tensor:
    """What a policy returned as a detached tensor of the expected shape (*axes, B, d).

    ``rows`` says what the B rows are, for the message.

    Raises:
        ValueError: it has another shape.
    """
    actions = torch.as_tensor(returned).detach()
    if actions.shape != expected:
        raise ValueError(
            f"The policy returned actions of shape {tuple(actions.shape)} for "
            f"{expected[-2]} {rows}; this catalogue takes {expected}."
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
