r"""Two-tower regression: the reward as a Bernoulli variable of the user's tower times the item's.

.. math:: L(\theta, \phi) = \frac{1}{N} \sum_i \left[ -r_i \log \varsigma(z_i)
    - (1 - r_i) \log (1 - \varsigma(z_i)) + \lambda \|\mu_\theta(s_i)\|^2 \right], \qquad
    z_i = \mu_\theta(s_i) \cdot a_i + b_\phi(s_i)

with ς the logistic function. Rewards in [0, 1] that are no clicks are soft labels: whatever their
distribution, the loss is least where ς(z) is their mean. Others have no such meaning: a log of them
is refused, and a batch of them has no loss. It is a bandit method: rewards of a session are
predicted step by step.

Source: the two towers are those of Huang et al., *Learning Deep Structured Semantic Models*, 2013,
and Yi et al., *Sampling-Bias-Corrected Neural Modeling for Large Corpus Item Recommendations*,
2019; the cross-entropy of single rounds that of He et al., *Neural Collaborative Filtering*, 2017.
Deviations: the item's tower is its vector as it is; every round of the log is a label and no
negatives are drawn, since a log says what was shown and not taken.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from recsim_drpo.agents.algorithms.towers import TowerConfig, scores_of, tower_critics
from recsim_drpo.agents.engine.algorithm import Algorithm, LossOutput, Noise, State
from recsim_drpo.agents.engine.networks import Parameters
from recsim_drpo.core.transitions import Batch

REWARD_RANGE = (0.0, 1.0)


@dataclass(frozen=True)
class TwoTowerConfig(TowerConfig):
    """Hyper-parameters of two-tower regression: those of the towers."""


def cross_entropy(scores: Tensor, rewards: Tensor) -> Tensor:
    """−r log ς(z) − (1 − r) log(1 − ς(z)): (B,) for scores and rewards (B,); NaN outside [0, 1]."""
    within = (rewards >= REWARD_RANGE[0]) & (rewards <= REWARD_RANGE[1])
    labels = torch.where(within, rewards, torch.nan)
    return binary_cross_entropy_with_logits(scores, labels, reduction="none")


def loss(
    parameters: Parameters, state: State, batch: Batch, noise: Noise, config: TwoTowerConfig
) -> LossOutput:
    """The loss above."""
    scores, squares = scores_of(parameters, batch, config)
    prediction_loss = cross_entropy(scores, batch.rewards).mean()
    metrics = {"prediction_loss": prediction_loss, "tower_norm": squares.sqrt().mean()}
    return LossOutput(prediction_loss + config.penalty * squares.mean(), state, metrics)


TWO_TOWER = Algorithm(
    name="two-tower",
    summary="two-tower regression: the log-odds of the reward are user's tower times item",
    config=TwoTowerConfig,
    loss=loss,
    critics=tower_critics,
    reward_range=REWARD_RANGE,
)
