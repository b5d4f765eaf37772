r"""DRPO: distributionally robust policy optimisation, and its variants.

With the weights w, threshold ν and standard deviation σ_subset of the variance-guided filter
(:mod:`recsim_drpo.agents.algorithms.filtering`) at the current κ, ``drpo`` (Algorithm 1) minimises

.. math:: L(\theta) = -\frac{1}{\sum_i w_i} \sum_i w_i \,
    \frac{R_i - \nu}{\sigma_{\mathrm{subset}}} \, \log \pi_\theta(a_i \mid s_i)

and κ then follows the controller. Source: Section 4, Appendix G, Table 5; the advantage of Eq. 13
is linear above ν by choice (maximum likelihood under the filtered distribution would weigh admitted
samples equally: that is Adaptive BC). With ``baseline="mean"`` the advantage is R − mean(R_subset),
signed: hard filtering without a soft base, the first row of Table 2.

``drpo-exp`` (Appendix J) weighs the admitted samples by exp((R − mean(R_subset)) / β), on raw
rewards and uncapped, in place of the normalised advantage. It is a heuristic: the KKT solution of
Eq. 43 is another rule. At β → ∞ it is Adaptive BC. The default, Table 5's β = 0.05 on raw rewards
as J writes it, is the fragile reading: weights grow by e for each 0.05 of reward, so that noise
decides which samples count, and eCPM is far below that of the others. Algorithm 1 normalises the
advantage before it allows weights exp(A / β): ``standardize=True`` is that reading, with β in
units of σ_subset (1 is natural). ``cap="batch"`` lets no weight be above N, the largest density
ratio that a batch of N can have; at β = 0.2 on raw rewards none comes near it. ``recsim-drpo
reproduce readings`` has them beside one another.

``drpo-boltzmann`` is that rule as an agent: maximum likelihood under the exact solution of Eq. 43,
with weights min(1/κ, exp((R − λ)/β)) that average 1 over the batch
(:func:`.theory.capped_exponentials`) and κ by the same controller. It caps the
top and rejects nobody; at β → 0 it is Adaptive BC, at β → ∞ behaviour cloning.

``drpo-q`` (Section 4.3) filters and weighs by min Q̄(s, a) of IQL's critics in place of R, for logs
of several steps.

Where rewards tie at the top, as clicks do that are more than the share κ of a batch, no admitted
reward is above ν: ``drpo`` and ``drpo-q`` then have no advantage and nothing to learn, which the
metric ``idle_share`` counts. The others go on to clone the admitted alike.

Deviations: samples that tie at ν share the admitted mass that is left, where Algorithm 1 takes
whichever a sort puts first; standard deviations are the population's; K is at least 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from recsim_drpo.agents.algorithms.critics import (
    ExpectileConfig,
    expectile_critics,
    expectile_losses,
    init_targets,
    move_targets,
)
from recsim_drpo.agents.algorithms.filtering import (
    FilterConfig,
    Filtered,
    adapt_kappa,
    filter_metrics,
    init_kappa,
    top_kappa,
)
from recsim_drpo.agents.algorithms.theory import capped_exponentials
from recsim_drpo.agents.engine.algorithm import Algorithm, LossOutput, Noise, PolicyConfig, State
from recsim_drpo.agents.engine.networks import Parameters, policy_log_prob
from recsim_drpo.core.config import OneOf, Positive, Searched
from recsim_drpo.core.transitions import Batch

BASELINES = ("threshold", "mean")
CAPS = ("none", "batch")


@dataclass(frozen=True)
class DRPOConfig(PolicyConfig, FilterConfig):
    """Hyper-parameters of DRPO: of the policy, of the filter, and one of its own.

    Attributes:
        baseline: ``"threshold"`` (ν: no advantage is negative) or ``"mean"`` (signed).
    """

    baseline: Annotated[str, OneOf(BASELINES)] = "threshold"


@dataclass(frozen=True)
class DRPOExpConfig(PolicyConfig, FilterConfig):
    """Hyper-parameters of DRPO-Exp: of the policy, of the filter, and of its weights.

    Attributes:
        beta: temperature β > 0, in units of reward, or of σ_subset where it is standardised.
        standardize: whether advantages are divided by σ_subset, as Algorithm 1 has them.
        cap: of the weights: ``"none"``, or ``"batch"``, the number of samples in one.
    """

    beta: Annotated[Positive, Searched(0.02, 2.0, log=True)] = 0.05
    standardize: bool = False
    cap: Annotated[str, OneOf(CAPS)] = "none"


@dataclass(frozen=True)
class DRPOBoltzmannConfig(PolicyConfig, FilterConfig):
    """Hyper-parameters of DRPO-Boltzmann: of the policy, of the filter, and β.

    Attributes:
        beta: temperature β > 0 (τ in Eq. 43), in units of reward.
    """

    beta: Annotated[Positive, Searched(0.02, 2.0, log=True)] = 0.05


@dataclass(frozen=True)
class DRPOQConfig(ExpectileConfig, FilterConfig):
    """Hyper-parameters of DRPO-Q: of the policy, of IQL's critics and of the filter."""


def loss(
    parameters: Parameters, state: State, batch: Batch, noise: Noise, config: DRPOConfig
) -> LossOutput:
    """The first loss above, and the next κ."""
    # Algorithm 1, step 1 (Filtering).
    filtered = top_kappa(batch.rewards, state["kappa"])
    # Algorithm 1, step 3 (Variational Update): the normalised advantage over ν (Eq. 13).
    base = filtered.threshold if config.baseline == "threshold" else filtered.subset_mean
    advantages = (batch.rewards - base) / filtered.subset_std
    return _filtered_loss(parameters, state, batch, config, filtered, advantages)


def exp_loss(
    parameters: Parameters, state: State, batch: Batch, noise: Noise, config: DRPOExpConfig
) -> LossOutput:
    """The loss of DRPO-Exp, and the next κ."""
    # Algorithm 1, step 1 (Filtering).
    filtered = top_kappa(batch.rewards, state["kappa"])
    # Algorithm 1, step 3 (Variational Update): exponential weights within the filter (Eq. 45).
    # Rejected samples have weight 0: their exponent must not overflow before it is multiplied.
    above = torch.maximum(batch.rewards, filtered.threshold) - filtered.subset_mean
    if config.standardize:
        above = above / filtered.subset_std
    weights = torch.exp(above / config.beta)
    if config.cap == "batch":
        weights = weights.clamp(max=float(len(batch.rewards)))
    return _filtered_loss(parameters, state, batch, config, filtered, weights)


def boltzmann_loss(
    parameters: Parameters, state: State, batch: Batch, noise: Noise, config: DRPOBoltzmannConfig
) -> LossOutput:
    """−(1/N) Σ w log π with the weights of Eq. 43, and the next κ."""
    kappa = state["kappa"]
    # Eq. 43, exactly: w = min(1/κ, exp((R − λ)/β)) with λ such that they average 1.
    rewards = batch.rewards.to(torch.float64)
    uniform = torch.full_like(rewards, 1.0 / len(rewards))
    weights = capped_exponentials(rewards / config.beta, uniform, kappa).to(batch.rewards.dtype)
    log_prob = policy_log_prob(parameters, batch.observations, batch.actions, config.sigma)
    # Algorithm 1, step 2 (Feedback Control), by the filter that admits the same share.
    filtered = top_kappa(batch.rewards, kappa)
    next_state = {**state, "kappa": adapt_kappa(kappa, filtered, config)}
    metrics = {**filter_metrics(kappa, filtered, weights), "max_weight": weights.max()}
    return LossOutput(-(weights * log_prob).mean(), next_state, metrics)


def q_loss(
    parameters: Parameters, state: State, batch: Batch, noise: Noise, config: DRPOQConfig
) -> LossOutput:
    """The loss of DRPO-Q plus the critics', and the next κ."""
    # IQL's critics, whose min Q̄(s, a) takes the place of R.
    values, _, critic_loss = expectile_losses(parameters, state, batch, config)
    # Algorithm 1, step 1 (Filtering) and step 3 (Variational Update).
    filtered = top_kappa(values, state["kappa"])
    advantages = (values - filtered.threshold) / filtered.subset_std
    output = _filtered_loss(parameters, state, batch, config, filtered, advantages)
    metrics = {**output.metrics, "critic_loss": critic_loss}
    return LossOutput(output.loss + critic_loss, output.state, metrics)


def _filtered_loss(
    parameters: Parameters,
    state: State,
    batch: Batch,
    config: DRPOConfig | DRPOExpConfig | DRPOQConfig,
    filtered: Filtered,
    advantages: Tensor,
) -> LossOutput:
    """−Σ w A log π / Σ w, with the filter's metrics and the next κ."""
    # Algorithm 1, step 4 (Parameter Step): the loss whose gradient it follows.
    log_prob = policy_log_prob(parameters, batch.observations, batch.actions, config.sigma)
    weights = filtered.weights * advantages
    total = -(weights * log_prob).sum() / filtered.weights.sum()
    # Algorithm 1, step 2 (Feedback Control).
    next_state = {**state, "kappa": adapt_kappa(state["kappa"], filtered, config)}
    return LossOutput(total, next_state, filter_metrics(state["kappa"], filtered, weights))


def init_q_state(parameters: Parameters, config: DRPOQConfig) -> State:
    """κ and the target networks of the critics."""
    return {**init_kappa(parameters, config), **init_targets(parameters, config)}


DRPO = Algorithm(
    name="drpo",
    summary="hard filtering of the top κ rewards, κ guided by variance, linear advantage above ν",
    config=DRPOConfig,
    loss=loss,
    init_state=init_kappa,
)
DRPO_EXP = Algorithm(
    name="drpo-exp",
    summary="the same filter, admitted rewards weighted by exp((R - mean) / β)",
    config=DRPOExpConfig,
    loss=exp_loss,
    init_state=init_kappa,
)
DRPO_BOLTZMANN = Algorithm(
    name="drpo-boltzmann",
    summary="the exact solution of Eq. 43: Boltzmann weights of rewards, capped at 1 / κ",
    config=DRPOBoltzmannConfig,
    loss=boltzmann_loss,
    init_state=init_kappa,
)
DRPO_Q = Algorithm(
    name="drpo-q",
    summary="the same filter on a learnt Q (IQL's critics), for logs of several steps",
    config=DRPOQConfig,
    loss=q_loss,
    critics=expectile_critics,
    init_state=init_q_state,
    update_targets=move_targets,
)
