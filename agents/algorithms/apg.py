r"""APG: advantage policy gradient on logged data, without importance weights.

.. math:: L(\theta) = -\frac{1}{N} \sum_i \hat A_i \log \pi_\theta(a_i \mid s_i)

with Â the reward minus its batch mean, or y − V(s). Source: Eq. 2, Appendix I, which leaves the
baseline open ("value function or batch average"). Advantages are not normalised. It is the method
that the paper shows to diverge; nothing here prevents it.
"""

from __future__ import annotations

from dataclasses import dataclass

from recsim_drpo.agents.algorithms.critics import (
    BaselineConfig,
    baseline_advantages,
    baseline_critics,
)
from recsim_drpo.agents.engine.algorithm import Algorithm, LossOutput, Noise, State
from recsim_drpo.agents.engine.networks import Parameters, policy_log_prob
from recsim_drpo.core.transitions import Batch


@dataclass(frozen=True)
class APGConfig(BaselineConfig):
    """Hyper-parameters of APG: those of the policy and of the baseline."""


def loss(
    parameters: Parameters, state: State, batch: Batch, noise: Noise, config: APGConfig
) -> LossOutput:
    """The loss above, plus the baseline's."""
    # Â: the return minus its baseline.
    advantages, baseline_loss = baseline_advantages(parameters, batch, config)
    # Eq. 2, without importance weights.
    log_prob = policy_log_prob(parameters, batch.observations, batch.actions, config.sigma)
    negative = (advantages < 0).to(advantages.dtype).mean()
    return LossOutput(
        -(advantages * log_prob).mean() + baseline_loss, state, {"negative_share": negative}
    )


APG = Algorithm(
    name="apg",
    summary="policy gradient with signed advantages on the log as it is; diverges by design",
    config=APGConfig,
    loss=loss,
    critics=baseline_critics,
)
