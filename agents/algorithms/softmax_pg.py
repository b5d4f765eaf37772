r"""Off-policy policy gradient of a softmax policy: POEM, and its top-K correction.

With the softmax policy of :mod:`.algorithms.softmax` and the log's propensities p, importance
weights w = min(π_θ(a | s) / p, c) and q = 1, ``softmax-pg`` minimises

.. math:: L(\theta) = -\hat R + \lambda \sqrt{\hat V}, \qquad
    \hat R = \frac{\sum_i q_i w_i R_i}{\sum_i q_i w_i}, \qquad
    \hat V = \frac{\sum_i q_i^2 w_i^2 (R_i - \hat R)^2}{\left(\sum_i q_i w_i\right)^2}

the self-normalised estimate of the policy's value by the batch, clipped at c, and the estimate of
its variance. Sources: Swaminathan and Joachims, *Counterfactual Risk Minimization: Learning from
Logged Bandit Feedback*, 2015 (POEM: clipping and the penalty), and *The Self-Normalized Estimator
for Counterfactual Learning*, 2015 (Norm-POEM: R̂ and its variance). The gradient of R̂ has R̂ as its
baseline: ∇R̂ = Σ q w (R − R̂) ∇ log π / Σ q w.

``topk-off-policy`` (Chen et al., *Top-K Off-Policy Correction for a REINFORCE Recommender System*,
2019, Section 4.3) multiplies the weights by what an item adds to a slate of K drawn from π,

.. math:: q = \lambda_K(s, a) = K (1 - \pi_\theta(a \mid s))^{K-1}

so that an item which is likely to be in the slate anyway is pushed no further. At K = 1 it is
``softmax-pg``.

Deviations: clipped weights keep their gradient w ∇ log π, as Chen et al. cap them (Section 4.4),
where POEM's is 0; λ_K is held constant under the gradient, as in theirs. Chen et al. estimate p by
a second head; here it is what was logged.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from recsim_drpo.agents.algorithms.softmax import SoftmaxConfig, num_negatives, softmax_log_prob
from recsim_drpo.agents.engine.algorithm import Algorithm, LossOutput, Noise, State
from recsim_drpo.agents.engine.networks import Parameters
from recsim_drpo.core.config import Count, NonNegative, Positive
from recsim_drpo.core.transitions import Batch

PROPENSITY = "propensity"


@dataclass(frozen=True)
class SoftmaxPGConfig(SoftmaxConfig):
    """Hyper-parameters of the off-policy policy gradient.

    Attributes:
        max_weight: c > 0, the cap of importance weights.
        variance_penalty: λ ≥ 0.
    """

    max_weight: Positive = 10.0
    variance_penalty: NonNegative = 0.0


@dataclass(frozen=True)
class TopKConfig(SoftmaxPGConfig):
    """Hyper-parameters of the top-K correction.

    Attributes:
        slate_size: K ≥ 1, items of the slate that is optimised.
    """

    slate_size: Count = 16


def infos(config: SoftmaxPGConfig) -> tuple[str, ...]:
    """The log's propensities, for ``Algorithm``."""
    return (PROPENSITY,)


def loss(
    parameters: Parameters, state: State, batch: Batch, noise: Noise, config: SoftmaxPGConfig
) -> LossOutput:
    """The loss above with q = 1."""
    log_prob = softmax_log_prob(parameters, batch, config.temperature)
    return _off_policy_loss(log_prob, torch.ones_like(log_prob), state, batch, config)


def topk_loss(
    parameters: Parameters, state: State, batch: Batch, noise: Noise, config: TopKConfig
) -> LossOutput:
    """The loss above with q = λ_K."""
    log_prob = softmax_log_prob(parameters, batch, config.temperature)
    size = config.slate_size
    correction = size * (1.0 - log_prob.detach().exp()) ** (size - 1)
    return _off_policy_loss(log_prob, correction, state, batch, config)


def _off_policy_loss(
    log_prob: Tensor, correction: Tensor, state: State, batch: Batch, config: SoftmaxPGConfig
) -> LossOutput:
    """−R̂ + λ √V̂ of log π (B,) and q (B,)."""
    # w = min(π / p, c), whose gradient is w ∇ log π whether it is capped or not.
    probabilities = log_prob.detach().exp()
    ratios = probabilities / batch.infos[PROPENSITY].to(log_prob.dtype)
    capped = ratios.clamp(max=config.max_weight)
    weights = correction * capped * torch.exp(log_prob - log_prob.detach())
    # R̂ and V̂. Where no weight is left, nothing is learnt.
    total = weights.sum().clamp(min=torch.finfo(weights.dtype).tiny)
    estimate = (weights * batch.rewards).sum() / total
    variance = (weights * (batch.rewards - estimate)).square().sum() / total.square()
    # The root's slope at 0 is infinite, and rewards that are all the same have no variance.
    deviation = torch.where(variance > 0, variance, 1.0).sqrt() * (variance > 0)
    metrics = {
        "estimate": estimate,
        "mean_probability": probabilities.mean(),
        "capped_share": (ratios > config.max_weight).to(weights.dtype).mean(),
        "effective_share": total.square() / weights.square().sum() / len(weights),
    }
    return LossOutput(config.variance_penalty * deviation - estimate, state, metrics)


SOFTMAX_PG = Algorithm(
    name="softmax-pg",
    summary="off-policy policy gradient of a softmax over the catalogue: POEM, self-normalised",
    config=SoftmaxPGConfig,
    loss=loss,
    infos=infos,
    negatives=num_negatives,
)
TOPK_OFF_POLICY = Algorithm(
    name="topk-off-policy",
    summary="softmax-pg with the top-K correction of the REINFORCE recommender",
    config=TopKConfig,
    loss=topk_loss,
    infos=infos,
    negatives=num_negatives,
)
