r"""A softmax policy over the catalogue, by sampled negatives: what the discrete agents share.

.. math:: \pi_\theta(a \mid s) = \frac{e^{\mu_\theta(s) \cdot a / T}}
    {\sum_b e^{\mu_\theta(s) \cdot b / T}}

with the policy network's output μ and the vectors of all items b. Its most likely item is the one
of largest μ · a: what an action μ decodes to, as for all agents. The sum over the catalogue is
estimated by m items that each update draws uniformly, and the logged one (sampled softmax: Bengio
and Senécal, *Adaptive Importance Sampling to Accelerate Training of a Neural Probabilistic Language
Model*, 2008; Jean et al., *On Using Very Large Target Vocabulary for Neural Machine Translation*,
2015),

.. math:: \hat Z(s) = e^{\mu(s) \cdot a / T} + \sum_j w_j e^{\mu(s) \cdot n_j / T}

where what is drawn stands for the M − 1 items that were not logged: w_j is 0 where n_j is the
logged item, else (M − 1) / (number of the others)
(:class:`recsim_drpo.core.negatives.NegativeSampler`). Ẑ is unbiased, and where every item is drawn
once it is exact.

``softmax-bc`` is behaviour cloning with it, L(θ) = −(1/N) Σ log π(a | s).

The policy has no σ. ``sample`` adds unit noise to μ, as of a Gaussian with a fixed σ: draws from
the softmax itself need the catalogue, as ``recsim-drpo recommend --explore temperature=…`` has it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import torch
from torch import Tensor

from recsim_drpo.agents.engine.algorithm import Algorithm, LossOutput, Noise, PolicyConfig, State
from recsim_drpo.agents.engine.networks import Parameters, policy_moments
from recsim_drpo.core.config import Count, OneOf, Positive, Searched
from recsim_drpo.core.negatives import NEGATIVE_WEIGHTS, NEGATIVES
from recsim_drpo.core.transitions import Batch


@dataclass(frozen=True)
class SoftmaxConfig(PolicyConfig):
    """Hyper-parameters of agents whose policy is a softmax over the catalogue.

    Attributes:
        temperature: T > 0. μ is not normalised, and can make up for it as it learns.
        num_negatives: m ≥ 1, items drawn at each update.
        sigma: ``"fixed"``: the policy has none to learn.
    """

    temperature: Annotated[Positive, Searched(0.02, 0.5, log=True)] = 0.1
    num_negatives: Count = 256
    sigma: Annotated[str, OneOf(("fixed",))] = "fixed"


def num_negatives(config: Any) -> int:
    """m, for ``Algorithm``."""
    return int(config.num_negatives)


def softmax_log_prob(parameters: Parameters, batch: Batch, temperature: Tensor | float) -> Tensor:
    """log π(a | s) ≤ 0 of the logged items by Ẑ above, (B,).

    Args:
        parameters: of the policy.
        batch: with the drawn items, ``infos["negatives"]`` (m, a) and ``infos["negative_weights"]``
            (B, m).
        temperature: T > 0.
    """
    mean, _ = policy_moments(parameters, batch.observations, "fixed")
    scores = softmax_scores(mean, batch, temperature)
    return scores[..., 0] - torch.logsumexp(scores, dim=-1)


def softmax_scores(mean: Tensor, batch: Batch, temperature: Tensor | float) -> Tensor:
    """Scores μ · a / T of the logged item, then of the drawn ones plus log w_j, (B, 1 + m).

    Their softmax is π over the items that the batch has, each drawn one for those it stands for.
    """
    negatives = batch.infos[NEGATIVES].to(mean.dtype)
    weights = batch.infos[NEGATIVE_WEIGHTS].to(mean.dtype)
    logged = ((mean * batch.actions).sum(-1) / temperature).unsqueeze(-1)
    others = torch.nn.functional.linear(mean, negatives).to(mean.dtype) / temperature
    # A weight of 0 is −∞ here: the item counts for nothing.
    return torch.cat((logged, others + weights.log()), dim=-1)


def loss(
    parameters: Parameters, state: State, batch: Batch, noise: Noise, config: SoftmaxConfig
) -> LossOutput:
    """−log π of the logged items, on average."""
    log_prob = softmax_log_prob(parameters, batch, config.temperature)
    return LossOutput(-log_prob.mean(), state, {"mean_probability": log_prob.exp().mean()})


SOFTMAX_BC = Algorithm(
    name="softmax-bc",
    summary="behaviour cloning by a softmax over the catalogue, its sum by sampled negatives",
    config=SoftmaxConfig,
    loss=loss,
    negatives=num_negatives,
)
