"""Algorithms as pure functions for one learner, and the hyper-parameters that all share."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple, TypeVar

from annotated_types import Ge, Le
from torch import Tensor

from recsim_drpo.agents.engine.networks import SIGMA_MODES, Parameters
from recsim_drpo.core.config import Config, Count, OneOf, Positive, Probability
from recsim_drpo.core.transitions import Batch

State = dict[str, Tensor]
Noise = dict[str, Tensor]
_T = TypeVar("_T")

AVERAGED = frozenset({"idle_share"})
"""Metrics that are shares of updates: histories have their means since the row before."""


@dataclass(frozen=True)
class PolicyConfig(Config):
    """Hyper-parameters that every agent has (Table 5, Appendix J.1).

    Attributes:
        learning_rate: of Adam, > 0.
        hidden_dim: hidden units of a layer, ≥ 1.
        num_hidden_layers: hidden layers, from 1 to 1,000; 2 as in Appendix J.1, 3 as in Appendix I.
            Critics have the same.
        sigma: the policy's log σ: ``"learned"`` (a vector), ``"fixed"`` (σ = 1), or ``"state"`` (a
            second output of the network).
    """

    learning_rate: Positive = 3e-4
    hidden_dim: Count = 128
    num_hidden_layers: Annotated[int, Ge(1), Le(1_000)] = 2
    sigma: Annotated[str, OneOf(SIGMA_MODES)] = "learned"


@dataclass(frozen=True)
class CriticConfig(PolicyConfig):
    """Hyper-parameters of agents with a critic.

    Attributes:
        discount: γ in [0, 1]. Without effect where every transition is terminal.
    """

    discount: Probability = 0.99


class LossOutput(NamedTuple):
    """What a loss returns: the value to descend, the next state, and metrics, all tensors."""

    loss: Tensor
    state: State
    metrics: dict[str, Tensor]


def no_state(parameters: Parameters, config: Any) -> State:
    """No state: the initial one of an algorithm that carries none."""
    return {}


def no_noise(batch_size: int, action_dim: int, config: Any) -> Mapping[str, tuple[int, ...]]:
    """No shapes: the noise of an algorithm that draws none."""
    return {}


def no_critics(observation_dim: int, action_dim: int, config: Any) -> Mapping[str, tuple[int, int]]:
    """No networks: the critics of an algorithm that has none."""
    return {}


def no_update(parameters: Parameters, state: State, config: Any) -> State:
    """The state as it is, of an algorithm whose state no optimiser step changes."""
    return state


def no_infos(config: Any) -> Sequence[str]:
    """No columns: those of an algorithm whose loss reads none."""
    return ()


def no_negatives(config: Any) -> int:
    """0: the negatives of an algorithm that draws none."""
    return 0


def _takes_former_keyword(algorithm: type[_T]) -> type[_T]:
    """A class whose ``update_targets`` may be given as ``settle`` too, its former name."""
    init = algorithm.__init__

    @functools.wraps(init)
    def with_former_keyword(self: _T, *values: Any, settle: Any = None, **fields: Any) -> None:
        init(self, *values, **fields if settle is None else fields | {"update_targets": settle})

    algorithm.__init__ = with_former_keyword  # type: ignore[assignment]
    return algorithm


@_takes_former_keyword
@dataclass(frozen=True)
class Algorithm:
    """An algorithm as pure functions, written for one learner.

    Each has static shapes, no host synchronisation and no Python branch on a tensor: the same code
    runs for one learner, batched over many, compiled, or captured as a CUDA graph.

    Attributes:
        name: registered name.
        summary: one line.
        config: dataclass of its hyper-parameters and their defaults.
        loss: ``(parameters, state, batch, noise, config) -> LossOutput``.
        critics: ``(observation_dim, action_dim, config)`` to inputs and outputs by network name.
        init_state: ``(parameters, config)`` to what it carries besides parameters: targets,
            counters, controllers.
        noise: ``(batch_size, action_dim, config)`` to shapes of the standard normal numbers that an
            update needs, by name.
        update_targets: ``(parameters, state, config) -> state`` after the optimiser step: where
            target networks follow the ones that learn. Was called ``settle``, which still works.
        infos: ``(config)`` to the names of the log's info columns that the loss reads from
            ``batch.infos``. It and ``negatives`` do not depend on hyper-parameters that are real
            numbers, which differ between learners of one computation.
        negatives: ``(config)`` to how many items of the log's catalogue each update draws,
            uniformly and by the learner's own random numbers. The loss finds them in
            ``batch.infos`` as :data:`.core.negatives.NEGATIVES` and
            :data:`.core.negatives.NEGATIVE_WEIGHTS`.
        reward_range: the smallest and the largest reward that the loss has a meaning for; a log
            that has others is refused. ``None``: any.
    """

    name: str
    summary: str
    config: type[PolicyConfig]
    loss: Callable[[Parameters, State, Batch, Noise, Any], LossOutput]
    critics: Callable[[int, int, Any], Mapping[str, tuple[int, int]]] = no_critics
    init_state: Callable[[Parameters, Any], State] = no_state
    noise: Callable[[int, int, Any], Mapping[str, tuple[int, ...]]] = no_noise
    update_targets: Callable[[Parameters, State, Any], State] = no_update
    infos: Callable[[Any], Sequence[str]] = no_infos
    negatives: Callable[[Any], int] = no_negatives
    reward_range: tuple[float, float] | None = None

    def check_rewards(self, rewards: Tensor) -> None:
        """Raise ``ValueError`` where rewards (N,) of a log are out of :attr:`reward_range`."""
        if self.reward_range is None or len(rewards) == 0:
            return
        low, high = self.reward_range
        least, most = (float(end) for end in rewards.aminmax())
        if not low <= least <= most <= high:
            raise ValueError(
                f"The log's rewards are from {least:g} to {most:g}; the agent {self.name!r} takes "
                f"them from {low:g} to {high:g}: rescale them, or choose another agent."
            )

    @property
    def settle(self) -> Callable[[Parameters, State, Any], State]:
        """The former name of ``update_targets``."""
        return self.update_targets
