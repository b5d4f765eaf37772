r"""Critics and baselines that several agents share.

Temporal-difference targets are y = r + γ (1 − d) V(s'). In a bandit every transition is terminal:
then y = r, Q regresses the reward and V its mean or expectile.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from recsim_drpo.agents.engine.algorithm import CriticConfig, State
from recsim_drpo.agents.engine.networks import Parameters, action_value, value
from recsim_drpo.core.config import OneOf, OpenShare, Searched, Share
from recsim_drpo.core.transitions import Batch

BASELINES = ("batch", "value")


@dataclass(frozen=True)
class BaselineConfig(CriticConfig):
    """Hyper-parameters of agents whose advantage is a return minus a baseline.

    Attributes:
        baseline: ``"batch"``, the mean reward of the batch (bandits), or ``"value"``, a learnt
            V(s), for which the return is y.
    """

    baseline: Annotated[str, OneOf(BASELINES)] = "batch"


def baseline_critics(
    observation_dim: int, action_dim: int, config: BaselineConfig
) -> dict[str, tuple[int, int]]:
    """Inputs and outputs of V, if it is the baseline: by network name, for ``Algorithm``."""
    return {"value": (observation_dim, 1)} if config.baseline == "value" else {}


def baseline_advantages(
    parameters: Parameters, batch: Batch, config: BaselineConfig
) -> tuple[Tensor, Tensor]:
    """Advantages (B,) without gradient, and the loss of the baseline, a scalar (0 of a mean)."""
    if config.baseline == "batch":
        return batch.rewards - batch.rewards.mean(), torch.zeros_like(batch.rewards[0])
    return value_advantages(parameters, batch, config.discount)


def value_advantages(
    parameters: Parameters, batch: Batch, discount: float
) -> tuple[Tensor, Tensor]:
    """Advantages y − V(s) (B,) without gradient, and V's loss ½ E (y − V(s))²."""
    estimate = value(parameters, batch.observations)
    error = td_target(parameters, batch, discount) - estimate
    return error.detach(), 0.5 * error.square().mean()


def td_target(parameters: Parameters, batch: Batch, discount: float) -> Tensor:
    """Temporal-difference targets y = r + γ (1 − d) V(s'), (B,), without gradient."""
    next_values = value(parameters, batch.next_observations).detach()
    return batch.rewards + discount * next_values.masked_fill(batch.terminations, 0.0)


@dataclass(frozen=True)
class ExpectileConfig(CriticConfig):
    """Hyper-parameters of the critics of implicit Q-learning.

    Attributes:
        tau: expectile τ in (0, 1); 0.5 is the mean.
        polyak: share in (0, 1] by which target networks move at each step.
    """

    tau: Annotated[OpenShare, Searched(0.5, 0.95)] = 0.7
    polyak: Share = 0.005


def expectile_critics(
    observation_dim: int, action_dim: int, config: ExpectileConfig
) -> dict[str, tuple[int, int]]:
    """Inputs and outputs of V and of two Q, by network name."""
    joint = observation_dim + action_dim
    return {"value": (observation_dim, 1), "q1": (joint, 1), "q2": (joint, 1)}


def init_targets(parameters: Parameters, config: CriticConfig) -> State:
    """Target networks, copies of the Q networks: their tensors as ``target.*``."""
    return {
        f"target.{name}": tensor.detach().clone()
        for name, tensor in parameters.items()
        if name.startswith("q")
    }


def expectile_losses(
    parameters: Parameters, state: State, batch: Batch, config: ExpectileConfig
) -> tuple[Tensor, Tensor, Tensor]:
    """The losses of IQL's critics, and the values that policies are weighted by.

    With u = min Q̄(s, a) − V(s), L_V = E |τ − 1(u < 0)| u² and L_Q = Σ E (y − Q(s, a))²
    (Kostrikov et al., 2021, Eq. 5 and 6).

    Returns:
        min Q̄(s, a) (B,) and u (B,), both without gradient, and L_V + L_Q, a scalar.
    """
    targets = {name.removeprefix("target."): tensor for name, tensor in state.items()}
    pairs = (batch.observations, batch.actions)
    # L_V: V regresses an expectile of the smaller target Q.
    min_q = torch.minimum(action_value(targets, *pairs, "q1"), action_value(targets, *pairs, "q2"))
    gap = min_q.detach() - value(parameters, batch.observations)
    value_loss = ((config.tau - (gap < 0).to(gap.dtype)).abs() * gap.square()).mean()
    # L_Q: both Q regress y = r + γ (1 − d) V(s').
    td_targets = td_target(parameters, batch, config.discount)
    q_loss = sum(
        (td_targets - action_value(parameters, *pairs, name)).square().mean()
        for name in ("q1", "q2")
    )
    return min_q.detach(), gap.detach(), value_loss + q_loss


def move_targets(parameters: Parameters, state: State, config: ExpectileConfig) -> State:
    """The state with target networks a share ``polyak`` nearer to the networks that learn."""
    return {
        name: tensor + config.polyak * (parameters[name.removeprefix("target.")].detach() - tensor)
        if name.startswith("target.")
        else tensor
        for name, tensor in state.items()
    }
