r"""Behaviour cloning.

.. math:: L(\theta) = -\frac{1}{N} \sum_i \log \pi_\theta(a_i \mid s_i)

Source: Appendix I. No deviations.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from recsim_drpo.agents.learner import Algorithm, LossOutput, PolicyConfig
from recsim_drpo.agents.networks import Parameters, policy_log_prob
from recsim_drpo.agents.protocol import Batch


@dataclass(frozen=True)
class BCConfig(PolicyConfig):
    """Hyper-parameters of behaviour cloning: those of the policy."""


def loss(
    parameters: Parameters, state: dict[str, Tensor], batch: Batch, config: BCConfig
) -> LossOutput:
    """The loss above; ``state`` is empty."""
    log_prob = policy_log_prob(parameters, batch.observations, batch.actions)
    return LossOutput(-log_prob.mean(), state, {})


BC = Algorithm(
    name="bc",
    summary="behaviour cloning: maximum likelihood of all logged actions",
    config=BCConfig,
    init_state=lambda config: {},
    loss=loss,
)
