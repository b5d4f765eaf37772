r"""IQL: implicit Q-learning.

.. math:: L_V = E\,|\tau - 1(u < 0)|\, u^2, \quad u = \min \bar Q(s, a) - V(s), \qquad
    L_Q = \sum_{1, 2} E\,(r + \gamma (1 - d) V(s') - Q(s, a))^2

.. math:: L_\pi = -E\, \min\!\left(e^{u / \beta}, 100\right) \log \pi_\theta(a \mid s)

Source: Kostrikov et al., *Offline RL with Implicit Q-Learning*, 2021; τ = 0.7 (the middle of
Appendix I's grid as well), Polyak 0.005. The reference multiplies by an inverse temperature of 3;
temperatures divide here, β = 1/3. At τ = 0.5, V regresses the mean.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch

from recsim_drpo.agents.algorithms.critics import (
    ExpectileConfig,
    expectile_critics,
    expectile_losses,
    init_targets,
    move_targets,
)
from recsim_drpo.agents.engine.algorithm import Algorithm, LossOutput, Noise, State
from recsim_drpo.agents.engine.networks import Parameters, policy_log_prob
from recsim_drpo.core.config import Positive, Searched
from recsim_drpo.core.transitions import Batch


@dataclass(frozen=True)
class IQLConfig(ExpectileConfig):
    """Hyper-parameters of IQL.

    Attributes:
        beta: temperature β > 0.
        max_weight: cap of the weights, > 0.
    """

    beta: Annotated[Positive, Searched(0.05, 5.0, log=True)] = 1.0 / 3.0
    max_weight: Positive = 100.0


def loss(
    parameters: Parameters, state: State, batch: Batch, noise: Noise, config: IQLConfig
) -> LossOutput:
    """L_V + L_Q + L_π: each network has the gradient of its own loss alone."""
    # L_V + L_Q, and the advantages u = min Q̄(s, a) − V(s).
    _, advantages, critic_loss = expectile_losses(parameters, state, batch, config)
    # L_π: advantage-weighted regression.
    weights = torch.exp(advantages / config.beta).clamp(max=config.max_weight)
    log_prob = policy_log_prob(parameters, batch.observations, batch.actions, config.sigma)
    metrics = {"critic_loss": critic_loss, "mean_weight": weights.mean()}
    return LossOutput(-(weights * log_prob).mean() + critic_loss, state, metrics)


IQL = Algorithm(
    name="iql",
    summary="implicit Q-learning: expectile critics, weights exp(A / β)",
    config=IQLConfig,
    loss=loss,
    critics=expectile_critics,
    init_state=init_targets,
    update_targets=move_targets,
)
