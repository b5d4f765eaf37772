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

from typing import NamedTuple

import torch
from torch import Tensor

STD_EPSILON = 1e-8


class Filtered(NamedTuple):
    """A batch seen through the filter.

    Attributes:
        weights: (N,) in [0, 1], summing to K.
        threshold: ν, scalar.
        subset_std: weighted population standard deviation of the admitted rewards, plus 1e-8.
        batch_std: population standard deviation of all rewards, plus 1e-8.
    """

    weights: Tensor
    threshold: Tensor
    subset_std: Tensor
    batch_std: Tensor


def top_kappa(rewards: Tensor, kappa: Tensor) -> Filtered:
    """Admit the share κ of largest rewards.

    Args:
        rewards: (N,), finite.
        kappa: float64 scalar in (0, 1].
    """
    size = rewards.shape[0]
    count = torch.floor(kappa * size).clamp(1, size)
    ranked = rewards.sort(descending=True).values
    threshold = ranked.gather(0, (count.to(torch.int64) - 1).unsqueeze(0)).squeeze(0)
    above, equal = rewards > threshold, rewards == threshold
    share = (count - above.sum()) / equal.sum()
    weights = above.to(rewards.dtype) + equal * share.to(rewards.dtype)
    return Filtered(
        weights,
        threshold,
        weighted_std(rewards, weights),
        weighted_std(rewards, torch.ones_like(rewards)),
    )


def weighted_std(values: Tensor, weights: Tensor) -> Tensor:
    """√(Σ w (x − x̄_w)² / Σ w) + 1e-8, scalar."""
    total = weights.sum()
    mean = (weights * values).sum() / total
    return ((weights * (values - mean).square()).sum() / total).sqrt() + STD_EPSILON


def adapt_kappa(
    kappa: Tensor,
    filtered: Filtered,
    *,
    target_ratio: float,
    relax_rate: float,
    tighten_rate: float,
    min_kappa: float,
) -> Tensor:
    """The variance feedback controller (Eq. 46 and 47): the κ of the next batch.

    Relaxes where σ_subset < target_ratio · σ_batch, else tightens; kept in [min_kappa, 1].
    """
    relax = filtered.subset_std < target_ratio * filtered.batch_std
    return torch.where(
        relax,
        (kappa * relax_rate).clamp(max=1.0),
        (kappa * tighten_rate).clamp(min=min_kappa),
    )
