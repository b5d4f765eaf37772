r"""CRR: critic-regularised regression.

.. math:: L(\theta) = -\frac{1}{N} \sum_i f(\hat A_i) \log \pi_\theta(a_i \mid s_i), \qquad
    \hat A(s, a) = Q(s, a) - \frac{1}{m} \sum_{j=1}^m Q(s, a_j), \quad a_j \sim \pi_\theta(s)

f is min(exp(Â / β), 20) (``exp``) or 1(Â > 0) (``binary``). Q regresses r + γ (1 − d) Q̄(s', a'),
a' ~ π, with a target copied every 100 steps. Source: Wang et al., *Critic Regularized Regression*,
2020, whose defaults these are (m = 4, β = 1, the middle of Appendix I's grid as well). If every
advantage is positive the binary form is behaviour cloning; if none is the policy has nothing to
learn, which the metric ``idle_share`` counts.

Deviation: a scalar critic where the reference has a distributional one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from recsim_drpo.agents.algorithms.critics import init_targets
from recsim_drpo.agents.algorithms.filtering import idle_share
from recsim_drpo.agents.engine.algorithm import Algorithm, CriticConfig, LossOutput, Noise, State
from recsim_drpo.agents.engine.networks import (
    Parameters,
    action_value,
    gaussian_log_prob,
    policy_moments,
)
from recsim_drpo.core.config import Count, OneOf, Positive, Searched
from recsim_drpo.core.transitions import Batch

FORMS = ("exp", "binary")


@dataclass(frozen=True)
class CRRConfig(CriticConfig):
    """Hyper-parameters of CRR.

    Attributes:
        form: ``"exp"`` or ``"binary"``.
        beta: temperature β > 0 of ``exp``.
        max_weight: cap > 0 of ``exp``.
        num_samples: m ≥ 1 actions drawn for the baseline.
        target_every: steps between copies of the target, ≥ 1.
    """

    form: Annotated[str, OneOf(FORMS)] = "exp"
    beta: Annotated[Positive, Searched(0.05, 5.0, log=True)] = 1.0
    max_weight: Positive = 20.0
    num_samples: Count = 4
    target_every: Count = 100


def critics(observation_dim: int, action_dim: int, config: CRRConfig) -> dict[str, tuple[int, int]]:
    """Inputs and outputs of Q, by network name."""
    return {"q": (observation_dim + action_dim, 1)}


def init_state(parameters: Parameters, config: CRRConfig) -> State:
    """The target of Q, and ``step``, an int64 scalar."""
    return {**init_targets(parameters, config), "step": torch.zeros((), dtype=torch.int64)}


def noise_shapes(batch_size: int, action_dim: int, config: CRRConfig) -> dict[str, tuple[int, ...]]:
    """Shapes of the draws of a_j and of a', by name."""
    return {
        "samples": (config.num_samples, batch_size, action_dim),
        "next_actions": (batch_size, action_dim),
    }


def loss(
    parameters: Parameters, state: State, batch: Batch, noise: Noise, config: CRRConfig
) -> LossOutput:
    """The loss above, plus Q's."""
    target = {name.removeprefix("target."): tensor for name, tensor in state.items()}
    mean, log_std = policy_moments(parameters, batch.observations, config.sigma)
    with torch.no_grad():
        # y = r + γ (1 − d) Q̄(s', a') with a' ~ π(s').
        next_mean, next_log_std = policy_moments(parameters, batch.next_observations, config.sigma)
        next_actions = next_mean + next_log_std.exp() * noise["next_actions"]
        next_q = action_value(target, batch.next_observations, next_actions, "q")
        td_targets = batch.rewards + config.discount * next_q.masked_fill(batch.terminations, 0.0)
        # The baseline: Q's mean over m actions a_j ~ π(s).
        drawn = mean + log_std.exp() * noise["samples"]  # (samples, batch, action)
        observations = batch.observations.expand(config.num_samples, *batch.observations.shape)
        baseline = action_value(parameters, observations, drawn, "q").mean(dim=0)
    # Â(s, a), and Q's regression to y.
    estimate = action_value(parameters, batch.observations, batch.actions, "q")
    advantages = estimate.detach() - baseline
    q_loss = (td_targets - estimate).square().mean()
    # Regression weighted by f(Â).
    weights = _weights(advantages, config)
    log_prob = gaussian_log_prob(mean, log_std, batch.actions)
    metrics = {
        "q_loss": q_loss,
        "mean_weight": weights.mean(),
        "idle_share": idle_share(weights),
    }
    return LossOutput(-(weights * log_prob).mean() + q_loss, state, metrics)


def _weights(advantages: Tensor, config: CRRConfig) -> Tensor:
    """f(Â), (B,)."""
    if config.form == "binary":
        return (advantages > 0).to(advantages.dtype)
    return torch.exp(advantages / config.beta).clamp(max=config.max_weight)


def update_targets(parameters: Parameters, state: State, config: CRRConfig) -> State:
    """The next state: the step is counted, and Q copied into its target every ``target_every``."""
    step = state["step"] + 1
    is_due = step % config.target_every == 0
    return {
        name: step
        if name == "step"
        else torch.where(is_due, parameters[name.removeprefix("target.")].detach(), tensor)
        for name, tensor in state.items()
    }


CRR = Algorithm(
    name="crr",
    summary="critic-regularised regression: weights by Q(s, a) minus its mean under the policy",
    config=CRRConfig,
    loss=loss,
    critics=critics,
    init_state=init_state,
    noise=noise_shapes,
    update_targets=update_targets,
)
