"""The protocol that agents follow, ours and third parties'."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from recsim_drpo.core.transitions import Batch

__all__ = ["Agent", "Batch", "check_agent"]


@runtime_checkable
class Agent(Protocol):
    """A learner from logged transitions whose actions are embeddings.

    An agent that is stochastic may have ``sample(observations, generator=None)`` as well, and one
    that gathers its own batches ``make_train_step(transitions, batch_size)``: it returns a function
    that does what ``update`` does from int64 indices (B,) into the log.
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
        optimiser's; :mod:`recsim_drpo.runs.checkpoints` says what a run folder can keep.
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
