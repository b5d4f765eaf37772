r"""Gradients and ascent of one Gaussian coordinate, θ = (μ, ξ) with ξ = log σ (Section 3).

With D = a − μ and z = D / σ the score is (D/σ², z² − 1) (Eq. 3).

**A single negative sample.** The flow of ascent on −log π in u = D² and v = 1/σ² is

.. math:: \dot u = 2uv, \quad \dot v = 2v(uv - 1) \;\Rightarrow\; \frac{dv}{du} = v - \frac1u
    \;\Rightarrow\; v(u) = e^u (E_1(u) + C), \qquad C = e^{-u_0} / \sigma_0^2 - E_1(u_0)

with the exponential integral E₁. For C > 0, v grows with u without bound: σ → 0 and the gradient
explodes. For C < 0, v reaches 0 at a finite u: σ → ∞, μ *stops*, and the gradient's norm tends to
1. The boundary is :func:`repulsion_margin` = 0; from σ = 1 it is at z = 0.659. A single positive
sample runs the same curves backwards: σ → 0 and the norm, too, tends to 1 and not to 0.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import exp1

Floats = NDArray[np.float64]
_BETAS = (0.9, 0.999)


class Path(NamedTuple):
    """Ascent on Â log π of n coordinates, at every recorded step.

    Attributes:
        mean: μ, (T, n).
        log_sigma: ξ, (T, n).
        norm: of the gradient of log π averaged over the actions, (T, n).
    """

    mean: Floats
    log_sigma: Floats
    norm: Floats


def repulsion_margin(distance: ArrayLike, sigma: ArrayLike) -> Floats:
    """−log(σ² e^u E₁(u)) with u = D²: a negative sample explodes where it is positive."""
    u, s = np.square(np.asarray(distance, dtype=np.float64)), np.asarray(sigma, dtype=np.float64)
    return np.asarray(-(2.0 * np.log(s) + u + np.log(exp1(u))))


def average_gradient(actions: Floats, mean: Floats, log_sigma: Floats) -> tuple[Floats, Floats]:
    """Eq. 3 averaged over actions (k, n): with respect to μ and to ξ, (n,) each."""
    precision = np.exp(-2.0 * log_sigma)
    displacement = actions - mean
    return (
        displacement.mean(axis=0) * precision,
        np.square(displacement).mean(axis=0) * precision - 1.0,
    )


def gradient_norms(actions: Floats, mean: Floats, log_sigma: Floats) -> Floats:
    """‖∇ log π‖ of each action (k, n) at parameters (n,)."""
    precision = np.exp(-2.0 * log_sigma)
    displacement = actions - mean
    return np.asarray(np.hypot(displacement * precision, displacement**2 * precision - 1.0))


def ascend(
    actions: ArrayLike,
    advantage: ArrayLike,
    steps: int,
    rate: float,
    *,
    adam: bool = False,
    learn_sigma: ArrayLike = True,
    sigma: ArrayLike = 1.0,
    every: int = 1,
) -> Path:
    """Ascent from μ = 0: plain, or with Adam's moments; what overflows stays so.

    Args:
        actions: (k, n): k actions for each of n coordinates, or (n,): one.
        advantage: Â, (n,) or a scalar.
        steps: T.
        rate: η.
        adam: Adam (Kingma and Ba, 2015) in place of plain gradient ascent.
        learn_sigma: whether ξ moves, (n,) or a scalar.
        sigma: at the start, (n,) or a scalar.
        every: steps between records.
    """
    all_actions = np.atleast_2d(np.asarray(actions, dtype=np.float64))
    size = all_actions.shape[1]
    theta = np.stack([np.zeros(size), np.broadcast_to(np.log(sigma), size)])
    weight = np.broadcast_to(advantage, size) * np.stack(
        [np.ones(size), np.broadcast_to(learn_sigma, size)]
    )
    first, second = np.zeros_like(theta), np.zeros_like(theta)
    records = []
    with np.errstate(over="ignore", invalid="ignore"):
        for step in range(steps + 1):
            gradient = np.stack(average_gradient(all_actions, theta[0], theta[1]))
            if step % every == 0:
                records.append((*theta, np.hypot(*gradient)))
            move = weight * gradient
            if adam:
                first = _BETAS[0] * first + (1.0 - _BETAS[0]) * move
                second = _BETAS[1] * second + (1.0 - _BETAS[1]) * move**2
                mean = first / (1.0 - _BETAS[0] ** (step + 1))
                spread = np.sqrt(second / (1.0 - _BETAS[1] ** (step + 1)))
                move = mean / (spread + 1e-8)
            theta = theta + rate * move
    return Path(*np.array(records).transpose(1, 0, 2))


def settled(num: int, generator: np.random.Generator) -> tuple[Floats, Path]:
    """Sets of 64 positives (64, n), and ascent on their average log π until it rests."""
    spread = np.exp(generator.uniform(-1.5, 0.0, num))
    positives = spread * generator.normal(size=(64, num))
    # A step in μ is stable for η Â < 2 σ², and σ falls to the spread.
    advantage = np.minimum(1.0, positives.var(axis=0))
    return positives, ascend(positives, advantage, 8_000, 0.1, every=500)


def finite(values: Floats) -> list[float]:
    """The values up to the first that is not finite, for JSON."""
    bad = np.flatnonzero(~np.isfinite(values))
    return [float(x) for x in (values[: bad[0]] if len(bad) else values)]


def log10(values: Floats) -> list[float]:
    """log₁₀ of the values up to the first that is not finite, for JSON."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return finite(np.log10(values))
