r"""The two-level theory of Section 4 and Appendix F as functions, exact on empirical distributions.

Rewards R_1, …, R_N have probabilities p_i (default 1/N). A reweighting Q has density ratios
w_i = Q_i / p_i with 0 ≤ w_i ≤ 1/κ and Σ p_i w_i = 1 (Eq. 10).

* :func:`optimistic_weights` maximises E_Q[R] (Eq. 9): 1/κ above the quantile, a fraction on its
  atom, 0 below. Theorem 4.1 takes rewards without atoms; where an atom straddles the quantile any
  way to share its mass is optimal, and this one shares it evenly.
* :func:`dual_threshold` is ν* of Eq. 12, whose value is the same maximum (Eq. 38). Where κN is an
  integer, the minimiser is an interval: compare values of :func:`dual_value`, not ν.
* :func:`capped_boltzmann` solves Eq. 43, E_Q[R] − τ KL(Q ‖ P): w = min(1/κ, exp((R − λ)/τ)),
  positive everywhere. It caps the top and does not cut the bottom: Eq. 45 does not follow from it.
* :func:`capped_boltzmann_on_support` solves Eq. 42 as it is written, with KL(Q ‖ uniform):
  w = min(1/κ, exp((R − λ)/τ) / p).

Everything is float64.
"""

from __future__ import annotations

import torch
from torch import Tensor

from recsim_drpo.core.validation import check_number


def optimistic_weights(
    rewards: Tensor, kappa: float, probabilities: Tensor | None = None
) -> Tensor:
    """The density ratio w (N,) that maximises Σ p w R; see the module.

    Args:
        rewards: (N,), finite.
        kappa: κ in (0, 1].
        probabilities: (N,), positive, summing to 1; ``None`` is uniform.
    """
    r, p = _distribution(rewards, probabilities, kappa)
    threshold = dual_threshold(r, kappa, p)
    above, equal = (r > threshold).to(r.dtype), (r == threshold).to(r.dtype)
    left = (1.0 - (p * above).sum() / kappa) / (p * equal).sum()
    return above / kappa + equal * left


def dual_value(
    nu: Tensor | float, rewards: Tensor, kappa: float, probabilities: Tensor | None = None
) -> Tensor:
    """The dual objective ν + E[(R − ν)₊] / κ (Eq. 12), of the shape of ``nu``; convex in ν."""
    r, p = _distribution(rewards, probabilities, kappa)
    level = torch.as_tensor(nu, dtype=torch.float64)
    return level + ((r - level.unsqueeze(-1)).clamp_min(0.0) * p).sum(-1) / kappa


def dual_threshold(rewards: Tensor, kappa: float, probabilities: Tensor | None = None) -> Tensor:
    """The threshold ν* by sorting: the largest reward with κ of the mass or more at or above it."""
    r, p = _distribution(rewards, probabilities, kappa)
    order = r.argsort(descending=True)
    mass = p[order].cumsum(0)
    # A rounding error in the running sum must not move the quantile to the next reward.
    position = torch.searchsorted(mass, kappa * (1.0 - 1e-12)).clamp(max=len(r) - 1)
    return r[order][position]


def dual_threshold_by_minimising(
    rewards: Tensor, kappa: float, probabilities: Tensor | None = None
) -> Tensor:
    """The threshold ν* by minimising Eq. 12, piecewise linear: its minimum is at a reward."""
    r, p = _distribution(rewards, probabilities, kappa)
    return r[dual_value(r, r, kappa, p).argmin()]


def capped_boltzmann(
    rewards: Tensor, kappa: float, tau: float, probabilities: Tensor | None = None
) -> Tensor:
    """The density ratio w (N,) that maximises Σ p w R − τ Σ p w log w (Eq. 43).

    Args:
        rewards: (N,), finite.
        kappa: κ in (0, 1].
        tau: temperature τ > 0.
        probabilities: (N,), positive, summing to 1; ``None`` is uniform.
    """
    r, p = _distribution(rewards, probabilities, kappa)
    check_number("tau", tau, 0.0, include_low=False)
    return capped_exponentials(r / tau, p, torch.tensor(kappa, dtype=torch.float64))


def capped_boltzmann_on_support(
    rewards: Tensor, kappa: float, tau: float, probabilities: Tensor | None = None
) -> Tensor:
    """The density ratio w (N,) that maximises Σ p w R − τ KL(p w ‖ uniform) (Eq. 42)."""
    r, p = _distribution(rewards, probabilities, kappa)
    check_number("tau", tau, 0.0, include_low=False)
    return capped_exponentials(r / tau - p.log(), p, torch.tensor(kappa, dtype=torch.float64))


def capped_exponentials(logits: Tensor, probabilities: Tensor, kappa: Tensor) -> Tensor:
    """The density ratio w = min(1/κ, exp(logits − λ)) (N,) with the λ for which Σ p w = 1.

    Exact, by sorting: if the m largest are at the cap, the others share what mass is left, and the
    smallest m that leaves none of them above the cap is the solution. Static shapes, no branch on a
    value: it runs inside of a training step.

    Args:
        logits: float64 (N,).
        probabilities: float64 (N,), positive, summing to 1.
        kappa: float64 scalar in (0, 1].
    """
    order = logits.argsort(descending=True)
    ranked, mass = logits[order], probabilities[order]
    before = mass.cumsum(0) - mass
    rest = (ranked + mass.log()).flip(0).logcumsumexp(0).flip(0)
    shift = torch.log1p(-before / kappa) - rest  # −λ if all before are capped; NaN: too many are
    # Where the caps of those up to here hold all the mass, nothing is left to share.
    full = before + mass >= kappa * (1.0 - 1e-12)
    fits = (ranked + shift <= 1e-12 - kappa.log()) | full
    first = torch.where(fits, torch.arange(len(fits), device=fits.device), len(fits) - 1).min()
    chosen = shift.gather(0, first.unsqueeze(0)).nan_to_num(torch.inf)
    return torch.exp(torch.minimum(logits + chosen, -kappa.log()))


def _distribution(
    rewards: Tensor, probabilities: Tensor | None, kappa: float
) -> tuple[Tensor, Tensor]:
    check_number("kappa", kappa, 0.0, 1.0, include_low=False)
    r = torch.as_tensor(rewards, dtype=torch.float64)
    if r.ndim != 1 or len(r) == 0 or not bool(torch.isfinite(r).all()):
        raise ValueError(f"rewards must be finite, of shape (N,); got shape {tuple(r.shape)}.")
    if probabilities is None:
        return r, torch.full_like(r, 1.0 / len(r))
    p = torch.as_tensor(probabilities, dtype=torch.float64)
    if p.shape != r.shape or not bool((p > 0).all()) or abs(float(p.sum()) - 1.0) > 1e-9:
        raise ValueError("probabilities must be positive, sum to 1, and be as many as the rewards.")
    return r, p
