r"""Doubly robust policy learning: a softmax over the catalogue, its value by model and by weights.

.. math:: \hat V(\theta) = \frac{1}{N} \sum_i \Big[ \sum_b \pi_\theta(b \mid s_i)\, \hat r(s_i, b)
    + w_i \, (r_i - \hat r(s_i, a_i)) \Big], \qquad
    w_i = \min\!\left(\frac{\pi_\theta(a_i \mid s_i)}{p_i}, c\right)

is maximised over the softmax policy of :mod:`.algorithms.softmax`, with the propensities p that
were logged and a model r̂ = ς(m(s)·a + b(s)) of the reward, two-tower regression as in
:mod:`.algorithms.two_tower`, which learns beside the policy and takes no gradient from V̂. Where
the model is right the correction is noise around 0; where propensities are, it corrects what the
model gets wrong. With c = 0 it is the direct method, whose best policy shows what ``two-tower``
does.

The sums over the catalogue are estimated as the softmax's is, by m drawn items and the logged one.

Source: Dudík, Langford and Li, *Doubly Robust Policy Evaluation and Learning*, 2011; the cap of
weights as in Su et al., *Doubly robust off-policy evaluation with shrinkage*, 2020. Deviations:
model and policy learn at once from the same rounds, in place of one after the other; capped weights
keep their gradient w ∇ log π.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch

from recsim_drpo.agents.algorithms.softmax import SoftmaxConfig, num_negatives, softmax_scores
from recsim_drpo.agents.algorithms.softmax_pg import PROPENSITY
from recsim_drpo.agents.algorithms.two_tower import REWARD_RANGE, cross_entropy
from recsim_drpo.agents.engine.algorithm import Algorithm, LossOutput, Noise, State
from recsim_drpo.agents.engine.networks import Parameters, network, policy_moments
from recsim_drpo.core.config import NonNegative, Searched
from recsim_drpo.core.negatives import NEGATIVES
from recsim_drpo.core.transitions import Batch


@dataclass(frozen=True)
class DRPolicyConfig(SoftmaxConfig):
    """Hyper-parameters of doubly robust policy learning.

    Attributes:
        penalty: λ ≥ 0 of ‖m(s)‖² in the model of the reward, as in ``two-tower``.
        max_weight: c ≥ 0, the cap of importance weights; 0 leaves the model alone.
    """

    penalty: Annotated[NonNegative, Searched(1e-4, 3e-2, log=True)] = 3e-3
    max_weight: Annotated[NonNegative, Searched(0.0, 1.0)] = 0.03


def critics(
    observation_dim: int, action_dim: int, config: DRPolicyConfig
) -> dict[str, tuple[int, int]]:
    """Inputs and outputs of m and b, one network."""
    return {"model": (observation_dim, action_dim + 1)}


def infos(config: DRPolicyConfig) -> tuple[str, ...]:
    """The log's propensities, for ``Algorithm``."""
    return (PROPENSITY,)


def loss(
    parameters: Parameters, state: State, batch: Batch, noise: Noise, config: DRPolicyConfig
) -> LossOutput:
    """The model's loss minus V̂."""
    action_dim = batch.actions.shape[-1]
    outputs = network(parameters, "model", batch.observations)
    tower, baseline = torch.split(outputs, [action_dim, 1], dim=-1)
    logged = (tower * batch.actions).sum(dim=-1) + baseline.squeeze(-1)
    prediction_loss = cross_entropy(logged, batch.rewards).mean()
    ridge = config.penalty * tower.square().sum(dim=-1).mean()
    # The model of the logged and the drawn items, without gradient.
    drawn = torch.nn.functional.linear(tower.detach(), batch.infos[NEGATIVES].to(tower.dtype))
    predicted = torch.cat((logged.detach().unsqueeze(-1), drawn + baseline.detach()), dim=-1)
    rewards = torch.sigmoid(predicted)
    # The policy's probabilities of the same.
    mean, _ = policy_moments(parameters, batch.observations, config.sigma)
    log_prob = torch.log_softmax(softmax_scores(mean, batch, config.temperature), dim=-1)
    direct = (log_prob.exp() * rewards).sum(dim=-1)
    held = log_prob[..., 0].detach()
    ratios = held.exp() / batch.infos[PROPENSITY].to(held.dtype)
    weights = ratios.clamp(max=config.max_weight) * torch.exp(log_prob[..., 0] - held)
    correction = weights * (batch.rewards - rewards[..., 0])
    value = (direct + correction).mean()
    metrics = {
        "prediction_loss": prediction_loss,
        "direct": direct.mean(),
        "correction": correction.mean(),
        "capped_share": (ratios > config.max_weight).to(held.dtype).mean(),
    }
    return LossOutput(prediction_loss + ridge - value, state, metrics)


DR_POLICY = Algorithm(
    name="dr-policy",
    summary="doubly robust learning of a softmax over the catalogue, by a model and propensities",
    config=DRPolicyConfig,
    loss=loss,
    critics=critics,
    infos=infos,
    negatives=num_negatives,
    reward_range=REWARD_RANGE,
)
