r"""DRPO: distributionally robust policy optimisation (Algorithm 1).

With the weights w, threshold ν and standard deviation σ_subset of the variance-guided filter
(:mod:`recsim_drpo.agents.filtering`) at the current κ,

.. math:: L(\theta) = -\frac{1}{\sum_i w_i} \sum_i w_i \,
    \frac{R_i - \nu}{\sigma_{\mathrm{subset}}} \, \log \pi_\theta(a_i \mid s_i)

and κ then follows the controller. Source: Section 4, Appendix G, Table 5; the advantage of Eq. 13
is linear above ν by choice (maximum likelihood under the filtered distribution would weigh admitted
samples equally).

Deviations: samples that tie at ν share the admitted mass that is left, where Algorithm 1 takes
whichever a sort puts first; standard deviations are the population's; K is at least 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from recsim_drpo.agents.filtering import adapt_kappa, top_kappa
from recsim_drpo.agents.learner import Algorithm, LossOutput, PolicyConfig
from recsim_drpo.agents.networks import Parameters, policy_log_prob
from recsim_drpo.agents.protocol import Batch
from recsim_drpo.checks import check_number


@dataclass(frozen=True)
class DRPOConfig(PolicyConfig):
    """Hyper-parameters of DRPO (Table 5).

    Attributes:
        initial_kappa: p_0 in (0, 1], the share admitted at first.
        target_ratio: ρ > 0 (λ in Appendix G), the wanted σ_subset / σ_batch.
        relax_rate: γ_up ≥ 1.
        tighten_rate: γ_down in (0, 1].
        min_kappa: floor of κ, in (0, 1], at most ``initial_kappa``.
    """

    initial_kappa: float = 0.5
    target_ratio: float = 0.5
    relax_rate: float = 1.02
    tighten_rate: float = 0.98
    min_kappa: float = 0.05

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("initial_kappa", self.initial_kappa, 0.0, 1.0, include_low=False)
        check_number("target_ratio", self.target_ratio, 0.0, include_low=False)
        check_number("relax_rate", self.relax_rate, 1.0)
        check_number("tighten_rate", self.tighten_rate, 0.0, 1.0, include_low=False)
        check_number("min_kappa", self.min_kappa, 0.0, self.initial_kappa, include_low=False)


def init_state(config: DRPOConfig) -> dict[str, Tensor]:
    """``kappa``: float64 scalar, so that ⌊κN⌋ is what exact arithmetic on Table 5 gives."""
    return {"kappa": torch.tensor(config.initial_kappa, dtype=torch.float64)}


def loss(
    parameters: Parameters, state: dict[str, Tensor], batch: Batch, config: DRPOConfig
) -> LossOutput:
    """The loss above, and the next κ."""
    kappa = state["kappa"]
    filtered = top_kappa(batch.rewards, kappa)
    admitted = filtered.weights.sum()
    advantages = (batch.rewards - filtered.threshold) / filtered.subset_std
    log_prob = policy_log_prob(parameters, batch.observations, batch.actions)
    value = -(filtered.weights * advantages * log_prob).sum() / admitted
    following = adapt_kappa(
        kappa,
        filtered,
        target_ratio=config.target_ratio,
        relax_rate=config.relax_rate,
        tighten_rate=config.tighten_rate,
        min_kappa=config.min_kappa,
    )
    metrics = {
        "kappa": kappa,
        "threshold": filtered.threshold,
        "std_ratio": filtered.subset_std / filtered.batch_std,
        "admitted_share": admitted / batch.rewards.shape[0],
    }
    return LossOutput(value, {"kappa": following}, metrics)


DRPO = Algorithm(
    name="drpo",
    summary="hard filtering of the top κ rewards, κ guided by variance, linear advantage above ν",
    config=DRPOConfig,
    init_state=init_state,
    loss=loss,
)
