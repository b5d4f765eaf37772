r"""Behaviour cloning.

.. math:: L(\theta) = -\frac{1}{N} \sum_i \log \pi_\theta(a_i \mid s_i)

Source: Appendix I. No deviations.
"""

from __future__ import annotations

from dataclasses import dataclass

from recsim_drpo.agents.engine.algorithm import Algorithm, LossOutput, Noise, PolicyConfig, State
from recsim_drpo.agents.engine.networks import Parameters, policy_log_prob
from recsim_drpo.core.transitions import Batch


@dataclass(frozen=True)
class BCConfig(PolicyConfig):
    """Hyper-parameters of behaviour cloning: those of the policy."""


def loss(
    parameters: Parameters, state: State, batch: Batch, noise: Noise, config: BCConfig
) -> LossOutput:
    """The loss above: −log π of the logged actions, on average."""
    log_prob = policy_log_prob(parameters, batch.observations, batch.actions, config.sigma)
    return LossOutput(-log_prob.mean(), state, {})


BC = Algorithm(
    name="bc",
    summary="behaviour cloning: maximum likelihood of all logged actions",
    config=BCConfig,
    loss=loss,
)
