r"""AWR: advantage-weighted regression.

.. math:: L(\theta) = -\frac{1}{N} \sum_i \min\!\left(e^{\hat A_i / \beta}, w_{\max}\right)
    \log \pi_\theta(a_i \mid s_i)

with Â = y − V(s), by default standardised over the batch. Source: Peng et al.,
*Advantage-Weighted Regression*, 2019. Appendix I gives the grid β ∈ {0.05, 0.1, 1}; the default is
the reference's, β = 1 with standardised advantages and w_max = 20. With ``standardize=False`` β is
in units of reward, which is how the paper's 0.05 reads. At β → ∞ it is behaviour cloning.

Deviation: y is a one-step target where the reference takes TD(λ) returns; in a bandit they agree.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch

from recsim_drpo.agents.algorithms.critics import value_advantages
from recsim_drpo.agents.algorithms.filtering import weighted_std
from recsim_drpo.agents.engine.algorithm import Algorithm, CriticConfig, LossOutput, Noise, State
from recsim_drpo.agents.engine.networks import Parameters, policy_log_prob
from recsim_drpo.core.config import Positive, Searched
from recsim_drpo.core.transitions import Batch


@dataclass(frozen=True)
class AWRConfig(CriticConfig):
    """Hyper-parameters of AWR.

    Attributes:
        beta: temperature β > 0.
        max_weight: w_max > 0.
        standardize: whether advantages are centred and scaled over the batch.
    """

    beta: Annotated[Positive, Searched(0.05, 5.0, log=True)] = 1.0
    max_weight: Positive = 20.0
    standardize: bool = True


def critics(observation_dim: int, action_dim: int, config: AWRConfig) -> dict[str, tuple[int, int]]:
    """Inputs and outputs of V, by network name."""
    return {"value": (observation_dim, 1)}


def loss(
    parameters: Parameters, state: State, batch: Batch, noise: Noise, config: AWRConfig
) -> LossOutput:
    """The loss above, plus V's."""
    # Â = y − V(s), and V's regression to y.
    advantages, value_loss = value_advantages(parameters, batch, config.discount)
    if config.standardize:
        deviation = weighted_std(advantages, torch.ones_like(advantages))
        advantages = (advantages - advantages.mean()) / deviation
    # Regression weighted by min(exp(Â / β), w_max).
    weights = torch.exp(advantages / config.beta).clamp(max=config.max_weight)
    log_prob = policy_log_prob(parameters, batch.observations, batch.actions, config.sigma)
    metrics = {"value_loss": value_loss, "mean_weight": weights.mean()}
    return LossOutput(-(weights * log_prob).mean() + value_loss, state, metrics)


AWR = Algorithm(
    name="awr",
    summary="advantage-weighted regression: weights exp(A / β), capped",
    config=AWRConfig,
    loss=loss,
    critics=critics,
)
