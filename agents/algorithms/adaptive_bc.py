r"""Adaptive BC: behaviour cloning of what the variance-guided filter admits.

.. math:: L(\theta) = -\frac{1}{\sum_i w_i} \sum_i w_i \log \pi_\theta(a_i \mid s_i)

with the weights w of :mod:`.algorithms.filtering`: maximum likelihood under the exact
solution of the optimistic DRO problem (Theorem 4.1). Source: Appendix I. At κ = 1 it is behaviour
cloning. Deviations: as in :mod:`recsim_drpo.agents.algorithms.drpo`.
"""

from __future__ import annotations

from dataclasses import dataclass

from recsim_drpo.agents.algorithms.filtering import (
    FilterConfig,
    adapt_kappa,
    filter_metrics,
    init_kappa,
    top_kappa,
)
from recsim_drpo.agents.engine.algorithm import Algorithm, LossOutput, Noise, PolicyConfig, State
from recsim_drpo.agents.engine.networks import Parameters, policy_log_prob
from recsim_drpo.core.transitions import Batch


@dataclass(frozen=True)
class AdaptiveBCConfig(PolicyConfig, FilterConfig):
    """Hyper-parameters of Adaptive BC: those of the policy and of the filter."""


def loss(
    parameters: Parameters, state: State, batch: Batch, noise: Noise, config: AdaptiveBCConfig
) -> LossOutput:
    """The loss above, and the next κ."""
    kappa = state["kappa"]
    # Algorithm 1, step 1 (Filtering).
    filtered = top_kappa(batch.rewards, kappa)
    # Maximum likelihood under the solution of Theorem 4.1: admitted samples weigh equally.
    log_prob = policy_log_prob(parameters, batch.observations, batch.actions, config.sigma)
    total = -(filtered.weights * log_prob).sum() / filtered.weights.sum()
    # Algorithm 1, step 2 (Feedback Control).
    next_state = {"kappa": adapt_kappa(kappa, filtered, config)}
    return LossOutput(total, next_state, filter_metrics(kappa, filtered, filtered.weights))


ADAPTIVE_BC = Algorithm(
    name="adaptive-bc",
    summary="behaviour cloning of the top κ rewards, κ guided by variance",
    config=AdaptiveBCConfig,
    loss=loss,
    init_state=init_kappa,
)
