r"""The variance-guided filter that DRPO and its relatives share (Section 4, Appendix G).

Optimistic DRO (Eq. 9) looks for the sub-distribution Q with dQ/dP ≤ 1/κ of largest mean reward. On
a batch of N rewards with K = max(1, ⌊κN⌋) and ν the K-th largest, its exact solution has weights

.. math:: w_i = \begin{cases} 1 & R_i > \nu \\
    \frac{K - \#\{R > \nu\}}{\#\{R = \nu\}} & R_i = \nu \\ 0 & R_i < \nu \end{cases}

(Theorem 4.1 with atoms: the paper's proof takes rewards without any). They sum to K and do not
depend on the order of the batch. Everything is a fixed-shape tensor expression: no gather of
changing length, nothing that waits for the device.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import torch
from annotated_types import Ge
from torch import Tensor

from recsim_drpo.agents.engine.algorithm import State
from recsim_drpo.agents.engine.networks import Parameters
from recsim_drpo.core.config import Config, Positive, Searched, Share
from recsim_drpo.core.messages import shown

STD_EPSILON = 1e-8


@dataclass(frozen=True)
class FilterConfig(Config):
    """Hyper-parameters of the filter (Table 5), mixed into those of the agents that use it.

    Attributes:
        initial_kappa: p_0 in (0, 1], the share admitted at first.
        adaptive: whether κ follows the controller; else it stays at ``initial_kappa``.
        target_ratio: ρ > 0 (λ in Appendix G), the wanted σ_subset / σ_batch.
        relax_rate: γ_up ≥ 1.
        tighten_rate: γ_down in (0, 1].
        min_kappa: floor of an adaptive κ, in (0, 1], at most ``initial_kappa``.
    """

    initial_kappa: Annotated[Share, Searched(0.05, 1.0, log=True)] = 0.5
    adaptive: bool = True
    target_ratio: Annotated[Positive, Searched(0.2, 1.0)] = 0.5
    relax_rate: Annotated[float, Ge(1.0)] = 1.02
    tighten_rate: Share = 0.98
    min_kappa: Share = 0.05

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.adaptive and self.min_kappa > self.initial_kappa:
            raise ValueError(
                f"min_kappa={shown(self.min_kappa)} is above "
                f"initial_kappa={shown(self.initial_kappa)}, "
                "where an adaptive κ begins; choose a smaller floor."
            )


def init_kappa(parameters: Parameters, config: Any) -> State:
    """The state ``kappa``: float64 scalar, for which ⌊κN⌋ is that of Table 5's exact κ."""
    return {"kappa": torch.tensor(config.initial_kappa, dtype=torch.float64)}


class Filtered(NamedTuple):
    """The weights that the filter gives to a batch, and the statistics that it steers by.

    Attributes:
        weights: (N,) in [0, 1], summing to K.
        threshold: ν, scalar.
        subset_mean: weighted mean of the admitted rewards.
        subset_std: weighted population standard deviation of the admitted rewards, plus 1e-8.
        batch_std: population standard deviation of all rewards, plus 1e-8.
    """

    weights: Tensor
    threshold: Tensor
    subset_mean: Tensor
    subset_std: Tensor
    batch_std: Tensor


def top_kappa(rewards: Tensor, kappa: Tensor) -> Filtered:
    """The weights of the share κ of largest rewards, with statistics of them and of the batch.

    Args:
        rewards: (N,), finite.
        kappa: float64 scalar in (0, 1].
    """
    # K ← int(N × κ), at least 1.
    size = rewards.shape[0]
    count = torch.floor(kappa * size).clamp(1, size)
    # ν: the smallest admitted reward.
    ranked = rewards.sort(descending=True).values
    threshold = ranked.gather(0, (count.to(torch.int64) - 1).unsqueeze(0)).squeeze(0)
    # The K largest; those that tie at ν share what the ones above it leave.
    above, equal = rewards > threshold, rewards == threshold
    share = (count - above.sum()) / equal.sum()
    weights = above.to(rewards.dtype) + equal * share.to(rewards.dtype)
    # Where all that is admitted ties, the mean is exact: rounding over σ ≈ 0 would be an advantage.
    mean = torch.where(above.any(), (weights * rewards).sum() / weights.sum(), threshold)
    return Filtered(
        weights,
        threshold,
        mean,
        weighted_std(rewards, weights),
        weighted_std(rewards, torch.ones_like(rewards)),
    )


def weighted_std(values: Tensor, weights: Tensor) -> Tensor:
    """Weighted population standard deviation √(Σ w (x − x̄_w)² / Σ w) + 1e-8, scalar."""
    total = weights.sum()
    mean = (weights * values).sum() / total
    return ((weights * (values - mean).square()).sum() / total).sqrt() + STD_EPSILON


def adapt_kappa(kappa: Tensor, filtered: Filtered, config: FilterConfig) -> Tensor:
    """The κ of the next batch, by the variance feedback controller (Eq. 46 and 47).

    Relaxes where σ_subset < target_ratio · σ_batch, else tightens; kept in [min_kappa, 1].
    """
    if not config.adaptive:
        return kappa
    is_narrow = filtered.subset_std < config.target_ratio * filtered.batch_std
    return torch.where(
        is_narrow,
        (kappa * config.relax_rate).clamp(max=1.0),  # Eq. 46
        (kappa * config.tighten_rate).clamp(min=config.min_kappa),  # Eq. 47
    )


def idle_share(weights: Tensor) -> Tensor:
    """The share of this one update without anything to learn: 1 if all weights are 0, else 0.

    Training averages it over the updates between two rows of a history (:data:`AVERAGED`).

    Args:
        weights: (N,), what the log-likelihoods of a batch are multiplied by.
    """
    return (weights == 0).all().to(weights.dtype)


def filter_metrics(kappa: Tensor, filtered: Filtered, weights: Tensor) -> dict[str, Tensor]:
    """Metrics by name: of the filter, and the share of updates without anything to learn.

    Args:
        kappa: κ of this update.
        filtered: what :func:`top_kappa` made of it.
        weights: as of :func:`idle_share`.

    Returns:
        ``kappa``; ``threshold``, ν; ``std_ratio``, σ_subset / σ_batch; ``admitted_share`` of the
        batch; ``idle_share`` of the updates.
    """
    return {
        "kappa": kappa,
        "threshold": filtered.threshold,
        "std_ratio": filtered.subset_std / filtered.batch_std,
        "admitted_share": filtered.weights.mean(),
        "idle_share": idle_share(weights),
    }
