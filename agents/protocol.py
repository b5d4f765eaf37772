"""What an agent is: the protocol that ours and third parties' follow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor


class Batch(NamedTuple):
    """Transitions, all on one device, with leading axis B.

    Attributes:
        observations: float32 (B, o).
        actions: float32 (B, a).
        rewards: float32 (B,).
        next_observations: float32 (B, o). Where an episode ended it is whatever the log had there.
        terminations: bool (B,), true where nothing follows: do not bootstrap. All true in a bandit.
        infos: further columns of the log by name, (B,) or (B, ...), if they were asked for.
    """

    observations: Tensor
    actions: Tensor
    rewards: Tensor
    next_observations: Tensor
    terminations: Tensor
    infos: dict[str, Tensor] = {}  # noqa: RUF012 - a NamedTuple's default; nobody writes to it


@runtime_checkable
class Agent(Protocol):
    """A learner from logged transitions whose actions are embeddings.

    An agent that is stochastic may have ``sample(observations, generator=None)`` as well.
    """

    def update(self, batch: Batch) -> Mapping[str, Tensor]:
        """Learn from one batch; return metrics as tensors, which only a log brings to the host."""
        ...

    def act(self, observations: Tensor) -> Tensor:
        """Actions (B, a) for float32 observations (B, o): deterministic, raw, not normalised."""
        ...

    def state_dict(self) -> Mapping[str, Any]:
        """Everything needed to go on as if never stopped: tensors by name.

        Dictionaries, lists and tuples of them may nest, with plain numbers and strings, as in an
        optimiser's; :mod:`recsim_drpo.checkpoints` says what a run folder can keep.
        """
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned, of whatever device its tensors are."""
        ...


def check_agent(agent: object) -> None:
    """Raise ``TypeError`` that names what is missing unless it has all of :class:`Agent`."""
    if isinstance(agent, type):
        raise TypeError(f"{agent.__name__} is a class; an agent is an instance of one.")
    methods = ("update", "act", "state_dict", "load_state_dict")
    missing = [name for name in methods if not callable(getattr(agent, name, None))]
    if missing:
        listed = ", ".join(map(repr, missing))
        raise TypeError(f"{type(agent).__name__} has no method {listed}, which an agent needs.")


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


def check_batch(
    batch: Batch, observation_dim: int, action_dim: int, axes: tuple[int, ...] = ()
) -> None:
    """Raise ``ValueError`` unless shapes fit; looks at no value, so nothing waits for a device.

    ``axes`` are expected before the batch's own: the number of learners.
    """
    size = batch.rewards.shape[-1] if batch.rewards.ndim else 0
    rows = (*axes, size)
    expected = {
        "observations": (*rows, observation_dim),
        "actions": (*rows, action_dim),
        "rewards": rows,
        "next_observations": (*rows, observation_dim),
        "terminations": rows,
    }
    for name, shape in expected.items():
        found = tuple(getattr(batch, name).shape)
        if found != shape or size == 0:
            raise ValueError(
                f"Batch field {name!r} has shape {found}; this agent expects {shape}, at least one "
                f"row (observation_dim={observation_dim}, action_dim={action_dim})."
            )


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
