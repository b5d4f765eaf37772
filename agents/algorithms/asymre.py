r"""AsymRe, as the paper has it and as its authors have it.

``asymre`` (Appendix I) attenuates negative advantages by a fixed weight,

.. math:: L(\theta) = -\frac{1}{N} \sum_i w(\hat A_i)\, \hat A_i \log \pi_\theta(a_i \mid s_i),
    \qquad w = 1 \text{ if } \hat A_i \ge 0, \text{ else } w^-

with w⁻ = 0.1; at w⁻ = 1 it is APG. ``asymre-delta`` is the objective of Arnal et al., *Asymmetric
REINFORCE for off-Policy Reinforcement Learning*, 2025, who shift the baseline instead,

.. math:: L(\theta) = -\frac{1}{N} \sum_i (R_i - (V + \delta V)) \log \pi_\theta(a_i \mid s_i)

with δV = −0.1. The baseline is the batch mean or V(s), with y for R in the second case. Deviations:
the references use the batch mean (a group's, in language models); V(s) is our option.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge, Le

from recsim_drpo.agents.algorithms.critics import (
    BaselineConfig,
    baseline_advantages,
    baseline_critics,
)
from recsim_drpo.agents.engine.algorithm import Algorithm, LossOutput, Noise, State
from recsim_drpo.agents.engine.networks import Parameters, policy_log_prob
from recsim_drpo.core.config import NonNegative, Searched
from recsim_drpo.core.transitions import Batch


@dataclass(frozen=True)
class AsymReConfig(BaselineConfig):
    """Hyper-parameters of AsymRe as in Appendix I.

    Attributes:
        negative_weight: w⁻ ≥ 0.
    """

    negative_weight: Annotated[NonNegative, Searched(0.0, 0.5)] = 0.1


@dataclass(frozen=True)
class AsymReDeltaConfig(BaselineConfig):
    """Hyper-parameters of AsymRE as its authors have it.

    Attributes:
        delta_v: δV, any number; negative puts the emphasis on good actions.
    """

    delta_v: Annotated[float, Ge(-1e6), Le(1e6), Searched(-0.5, 0.5)] = -0.1


def loss(
    parameters: Parameters, state: State, batch: Batch, noise: Noise, config: AsymReConfig
) -> LossOutput:
    """The first loss above, plus the baseline's."""
    # Â: the return minus its baseline.
    advantages, baseline_loss = baseline_advantages(parameters, batch, config)
    # w(Â): 1 where Â ≥ 0, else w⁻.
    negative = (advantages < 0).to(advantages.dtype)
    weights = (1.0 - negative) + config.negative_weight * negative
    log_prob = policy_log_prob(parameters, batch.observations, batch.actions, config.sigma)
    return LossOutput(
        -(weights * advantages * log_prob).mean() + baseline_loss,
        state,
        {"negative_share": negative.mean()},
    )


def delta_loss(
    parameters: Parameters, state: State, batch: Batch, noise: Noise, config: AsymReDeltaConfig
) -> LossOutput:
    """The second loss above, plus the baseline's."""
    # R − (V + δV): the baseline is shifted.
    advantages, baseline_loss = baseline_advantages(parameters, batch, config)
    shifted = advantages - config.delta_v
    log_prob = policy_log_prob(parameters, batch.observations, batch.actions, config.sigma)
    negative = (shifted < 0).to(advantages.dtype).mean()
    return LossOutput(
        -(shifted * log_prob).mean() + baseline_loss, state, {"negative_share": negative}
    )


ASYMRE = Algorithm(
    name="asymre",
    summary="policy gradient with negative advantages weighted by 0.1 (the paper's AsymRe)",
    config=AsymReConfig,
    loss=loss,
    critics=baseline_critics,
)
ASYMRE_DELTA = Algorithm(
    name="asymre-delta",
    summary="policy gradient with a baseline shifted by δV = -0.1 (the authors' AsymRE)",
    config=AsymReDeltaConfig,
    loss=delta_loss,
    critics=baseline_critics,
)
