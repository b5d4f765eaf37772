r"""Two-tower regression with inverse propensities, as if every item had been shown alike.

.. math:: L(\theta, \phi) = \frac{\sum_i w_i\, \ell(z_i, r_i)}{\sum_i w_i}
    + \frac{\lambda}{N} \sum_i \|\mu_\theta(s_i)\|^2, \qquad
    w_i = \min\!\left(\frac{1}{p_i}, w_{\max}\right)

with score z and cross-entropy ℓ of :mod:`.two_tower`, and p the probability with which the logger
showed the item, which the log has as info column ``propensity``. A logger shows some items far more
often than others, and a tower that cannot fit all of them fits those: the weights make of the loss
an estimate of what a logger who draws items uniformly would have, among items that can be shown.
Clipping them trades some of that for variance; normalised by their sum over the batch, a step does
not hang on how large they happen to be. At equal propensities, and at w_max = 1, it is
``two-tower``.

Source: Schnabel et al., *Recommendations as Treatments: Debiasing Learning and Evaluation*, 2016,
for regression; Ionides, *Truncated Importance Sampling*, 2008, for the clip; Swaminathan and
Joachims, *The Self-Normalized Estimator for Counterfactual Learning*, 2015. Deviations:
propensities are those logged, of an item given the context, not estimated ones of a rating being
there; the sum that normalises is a batch's, not the log's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Ge
from torch import Tensor

from recsim_drpo.agents.algorithms.softmax_pg import PROPENSITY
from recsim_drpo.agents.algorithms.towers import TowerConfig, scores_of, tower_critics
from recsim_drpo.agents.algorithms.two_tower import REWARD_RANGE, cross_entropy
from recsim_drpo.agents.engine.algorithm import Algorithm, LossOutput, Noise, State
from recsim_drpo.agents.engine.networks import Parameters
from recsim_drpo.core.config import Searched
from recsim_drpo.core.transitions import Batch


@dataclass(frozen=True)
class TwoTowerIPSConfig(TowerConfig):
    """Hyper-parameters of two-tower regression with inverse propensities.

    Attributes:
        max_weight: w_max ≥ 1, the largest weight, before they are normalised.
    """

    max_weight: Annotated[float, Ge(1.0), Searched(1.0, 1e3, log=True)] = 100.0


def infos(config: TwoTowerIPSConfig) -> Sequence[str]:
    """The info column that the loss reads."""
    return (PROPENSITY,)


def inverse_propensities(batch: Batch, max_weight: float) -> Tensor:
    """min(1 / p, w_max) (B,), in the rewards' type; NaN where p is no probability above 0."""
    propensities = batch.infos[PROPENSITY].to(batch.rewards.dtype)
    sound = (propensities > 0.0) & (propensities <= 1.0)
    return (1.0 / torch.where(sound, propensities, torch.nan)).clamp(max=max_weight)


def loss(
    parameters: Parameters, state: State, batch: Batch, noise: Noise, config: TwoTowerIPSConfig
) -> LossOutput:
    """The loss above."""
    scores, squares = scores_of(parameters, batch, config)
    weights = inverse_propensities(batch, config.max_weight)
    normalised = weights / weights.sum()
    prediction_loss = (normalised * cross_entropy(scores, batch.rewards)).sum()
    metrics = {
        "prediction_loss": prediction_loss,
        "tower_norm": squares.sqrt().mean(),
        # The effective sample size as a share of the batch: 1 where weights are equal.
        "effective_share": 1.0 / (normalised.square().sum() * len(normalised)),
    }
    return LossOutput(prediction_loss + config.penalty * squares.mean(), state, metrics)


TWO_TOWER_IPS = Algorithm(
    name="two-tower-ips",
    summary="two-tower regression weighted by inverse propensities, clipped and self-normalised",
    config=TwoTowerIPSConfig,
    loss=loss,
    critics=tower_critics,
    infos=infos,
    reward_range=REWARD_RANGE,
)
