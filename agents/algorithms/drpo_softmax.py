r"""DRPO with a softmax policy over the catalogue in place of the Gaussian.

.. math:: L(\theta) = -\frac{1}{\sum_i w_i} \sum_i w_i \,
    \frac{R_i - \nu}{\sigma_{\mathrm{subset}}} \, \log \pi_\theta(a_i \mid s_i)

with the weights w, threshold ν and σ_subset of the variance-guided filter
(:mod:`.algorithms.filtering`, Algorithm 1), as in ``drpo``, and π the softmax of
:mod:`.algorithms.softmax`. The paper says that filtering transfers to discrete actions and does not
show it. Under ``baseline="mean"`` the advantage is R − mean(R_subset), signed. Deviations: as in
:mod:`.algorithms.drpo` and :mod:`.algorithms.softmax`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from recsim_drpo.agents.algorithms.drpo import BASELINES
from recsim_drpo.agents.algorithms.filtering import (
    FilterConfig,
    adapt_kappa,
    filter_metrics,
    init_kappa,
    top_kappa,
)
from recsim_drpo.agents.algorithms.softmax import SoftmaxConfig, num_negatives, softmax_log_prob
from recsim_drpo.agents.engine.algorithm import Algorithm, LossOutput, Noise, State
from recsim_drpo.agents.engine.networks import Parameters
from recsim_drpo.core.config import OneOf
from recsim_drpo.core.transitions import Batch


@dataclass(frozen=True)
class DRPOSoftmaxConfig(SoftmaxConfig, FilterConfig):
    """Hyper-parameters: of the softmax policy, of the filter, and DRPO's own.

    Attributes:
        baseline: ``"threshold"`` (ν: no advantage is negative) or ``"mean"`` (signed).
    """

    baseline: Annotated[str, OneOf(BASELINES)] = "threshold"


def loss(
    parameters: Parameters, state: State, batch: Batch, noise: Noise, config: DRPOSoftmaxConfig
) -> LossOutput:
    """The loss above, and the next κ."""
    kappa = state["kappa"]
    # Algorithm 1, step 1 (Filtering).
    filtered = top_kappa(batch.rewards, kappa)
    # Step 3 (Variational Update): the normalised advantage over ν (Eq. 13).
    base = filtered.threshold if config.baseline == "threshold" else filtered.subset_mean
    weights = filtered.weights * (batch.rewards - base) / filtered.subset_std
    # Step 4 (Parameter Step), by the softmax's likelihood.
    log_prob = softmax_log_prob(parameters, batch, config.temperature)
    total = -(weights * log_prob).sum() / filtered.weights.sum()
    # Step 2 (Feedback Control).
    next_state = {"kappa": adapt_kappa(kappa, filtered, config)}
    return LossOutput(total, next_state, filter_metrics(kappa, filtered, weights))


DRPO_SOFTMAX = Algorithm(
    name="drpo-softmax",
    summary="DRPO's filter and advantage with a softmax over the catalogue, by sampled negatives",
    config=DRPOSoftmaxConfig,
    loss=loss,
    init_state=init_kappa,
    negatives=num_negatives,
)
