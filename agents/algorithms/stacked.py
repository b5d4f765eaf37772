r"""Stacked: three policies learnt from one log, and one policy that is their weighted mean.

No method is best on every log. Three that are good on different ones learn side by side, each from
the rounds and nothing of the others,

- ``regressed``: two-tower regression (:mod:`.algorithms.two_tower`) with its penalty,
  :math:`r \sim \varsigma(\mu(s) \cdot a + b(s))`, which is best where attention is narrow and
  rounds are many;
- ``anchored``: the same without a penalty and with a scale,
  :math:`r \sim \varsigma(2 e^{c(s)} \mu(s) \cdot a + b(s))`, whose μ is drawn by ``anchor`` ·
  ½ ‖a − μ(s)‖² to the actions that DRPO admits, weighted as DRPO weighs them;
- ``weighted``: regression to the actions with weights min(exp(Â), 20), Â the reward standardised
  over the batch: AWR (:mod:`.algorithms.awr`) with the batch's mean for V and σ = 1, which is best
  where the logger knew much and rounds are few or rewards noisy.

Their unit actions are weighted by how well they predict the rewards of a fifth of the rounds
(:mod:`.algorithms.stacking`), which is kept from all three for the first ``held_out_steps``
updates. After these the weights stay, and the three learn from all rounds. ``policy`` is a network
of its own that regresses the weighted mean,

.. math:: L_\pi = \frac{1}{2N} \sum_i
    \| \mu(s_i) - \mathrm{unit}(\textstyle\sum_k w_k u_k(s_i)) \|^2

so that what is kept, exported and served is one policy like every other agent's. Networks are
apart: their losses are added, and each has the gradient of its own.

Deviations: b and c are further outputs of the tower where two-tower regression has a network; the
filter's threshold is that of the whole batch, rounds held out among them; a bandit method, which
does not look ahead.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from recsim_drpo.agents.algorithms.filtering import (
    FilterConfig,
    Filtered,
    adapt_kappa,
    filter_metrics,
    init_kappa,
    top_kappa,
    weighted_std,
)
from recsim_drpo.agents.algorithms.stacking import (
    follow,
    held_out,
    improved,
    moments_of,
    shares,
    unit,
)
from recsim_drpo.agents.algorithms.two_tower import REWARD_RANGE, cross_entropy
from recsim_drpo.agents.engine.algorithm import Algorithm, LossOutput, Noise, PolicyConfig, State
from recsim_drpo.agents.engine.networks import Parameters, network
from recsim_drpo.core.config import NonNegative, NonNegativeInt, OneOf
from recsim_drpo.core.transitions import Batch

MEMBERS = ("regressed", "anchored", "weighted")
"""The three policies, which are the names of their networks as well."""

_EXTRA_OUTPUTS = {"regressed": 1, "anchored": 2}  # b; b and c
_MAX_WEIGHT = 20.0
_SCALE = 2.0
_SCALE_RANGE = (-5.0, 5.0)


@dataclass(frozen=True)
class StackedConfig(PolicyConfig, FilterConfig):
    """Hyper-parameters of the stacked agent: of its networks, of the filter, and three of its own.

    Attributes:
        sigma: ``"fixed"``, since no density is fitted.
        penalty: λ ≥ 0 of ``regressed``.
        anchor: ≥ 0, how strongly ``anchored`` is drawn to what the filter admits.
        held_out_steps: updates, ≥ 0, for which a fifth of the rounds is kept from the three and the
            weights learn; at 0 all have the same weight for good.
    """

    sigma: Annotated[str, OneOf(("fixed",))] = "fixed"
    penalty: NonNegative = 3e-3
    anchor: NonNegative = 0.1
    held_out_steps: NonNegativeInt = 3_000


def critics(
    observation_dim: int, action_dim: int, config: StackedConfig
) -> dict[str, tuple[int, int]]:
    """Inputs and outputs of the three, by network name."""
    return {name: (observation_dim, action_dim + _EXTRA_OUTPUTS.get(name, 0)) for name in MEMBERS}


def init_state(parameters: Parameters, config: StackedConfig) -> State:
    """κ; ``moments`` and ``weights`` of the stacking, float64; ``step``, an int64 scalar."""
    size = len(MEMBERS)
    return {
        **init_kappa(parameters, config),
        "moments": torch.zeros(size + 2, size + 2, dtype=torch.float64),
        "weights": torch.zeros(size, dtype=torch.float64),
        "step": torch.zeros((), dtype=torch.int64),
    }


def outputs_of(parameters: Parameters, observations: Tensor) -> dict[str, Tensor]:
    """The outputs of the three networks, (B, a) and more, for observations (B, o), by name."""
    return {name: network(parameters, name, observations) for name in MEMBERS}


def unit_actions(outputs: dict[str, Tensor], action_dim: int) -> Tensor:
    """Unit actions of the three, (3, B, a) in the order of :data:`MEMBERS`, without gradient."""
    return unit(torch.stack([outputs[name][..., :action_dim].detach() for name in MEMBERS]))


def loss(
    parameters: Parameters, state: State, batch: Batch, noise: Noise, config: StackedConfig
) -> LossOutput:
    """The sum of the losses of the three and of the policy, and the next κ, moments and weights."""
    action_dim = batch.actions.shape[-1]
    is_apart = state["step"] < config.held_out_steps
    apart = (held_out(batch.observations, batch.actions) & is_apart).to(batch.rewards.dtype)
    filtered = top_kappa(batch.rewards, state["kappa"])
    # The three, on the rounds that are not held out.
    outputs = outputs_of(parameters, batch.observations)
    losses = _member_losses(outputs, batch, filtered, 1.0 - apart, config)
    # Their weights, by those that are.
    actions = unit_actions(outputs, action_dim)
    scores = (actions * batch.actions).sum(dim=-1).mT
    moments = follow(state["moments"], moments_of(scores, batch.rewards, apart))
    weights = torch.where(is_apart, improved(state["weights"], moments), state["weights"])
    mix = shares(weights)
    # The policy regresses their weighted mean, whose items need no rewards.
    goal = unit((mix.to(actions.dtype).reshape(-1, 1, 1) * actions).sum(dim=0))
    gap = network(parameters, "policy", batch.observations) - goal
    losses["policy"] = 0.5 * gap.square().sum(dim=-1).mean()
    next_state = {
        "kappa": adapt_kappa(state["kappa"], filtered, config),
        "moments": moments,
        "weights": weights,
        "step": state["step"] + 1,
    }
    metrics = filter_metrics(state["kappa"], filtered, filtered.weights)
    metrics |= {f"{name}_loss": value.detach() for name, value in losses.items()}
    metrics |= {f"{name}_share": mix[place] for place, name in enumerate(MEMBERS)}
    return LossOutput(torch.stack(list(losses.values())).sum(), next_state, metrics)


def _member_losses(
    outputs: dict[str, Tensor],
    batch: Batch,
    filtered: Filtered,
    taught: Tensor,
    config: StackedConfig,
) -> dict[str, Tensor]:
    """The losses of the three, scalars, over the rows (B,) that ``taught`` is 1 for."""
    rewards, actions = batch.rewards, batch.actions
    action_dim, count = actions.shape[-1], taught.sum().clamp_min(1.0)
    losses = {}
    # exp of standardised rewards.
    gaps = rewards - rewards.mean()
    standard = gaps / weighted_std(rewards, torch.ones_like(rewards))
    exponential = taught * torch.exp(standard).clamp(max=_MAX_WEIGHT) / count
    losses["weighted"] = (exponential * _half_squares(outputs["weighted"], actions)).sum()
    # z = μ·a + b, and z = 2 exp(c) μ·a + b.
    mean, baseline = torch.split(outputs["regressed"], [action_dim, 1], dim=-1)
    predicted = cross_entropy((mean * actions).sum(dim=-1) + baseline.squeeze(-1), rewards)
    ridge = config.penalty * mean.square().sum(dim=-1)
    losses["regressed"] = (taught * (predicted + ridge)).sum() / count
    mean, baseline, log_scale = torch.split(outputs["anchored"], [action_dim, 1, 1], dim=-1)
    scale = _SCALE * log_scale.squeeze(-1).clamp(*_SCALE_RANGE).exp()
    predicted = cross_entropy(scale * (mean * actions).sum(dim=-1) + baseline.squeeze(-1), rewards)
    # Algorithm 1's weights and advantages.
    admitted = taught * filtered.weights
    above = admitted * (rewards - filtered.threshold) / filtered.subset_std
    drawn = (above * _half_squares(mean, actions)).sum() / admitted.sum().clamp_min(1.0)
    losses["anchored"] = (taught * predicted).sum() / count + config.anchor * drawn
    return losses


def _half_squares(means: Tensor, actions: Tensor) -> Tensor:
    """½ ‖a − μ‖², (B,)."""
    return 0.5 * (actions - means).square().sum(dim=-1)


STACKED = Algorithm(
    name="stacked",
    summary="three policies side by side, weighted by how they predict rewards held out of the log",
    config=StackedConfig,
    loss=loss,
    critics=critics,
    init_state=init_state,
    reward_range=REWARD_RANGE,
)
