"""Section 3 as numerical experiments: Theorem 3.2 to Corollary 3.5, on one Gaussian coordinate.

:mod:`.dynamics` ascends and says what a gradient flow does; here claims are held against it.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from scipy.optimize import brentq

from recsim_drpo.benchmarks.reproduce.framework.evidence import Evidence
from recsim_drpo.benchmarks.reproduce.framework.verdicts import Verdict
from recsim_drpo.benchmarks.reproduce.theory import COMMAND
from recsim_drpo.benchmarks.reproduce.theory.dynamics import (
    Floats,
    Path,
    ascend,
    average_gradient,
    finite,
    gradient_norms,
    log10,
    repulsion_margin,
    settled,
)
from recsim_drpo.benchmarks.reproduce.theory.fisher_information import DIM, scores

RATE = 3e-4
"""Table 5's learning rate of Adam."""
STEPS = 5_000
"""Table 5's number of updates."""
_HUGE = 1e6
_verdict = partial(Verdict, command=COMMAND)


def theorem_3_2(num: int) -> Evidence:
    """Which way a negative sample moves θ, how far, and whether a positive one lets it rest."""
    generator = np.random.default_rng(32)
    forces = _first_moves(num, generator)
    z, sigma = np.exp(generator.uniform(-3.0, 1.0, num)), np.exp(generator.uniform(-0.7, 0.7, num))
    boundary = float(brentq(lambda x: float(repulsion_margin(x, 1.0)), 0.1, 2.0))
    starts = (0.3, 0.6, 0.7, 1.0)
    example = ascend(np.array(starts), -1.0, 800, 0.01)
    repelled = [
        _repulsion_verdict(z, sigma, forces),
        _sign_verdict(boundary, generator),
    ]
    alone = ascend(np.array([1.0]), 1.0, 12_000, 0.001)
    stalled = ascend(np.array([1.0]), 1.0, 1_500, 0.1)
    return Evidence(
        {
            "rate": 0.01,
            "boundary": boundary,
            "starts": list(starts),
            "log10_norm": [log10(column) for column in example.norm.T],
            "log_sigma": [finite(column) for column in example.log_sigma.T],
            "attracted_log10_norm": log10(stalled.norm[:801, 0]),
            "attracted_slow_log10_norm": log10(alone.norm[:801, 0]),
        },
        [*repelled, _attraction_verdict(num, alone, stalled, generator)],
    )


def _first_moves(num: int, generator: np.random.Generator) -> dict[str, int]:
    """In how many of ``num`` near and far samples σ grows, and in how many of both μ moves away."""
    sign = generator.choice([-1.0, 1.0], num)
    theta = np.stack([generator.normal(size=num), generator.uniform(-1.5, 1.5, num)], axis=1)
    counts = {"away": 0}
    for where, (low, high) in {"near": (0.0, 1.0), "far": (1.0, 5.0)}.items():
        z = generator.uniform(low, high, num)
        force = -scores(theta, theta[:, 0] + sign * z * np.exp(theta[:, 1]))
        counts[where] = int((force[:, 1] > 0).sum())
        counts["away"] += int((force[:, 0] * sign < 0).sum())
    return counts


def _repulsion_verdict(z: Floats, sigma: Floats, forces: dict[str, int]) -> Verdict:
    num, distance = len(z), z * sigma
    margin = repulsion_margin(distance, sigma)
    clear = np.abs(margin) > 0.05
    # Steps short enough for each coordinate's own σ to follow the flow.
    path = ascend(distance, -np.minimum(1.0, sigma**2), 8_000, 2e-3, sigma=sigma, every=10)
    explodes = ~(path.norm < _HUGE).all(axis=0)
    agree = int((explodes == (margin > 0))[clear].sum())
    bounded = ~explodes & clear & (margin < 0)
    fixed = ascend(distance, -1.0, 50, 0.01, learn_sigma=False, sigma=sigma)
    growth = np.abs((distance - fixed.mean[1:]) / (distance - fixed.mean[:-1]))
    deviation = np.abs(growth / (1.0 + 0.01 / sigma**2) - 1.0).max()
    return _verdict(
        claim="Theorem 3.2, case 1 (Â < 0)",
        statement="A negative sample is an expansion of all of θ: μ and σ diverge from it, and "
        "the joint gradient norm explodes.",
        paper="ρ(I + η|Â|H) > 1",
        ours=f"σ fixed: displacement × (1 + η|Â|/σ²) a step, to {deviation:.0e}, in {num:,} of "
        f"{num:,}. σ learnt: μ always moves away ({forces['away']:,} of "
        f"{2 * num:,}), but σ grows where |z| < 1 ({forces['near']:,} of {num:,}) and falls "
        f"where |z| > 1 ({num - forces['far']:,} of {num:,}); in the long run "
        f"{int((explodes & clear).sum()):,} of {int(clear.sum()):,} explode, "
        f"{int(bounded.sum()):,} end with a gradient norm of "
        f"{path.norm[-1, bounded].max():.3f}",
        verdict="holds under a condition",
        because="σ fixed, or a far sample: σ² e^u E₁(u) < 1 with u = (a − μ)², which tells the "
        f"two apart in {agree:,} of {int(clear.sum()):,}. No θ* makes the score vanish, so "
        "there is none to linearise about.",
    )


def _sign_verdict(boundary: float, generator: np.random.Generator) -> Verdict:
    units = generator.normal(size=(100, DIM))
    units /= np.linalg.norm(units, axis=1, keepdims=True)
    path = ascend(units.reshape(-1), -1.0, 2_000, 0.01, every=10)
    distance = np.linalg.norm((units.reshape(-1) - path.mean[-1]).reshape(100, DIM), axis=1)
    total = np.sqrt(np.square(path.norm).reshape(-1, 100, DIM).sum(axis=-1))
    shrunk = int((path.log_sigma[-1].reshape(100, DIM) <= 0).any(axis=1).sum())
    return _verdict(
        claim="Theorem 3.2, sign alone",
        statement="The asymptotic behaviour is determined solely by the sign of Â.",
        paper="",
        ours=f"Â = −1 from σ = 1: diverges from |z| > {boundary:.4f}, stays bounded below. "
        f"Unit vectors in {DIM} dimensions, μ = 0, σ = 1: {100 - shrunk} of 100 only expand σ, "
        f"‖a − μ‖ ends at {distance.mean():.2f}, ‖∇‖ at {total[-1].max():.2f} = √{DIM}, never "
        f"above {total.max():.2f}",
        verdict="does not hold",
        because="Distance decides as well: one sign, two limits. At the paper's dimension "
        "every coordinate starts on the bounded side.",
    )


def _attraction_verdict(
    num: int, alone: Path, stalled: Path, generator: np.random.Generator
) -> Verdict:
    sigma = np.exp(generator.uniform(-1.0, 1.0, num))
    # η = 1, Â in (0, 2σ²): the valid learning rates.
    advantage = generator.uniform(0.02, 1.98, num) * sigma**2
    fixed = ascend(sigma, advantage, 2_000, 1.0, learn_sigma=False, sigma=sigma)
    contracts = int((np.abs(sigma - fixed.mean[-1]) < 1e-6 * sigma).sum())
    spread, offset = np.exp(generator.uniform(-1.0, 1.0, num)), generator.normal(0.0, 1.0, num)
    positives = offset + spread * generator.normal(size=(64, num))
    least = positives.std(axis=0)
    together = ascend(positives, np.minimum(1.0, least**2), 4_000, 0.1, every=100)
    converged = np.abs(together.log_sigma[-1] - np.log(least)) + together.norm[-1] < 1e-6
    return _verdict(
        claim="Theorem 3.2, case 2 (Â > 0)",
        statement="A positive sample is a contraction for a valid learning rate: θ converges and "
        "the update signal decays.",
        paper="η < 2/(Â λ_max)",
        ours=f"σ fixed, η < 2σ²/Â: {contracts:,} of {num:,} converge. σ learnt, one sample: no "
        f"limit, at η = 0.001 σ falls to {np.exp(alone.log_sigma.min()):.0e} and the norm ends at "
        f"{alone.norm[-1, 0]:.3f}; at η = 0.1 steps in μ overshoot once σ² < η/2, and the norm "
        f"reaches {stalled.norm.max():.0f}. σ learnt, 64 samples with spread: "
        f"{converged.sum():,} of {num:,} converge to their mean and standard deviation",
        verdict="holds under a condition",
        because="σ fixed, or positives with spread, of whose *average* gradient it then holds. The "
        "likelihood of a single sample has no maximum in σ.",
    )


def corollary_3_3(num: int) -> Evidence:
    """The rate at which a negative sample's gradient grows, under four ways to move."""
    eta, far, near = 0.01, 3.0, 0.1
    fixed = ascend(np.array([far]), -1.0, 400, eta, learn_sigma=False).norm[:, 0]
    learnt = ascend(np.array([far, near]), -1.0, 400, eta).norm
    adam = ascend(np.array([far, far, near]), -1.0, STEPS, RATE, adam=True,
                  learn_sigma=np.array([False, True, True]))  # fmt: skip
    return Evidence(
        {
            "rate": eta,
            "rho": 1.0 + eta,
            "fixed": log10(fixed),
            "learnt_far": log10(learnt[:, 0]),
            "learnt_near": log10(learnt[:, 1]),
            "adam_fixed": log10(adam.norm[:401, 0]),
            "adam_learnt": log10(adam.norm[:401, 1]),
        },
        [
            _rate_verdict(num, eta, learnt, far, near),
            _force_verdict(),
            _overflow_verdict(adam, far, near),
        ],
    )


def _rate_verdict(num: int, eta: float, learnt: Floats, far: float, near: float) -> Verdict:
    rho = 1.0 + eta
    overflow = int((learnt[:, 0] < 1e300).sum())
    generator = np.random.default_rng(33)
    sigma = np.exp(generator.uniform(-1.0, 1.0, num))
    z = generator.uniform(2.0, 4.0, num)
    fixed = ascend(z * sigma, -(sigma**2), 600, eta, learn_sigma=False, sigma=sigma).norm
    error = np.abs(fixed[-1] / fixed[-2] / rho**2 - 1.0).max()
    return _verdict(
        claim="Corollary 3.3, rate",
        statement="Under repulsion the joint gradient norm grows as ‖Δ₀‖²/σ² · ρ^2t.",
        paper="O(ρ^2t)",
        ours=f"σ fixed, plain ascent: a step's factor tends to ρ² to {error:.0e} in "
        f"{num:,} of {num:,}. σ learnt, from z = {far:g}: beyond 1e300 after {overflow} "
        f"steps (at ρ² a step it would be × {rho ** (2 * overflow):.1f}); from z = "
        f"{near:g}: never above {learnt[:, 1].max():.2f}",
        verdict="holds under a condition",
        because="σ fixed, its gradient counted and not applied. With σ learnt a far sample "
        "grows faster than any ρ^t (ż ≈ z³ ends in finite time), a near one not at all.",
    )


def _force_verdict() -> Verdict:
    distance = np.logspace(2, 4, 9)
    parts = scores(np.zeros((9, 2)), distance)
    slopes = [np.polyfit(np.log(distance), np.log(np.abs(part)), 1)[0] for part in parts.T]
    return _verdict(
        claim="Section 5.2, force on μ",
        statement="The repulsive force on μ scales quadratically with displacement.",
        paper="2",
        ours=f"log-log slopes by autograd: {slopes[0]:.4f} for μ, {slopes[1]:.4f} for ξ",
        verdict="does not hold",
        because="It is (a − μ)/σ², linear (Eq. 3); quadratic is the force on log σ.",
    )


def _overflow_verdict(adam: Path, far: float, near: float) -> Verdict:
    factor = adam.norm[-1] / adam.norm[0]
    displaced = float(far - adam.mean[-1, 0])
    pace = np.log(adam.norm[-1, 1] / adam.norm[STEPS // 2, 1]) / (STEPS - STEPS // 2)
    return _verdict(
        claim="Corollary 3.3, overflow",
        statement="Numerical overflow is analytically guaranteed, regardless of bounded "
        "variance expansion.",
        paper="",
        ours=f"Adam at {RATE:g} for {STEPS:,} steps (Table 5) from σ = 1: the norm grows "
        f"× {factor[0]:.2f} from z = {far:g} with σ fixed, × {factor[1]:.1f} with σ "
        f"learnt, × {factor[2]:.2f} from z = {near:g}",
        verdict="does not hold",
        because="Adam's step hardly grows with the gradient. With σ fixed displacement is "
        f"linear in t (3 → {displaced:.2f}) and the gradient its square. With σ learnt "
        f"log σ falls about linearly, to {adam.log_sigma[-1, 1]:.2f} (more than {RATE:g} a "
        "step, since Adam's second moment lags behind gradients that grow), and the growth "
        f"is exponential, but by {pace:.1e} a step: float32 would overflow after some "
        f"{round(np.log(3e38 / adam.norm[0, 1]) / pace, -3):,.0f}. Plain ascent overflows "
        "from far samples alone.",
    )


def theorem_3_4(num: int) -> Evidence:
    """The gradient of a fixed negative sample as σ → 0, and how far training shrinks σ."""
    generator = np.random.default_rng(34)
    levels = np.logspace(0, -6, 25)
    limit = _limit_verdict(num, levels, generator)
    typical = DIM**-0.5
    contraction, reached = _contraction_verdict(num, typical, generator)
    distances = (0.1, 1.0, 3.0)
    return Evidence(
        {
            "sigma": levels.tolist(),
            "distances": list(distances),
            "norm": [
                [float(np.hypot(d / s**2, (d / s) ** 2 - 1.0)) for s in levels] for d in distances
            ],
            "adam_sigma": reached,
            "spread": typical,
        },
        [limit, contraction],
    )


def _limit_verdict(num: int, levels: Floats, generator: np.random.Generator) -> Verdict:
    distance = np.exp(generator.uniform(-3.0, 1.0, num))
    norms = np.stack(
        [np.hypot(*average_gradient(distance[None], np.zeros(num), np.log(np.full(num, level))))
         for level in levels]
    )  # fmt: skip
    slopes = np.log(norms[-1] / norms[-5]) / np.log(levels[-1] / levels[-5])
    return _verdict(
        claim="Theorem 3.4, limit (Eq. 5)",
        statement="As σ → 0 the gradient of a fixed negative sample, ‖a − μ‖ > ε, is unbounded.",
        paper="∝ σ⁻²",
        ours=f"log-log slope {slopes.min():.4f} to {slopes.max():.4f} at σ = 1e-6, in "
        f"{num:,} of {num:,}",
        verdict="holds",
        because="Both parts grow as σ⁻²: (a − μ)/σ² and ((a − μ)/σ)² − 1.",
    )


def _contraction_verdict(
    num: int, typical: float, generator: np.random.Generator
) -> tuple[Verdict, float]:
    """The verdict, and the σ that Adam reaches on positives of the ``typical`` spread."""
    sets, path = settled(num, generator)
    to_spread = np.abs(path.log_sigma[-1] - np.log(sets.std(axis=0)))
    converged = int((to_spread < 1e-6).sum())
    positives = np.stack([np.zeros(64), typical * generator.normal(size=64)], axis=1)
    adam = ascend(positives, 1.0, STEPS, RATE, adam=True)
    reached = np.exp(adam.log_sigma[-1])
    negative = np.full((1, 2), typical * 2.0**0.5)
    before, after = (
        np.hypot(*average_gradient(negative, adam.mean[row], adam.log_sigma[row]))
        for row in (0, -1)
    )
    shrink = np.exp(-2.0 * adam.log_sigma[-1])
    verdict = _verdict(
        claim="Theorem 3.4, contraction (Appendix C)",
        statement="Convergence on positive samples forces σ → 0.",
        paper="σ → 0",
        ours=f"positives of standard deviation s: σ → s in {converged:,} of {num:,} (to "
        f"{to_spread.max():.0e}). Adam at {RATE:g}, {STEPS:,} steps from σ = 1: σ ends at "
        f"{reached[0]:.3f} where positives coincide and {reached[1]:.3f} where s = "
        f"1/√{DIM} = {typical:.3f}; 1/σ² grows × {shrink.max():.1f}, a typical negative's "
        f"gradient × {after[1] / before[1]:.2f}",
        verdict="holds under a condition",
        because="Positives without spread, and time: a σ of many contexts or of noisy "
        "positives stops at their spread, and Adam moves log σ by about its rate a step.",
    )
    return verdict, float(reached[1])


def corollary_3_5(num: int) -> Evidence:
    """Repulsion over attraction along training on positive samples alone."""
    far = 2.0
    single = ascend(np.array([1.0]), 1.0, 12_000, 0.001)
    ratio_single = gradient_norms(np.array([far]), single.mean, single.log_sigma)[:, 0]
    ratio_single = ratio_single / single.norm[:, 0]
    fixed = ascend(np.array([1.0]), 1.0, 1_500, 0.01, learn_sigma=False)
    # Exactly at the sample its ξ part, z² − 1 = −1, is left, which is not applied here: only μ is.
    ratio_mu = np.abs(far - fixed.mean[:, 0]) / np.abs(1.0 - fixed.mean[:, 0])

    sets, path = settled(num, np.random.default_rng(35))
    attraction = gradient_norms(sets, path.mean[-1], path.log_sigma[-1])
    repulsion = gradient_norms(np.full((1, num), far), path.mean[-1], path.log_sigma[-1])[0]
    by_sample = np.sqrt(np.square(attraction).mean(axis=0))
    ratio_each = repulsion / by_sample
    ratio_average = repulsion / np.maximum(path.norm[-1], 1e-12)
    ratios = {"single": ratio_single, "mu": ratio_mu, "each": ratio_each, "average": ratio_average}
    return Evidence(
        {
            "steps_single": list(range(0, 12_001, 50)),
            "single": log10(ratio_single[::50]),
            "single_positive": finite(single.norm[::50, 0]),
            "steps_fixed": list(range(0, 1_501, 10)),
            "fixed": log10(ratio_mu[::10]),
            "each": float(np.median(ratio_each)),
        },
        [_vanishing_verdict(single, by_sample, path), _ratio_verdict(ratios)],
    )


def _vanishing_verdict(single: Path, by_sample: Floats, together: Path) -> Verdict:
    num = len(by_sample)
    return _verdict(
        claim="Corollary 3.5, attraction",
        statement="The gradient of a positive sample vanishes as the policy converges.",
        paper="→ 0 (Eq. 26)",
        ours=f"σ learnt, one sample: the norm tends to {single.norm[-1, 0]:.4f}, least "
        f"{single.norm[:, 0].min():.3f}; 64 with spread: at convergence root mean square "
        f"{by_sample.min():.2f} or more a sample in {num:,} "
        f"of {num:,}, only their average vanishes (largest {together.norm[-1].max():.0e})",
        verdict="does not hold",
        because="z² − 1 → −1 at the sample itself: σ never stops shrinking there, and "
        "where it does (E z² = 1) single samples pull in all directions. With σ fixed it "
        "does vanish, but Theorem 3.4's σ → 0, the corollary's other half, is then off.",
    )


def _ratio_verdict(ratios: dict[str, Any]) -> Verdict:
    single, on_mu, each = ratios["single"], ratios["mu"], ratios["each"]
    return _verdict(
        claim="Corollary 3.5, ratio (Eq. 6)",
        statement="The ratio of a negative sample's gradient to a positive one's diverges.",
        paper="∞",
        ours=f"one positive, σ learnt, η = 0.001: {single[0]:.0f} → "
        f"{single[-1]:.0e}; σ fixed, part of μ: {on_mu[0]:.0f} → "
        f"{on_mu[-1]:.0e}; 64 positives with spread: {np.median(each):.1f} a sample "
        f"(median; at most {each.max():.0f}), over their average gradient at least "
        f"{ratios['average'].min():.0e}",
        verdict="holds under a condition",
        because="One positive sample, or the exact average over all of them, whose "
        "gradient vanishes at any optimum: repulsion itself stays finite where positives "
        "have spread, and so does the ratio a sample, or over noisy batches.",
    )
