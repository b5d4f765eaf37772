r"""Two-tower regression by squared error, for rewards that are no shares.

.. math:: L(\theta, \phi) = \frac{1}{N} \sum_i \left[ \tfrac{1}{2} (y_i - z_i)^2
    + \lambda \|\mu_\theta(s_i)\|^2 \right], \qquad z_i = \mu_\theta(s_i) \cdot a_i + b_\phi(s_i)

the likelihood of a Gaussian reward of mean z and standard deviation 1, in place of the Bernoulli
one of :mod:`.two_tower`. y is the reward, or in sessions (``target="return"``) r + γ (1 − d) V(s'),
with V a network of its own that regresses y: z is then the logging policy's Q, and the policy that
takes its best item is one step of policy iteration from the logger's. Where every transition is
terminal the two are one.

Source: squared error by inner products is Koren, Bell and Volinsky, *Matrix Factorization
Techniques for Recommender Systems*, 2009; the one step is Brandfonbrener et al., *Offline RL
Without Off-Policy Evaluation*, 2021. Deviations: as of :mod:`.two_tower`; the logger's Q is
regressed to a target with V(s'), as in :mod:`.awr`, where the latter reference has Q(s', a').
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from torch import Tensor

from recsim_drpo.agents.algorithms.critics import value_advantages
from recsim_drpo.agents.algorithms.towers import TowerConfig, scores_of, tower_critics
from recsim_drpo.agents.engine.algorithm import (
    Algorithm,
    CriticConfig,
    LossOutput,
    Noise,
    State,
)
from recsim_drpo.agents.engine.networks import Parameters, value
from recsim_drpo.core.config import OneOf
from recsim_drpo.core.transitions import Batch

TARGETS = ("reward", "return")


@dataclass(frozen=True)
class TwoTowerGaussianConfig(TowerConfig, CriticConfig):
    """Hyper-parameters of two-tower regression by squared error.

    Attributes:
        target: ``"reward"``, or ``"return"``, for which there is a V(s) and the discount counts.
    """

    target: Annotated[str, OneOf(TARGETS)] = "reward"


def critics(
    observation_dim: int, action_dim: int, config: TwoTowerGaussianConfig
) -> dict[str, tuple[int, int]]:
    """Inputs and outputs of b, and of V where it is wanted, by network name."""
    own = {"value": (observation_dim, 1)} if config.target == "return" else {}
    return tower_critics(observation_dim, action_dim, config) | own


def loss(
    parameters: Parameters, state: State, batch: Batch, noise: Noise, config: TwoTowerGaussianConfig
) -> LossOutput:
    """The loss above, plus V's."""
    scores, squares = scores_of(parameters, batch, config)
    targets, value_loss = _targets(parameters, batch, config)
    prediction_loss = 0.5 * (targets - scores).square().mean()
    total = prediction_loss + config.penalty * squares.mean()
    metrics = {"prediction_loss": prediction_loss, "tower_norm": squares.sqrt().mean()}
    if value_loss is None:
        return LossOutput(total, state, metrics)
    return LossOutput(total + value_loss, state, metrics | {"value_loss": value_loss})


def _targets(
    parameters: Parameters, batch: Batch, config: TwoTowerGaussianConfig
) -> tuple[Tensor, Tensor | None]:
    """y (B,), without gradient, and V's loss, if there is a V."""
    if config.target == "reward":
        return batch.rewards, None
    advantages, value_loss = value_advantages(parameters, batch, config.discount)
    return advantages + value(parameters, batch.observations).detach(), value_loss


TWO_TOWER_GAUSSIAN = Algorithm(
    name="two-tower-gaussian",
    summary="two-tower regression by squared error, for rewards or returns that are no shares",
    config=TwoTowerGaussianConfig,
    loss=loss,
    critics=critics,
)
