r"""BPPO: behaviour proximal policy optimisation.

First ``bc_steps`` updates of behaviour cloning, which give π_0; then PPO's clipped objective on
actions of the policy being replaced, π_old,

.. math:: L(\theta) = -E_{a \sim \pi_{old}(s)} \min\!\left(\rho A,\,
    \mathrm{clip}(\rho, 1 - \epsilon, 1 + \epsilon) A\right), \qquad
    \rho = \frac{\pi_\theta(a \mid s)}{\pi_{old}(a \mid s)}

with A = Q(s, a) − V(s), standardised over the batch. Q and V regress y on the log, during both
phases. Source: Zhuang et al., *Behavior Proximal Policy Optimization*, 2023.

Deviations: the public code replaces π_old when *online* evaluation improves, which leaks the test;
here it is replaced every ``replace_every`` steps, and ε then decays by ``epsilon_decay``. ε = 0.2
is the middle of Appendix I's grid (the reference's default is 0.25). Q learns by temporal
differences to V(s') instead of SARSA; in a bandit they agree.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch

from recsim_drpo.agents.algorithms.critics import td_target
from recsim_drpo.agents.algorithms.filtering import weighted_std
from recsim_drpo.agents.engine.algorithm import Algorithm, CriticConfig, LossOutput, Noise, State
from recsim_drpo.agents.engine.networks import (
    Parameters,
    action_value,
    gaussian_log_prob,
    policy_log_prob,
    policy_moments,
    value,
)
from recsim_drpo.core.config import Count, NonNegativeInt, OpenShare, Searched, Share
from recsim_drpo.core.transitions import Batch


@dataclass(frozen=True)
class BPPOConfig(CriticConfig):
    """Hyper-parameters of BPPO.

    Attributes:
        epsilon: clip ratio ε in (0, 1).
        epsilon_decay: factor in (0, 1] on ε at each replacement of π_old.
        bc_steps: updates of behaviour cloning, ≥ 0.
        replace_every: clipped updates between replacements of π_old, ≥ 1.
    """

    epsilon: Annotated[OpenShare, Searched(0.05, 0.4)] = 0.2
    epsilon_decay: Share = 0.96
    bc_steps: NonNegativeInt = 2_500
    replace_every: Count = 100


def critics(
    observation_dim: int, action_dim: int, config: BPPOConfig
) -> dict[str, tuple[int, int]]:
    """Inputs and outputs of Q and V, by network name."""
    return {"q": (observation_dim + action_dim, 1), "value": (observation_dim, 1)}


def init_state(parameters: Parameters, config: BPPOConfig) -> State:
    """π_old as ``old.*``, the current ``epsilon``, float64, and ``step``, int64, scalars."""
    old = {
        f"old.{name}": tensor.detach().clone()
        for name, tensor in parameters.items()
        if name.startswith("policy.") or name == "log_std"
    }
    epsilon = torch.tensor(config.epsilon, dtype=torch.float64)
    return {**old, "epsilon": epsilon, "step": torch.zeros((), dtype=torch.int64)}


def noise_shapes(
    batch_size: int, action_dim: int, config: BPPOConfig
) -> dict[str, tuple[int, ...]]:
    """Shape of the draws of π_old's actions, by name."""
    return {"old": (batch_size, action_dim)}


def loss(
    parameters: Parameters, state: State, batch: Batch, noise: Noise, config: BPPOConfig
) -> LossOutput:
    """The loss of the phase that the step is in, plus the critics'."""
    # Critics: Q and V regress y.
    td_targets = td_target(parameters, batch, config.discount)
    estimate = value(parameters, batch.observations)
    q_error = td_targets - action_value(parameters, batch.observations, batch.actions, "q")
    critic_loss = q_error.square().mean() + (td_targets - estimate).square().mean()

    # Actions a ~ π_old, and their standardised advantages A = Q(s, a) − V(s).
    old = {name.removeprefix("old."): t for name, t in state.items() if name.startswith("old.")}
    with torch.no_grad():
        old_mean, old_log_std = policy_moments(old, batch.observations, config.sigma)
        actions = old_mean + old_log_std.exp() * noise["old"]
        old_log_prob = gaussian_log_prob(old_mean, old_log_std, actions)
        gaps = action_value(parameters, batch.observations, actions, "q") - estimate
        advantages = (gaps - gaps.mean()) / weighted_std(gaps, torch.ones_like(gaps))

    # PPO's clipped objective.
    log_prob = policy_log_prob(parameters, batch.observations, actions, config.sigma)
    ratio = torch.exp(log_prob - old_log_prob)
    epsilon = state["epsilon"].to(ratio.dtype)
    clipped = torch.clamp(ratio, 1.0 - epsilon, 1.0 + epsilon)
    proximal = -torch.minimum(ratio * advantages, clipped * advantages).mean()

    # Behaviour cloning, which comes first.
    cloning = -policy_log_prob(parameters, batch.observations, batch.actions, config.sigma).mean()
    policy_loss = torch.where(state["step"] < config.bc_steps, cloning, proximal)
    metrics = {"critic_loss": critic_loss, "epsilon": state["epsilon"], "ratio": ratio.mean()}
    return LossOutput(policy_loss + critic_loss, state, metrics)


def update_targets(parameters: Parameters, state: State, config: BPPOConfig) -> State:
    """The next state: π_old is the policy while it clones, and is then replaced on schedule."""
    step = state["step"] + 1
    is_cloning = step <= config.bc_steps
    is_due = (~is_cloning) & ((step - config.bc_steps) % config.replace_every == 0)
    next_old = {
        name: torch.where(
            is_cloning | is_due, parameters[name.removeprefix("old.")].detach(), tensor
        )
        for name, tensor in state.items()
        if name.startswith("old.")
    }
    epsilon = torch.where(is_due, state["epsilon"] * config.epsilon_decay, state["epsilon"])
    return {**next_old, "epsilon": epsilon, "step": step}


BPPO = Algorithm(
    name="bppo",
    summary="behaviour cloning, then clipped policy updates on a fixed schedule",
    config=BPPOConfig,
    loss=loss,
    critics=critics,
    init_state=init_state,
    noise=noise_shapes,
    update_targets=update_targets,
)
