r"""Stacking: how several policies are weighted by what they say of rewards they did not learn from.

Of policies k with unit actions :math:`u_k(s) = \mu_k(s) / \|\mu_k(s)\|` the one that is shown is

.. math:: \mu(s) \propto \sum_k w_k u_k(s), \qquad
    w = \arg\min_{w \ge 0} \min_b E_H \Big( r - b - \sum_k w_k \, u_k(s) \cdot a \Big)^2

over rounds H that none of them learns from: the non-negative least squares of stacked regressions
(Breiman, *Stacked Regressions*, 1996), whose features are the policies' scores of the logged item.
The greedy item under the regression is the item that the mean of actions decodes to, and so no item
is ever scored. It needs no propensities and no scale of rewards: b takes up their mean, and the
length of w is of no account.

Everything is kept as moments of the features, which follow the batches exponentially, and one step
of projected gradient descent an update.
"""

from __future__ import annotations

import torch
from torch import Tensor

HELD_OUT_SHARE = 5
"""One round of so many is held out."""

MEMORY = 0.005
"""Share by which the moments move to those of a batch: they remember some 200 batches."""

_NEXT_TO_NOTHING = 1e-6
_GRID = float(2**20)
_PRIME = 2**31 - 1
_MULTIPLIER, _INCREMENT = 1_103_515_245, 12_345


def held_out(observations: Tensor, actions: Tensor) -> Tensor:
    """Whether a round is held out: bool (B,), by its observation and action alone.

    A round is on the same side whenever it is drawn, in any batch, on any device, compiled or not:
    numbers are rounded to a grid of 2⁻²⁰ and hashed as integers that never overflow. Rounds that
    are the same in both are on one side together.

    Args:
        observations: (B, o).
        actions: (B, a).
    """
    numbers = torch.cat((observations, actions), dim=-1).to(torch.float64)
    cells = torch.remainder(torch.round(numbers * _GRID), float(_PRIME)).to(torch.int64)
    places = torch.arange(1, cells.shape[-1] + 1, device=cells.device)
    factors = torch.remainder(places * _MULTIPLIER + _INCREMENT, _PRIME)
    hashed = torch.remainder(cells * factors, _PRIME).sum(dim=-1)
    apart: Tensor = hashed % HELD_OUT_SHARE == 0
    return apart


def unit(vectors: Tensor) -> Tensor:
    """Vectors (..., a) scaled to unit length; the zero vector stays."""
    lengths: Tensor = torch.linalg.vector_norm(vectors, dim=-1, keepdim=True)
    return vectors / lengths.clamp_min(1e-8)


def moments_of(features: Tensor, rewards: Tensor, rows: Tensor) -> Tensor:
    """Mean outer product of (features, reward, 1) over some rows: float64 (K + 2, K + 2).

    Args:
        features: (B, K).
        rewards: (B,).
        rows: (B,), 1 for the rows that count, else 0; where none does, all is 0.
    """
    parts = (features, rewards.unsqueeze(-1), torch.ones_like(rewards).unsqueeze(-1))
    values = torch.cat(parts, dim=-1).to(torch.float64)
    chosen = rows.to(torch.float64)
    total: Tensor = (values * chosen.unsqueeze(-1)).mT @ values
    return total / chosen.sum().clamp_min(1.0)


def follow(moments: Tensor, current: Tensor) -> Tensor:
    """Moments moved by :data:`MEMORY` towards those of a batch; as they are where that has none."""
    has_rows = current[-1, -1] > 0
    return torch.where(has_rows, moments + MEMORY * (current - moments), moments)


def improved(weights: Tensor, moments: Tensor) -> Tensor:
    """Weights (K,) after one step of projected gradient descent on the least squares of moments.

    The step is one over the trace of the features' covariance, which no step can overshoot by, and
    no longer than rounding allows where they hardly vary.
    """
    size = len(weights)
    total = moments[-1, -1].clamp_min(1e-12)
    means = moments[:, -1] / total
    covariance = moments / total - means.unsqueeze(-1) * means
    quadratic, linear = covariance[:size, :size], covariance[:size, size]
    identity = torch.eye(size, dtype=moments.dtype, device=moments.device)
    raw, trace = ((m[:size, :size] * identity).sum() for m in (moments / total, quadratic))
    step = (linear - quadratic @ weights) / torch.maximum(trace, _NEXT_TO_NOTHING * raw + 1e-12)
    return torch.clamp(weights + step, min=0.0)


def shares(weights: Tensor) -> Tensor:
    """Weights (K,) ≥ 0 scaled to a sum of 1; all alike where all are 0, or no more than rounding.

    For that 1e-6, which no reward in [0, 1] is about, is added to each.
    """
    lifted = weights + _NEXT_TO_NOTHING
    return lifted / lifted.sum()
