r"""Off-policy policy gradient of a softmax policy: POEM, and its top-K correction.

With the softmax policy of :mod:`.algorithms.softmax` and the log's propensities p, importance
weights w = min(π_θ(a | s) / p, c) and q = 1, ``softmax-pg`` maximises the self-normalised estimate
of the policy's value with a penalty on its standard error,

.. math:: \hat R - \lambda \sqrt{\hat V}, \qquad
    \hat R = \frac{\overline{q w R}}{\overline{q w}}, \qquad
    \hat V = \frac{\sum_i q_i^2 w_i^2 (R_i - \hat R)^2}{\left(\sum_i q_i w_i\right)^2}

by the gradient of R̂, whose baseline is R̂ itself, and of √V̂ at that R̂:

.. math:: \nabla \hat R = \frac{1}{N \, \overline{q w}} \sum_i q_i w_i (R_i - \hat R)
    \nabla \log \pi_\theta(a_i \mid s_i)

Sources: Swaminathan and Joachims, *Counterfactual Risk Minimization: Learning from Logged Bandit
Feedback*, 2015 (POEM: clipping and the penalty), and *The Self-Normalized Estimator for
Counterfactual Learning*, 2015 (Norm-POEM: R̂ and its variance). A ratio of means over one batch is
largest for a policy that keeps next to none of the batch (Joachims, Swaminathan and de Rijke, *Deep
Learning with Logged Bandit Feedback*, 2018, who hold the denominator by a constant baseline): here
the bars are running means over batches, of which each counts for a share ``averaging``. At a share
of 1 they are the batch's own, and the gradient is that of its ratio.

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
from typing import Annotated

import torch
from torch import Tensor

from recsim_drpo.agents.algorithms.softmax import SoftmaxConfig, num_negatives, softmax_log_prob
from recsim_drpo.agents.engine.algorithm import Algorithm, LossOutput, Noise, State
from recsim_drpo.agents.engine.networks import Parameters
from recsim_drpo.core.config import Count, NonNegative, Positive, Searched, Share
from recsim_drpo.core.transitions import Batch

PROPENSITY = "propensity"


@dataclass(frozen=True)
class SoftmaxPGConfig(SoftmaxConfig):
    """Hyper-parameters of the off-policy policy gradient.

    Attributes:
        max_weight: c > 0, the cap of importance weights. Small: of thousands of items π holds
            little of each, and the rarest of what was logged would outweigh all else.
        variance_penalty: λ ≥ 0.
        averaging: share in (0, 1] of a batch in the running means; 1 is the batch alone.
    """

    max_weight: Annotated[Positive, Searched(0.01, 1.0, log=True)] = 0.03
    variance_penalty: Annotated[NonNegative, Searched(0.0, 10.0)] = 1.0
    averaging: Share = 0.01


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
    """−R̂ + λ √V̂ of log π (B,) and q (B,), and the next running means."""
    # w = min(π / p, c), whose gradient is w ∇ log π whether it is capped or not.
    probabilities = log_prob.detach().exp()
    ratios = probabilities / batch.infos[PROPENSITY].to(log_prob.dtype)
    held = correction * ratios.clamp(max=config.max_weight)
    weights = held * torch.exp(log_prob - log_prob.detach())
    # Running means of w and of w R, whose ratio is R̂; the first batch counts fully.
    share = torch.clamp(1.0 / (state["batches"] + 1.0), min=config.averaging)
    means = {
        "mean_weight": state["mean_weight"] + share * (held.mean() - state["mean_weight"]),
        "mean_gain": state["mean_gain"]
        + share * ((held * batch.rewards).mean() - state["mean_gain"]),
        "batches": state["batches"] + 1.0,
    }
    tiny = torch.finfo(weights.dtype).tiny
    normalizer = means["mean_weight"].to(weights.dtype).clamp(min=tiny)
    estimate = means["mean_gain"].to(weights.dtype) / normalizer
    # The gradient of R̂, and the standard error of the batch's.
    gaps = weights * (batch.rewards - estimate)
    variance = gaps.square().sum() / weights.sum().clamp(min=tiny).square()
    # The root's slope at 0 is infinite, and rewards that are all the same have no variance.
    deviation = torch.where(variance > 0, variance, 1.0).sqrt() * (variance > 0)
    metrics = {
        "estimate": estimate,
        "mean_weight": held.mean(),
        "mean_probability": probabilities.mean(),
        "capped_share": (ratios > config.max_weight).to(weights.dtype).mean(),
    }
    total = config.variance_penalty * deviation - estimate - gaps.mean() / normalizer
    return LossOutput(total, means, metrics)


def init_state(parameters: Parameters, config: SoftmaxPGConfig) -> State:
    """Running means ``mean_weight`` and ``mean_gain`` and their number of ``batches``: float64."""
    names = ("mean_weight", "mean_gain", "batches")
    return {name: torch.zeros((), dtype=torch.float64) for name in names}


SOFTMAX_PG = Algorithm(
    name="softmax-pg",
    summary="off-policy policy gradient of a softmax over the catalogue: POEM, self-normalised",
    config=SoftmaxPGConfig,
    loss=loss,
    init_state=init_state,
    infos=infos,
    negatives=num_negatives,
)
TOPK_OFF_POLICY = Algorithm(
    name="topk-off-policy",
    summary="softmax-pg with the top-K correction of the REINFORCE recommender",
    config=TopKConfig,
    loss=topk_loss,
    init_state=init_state,
    infos=infos,
    negatives=num_negatives,
)
