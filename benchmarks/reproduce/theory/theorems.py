"""Sections 3 and 4, Appendices A to F, as experiments: ``recsim-drpo reproduce theory``.

:mod:`.fisher_information` has Proposition 3.1 and 3.6, :mod:`.divergence` what is between them,
:mod:`.optimistic_dro` Theorem 4.1, F.2 and F.3. Every claim is computed on random instances of
fixed seeds and answered by a verdict.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from recsim_drpo.benchmarks.reproduce.framework.evidence import Evidence, result
from recsim_drpo.benchmarks.reproduce.framework.experiment import Experiment, without_agents
from recsim_drpo.benchmarks.reproduce.framework.settings import Settings
from recsim_drpo.benchmarks.reproduce.framework.store import Store
from recsim_drpo.benchmarks.reproduce.framework.verdicts import Verdict
from recsim_drpo.benchmarks.reproduce.theory import (
    divergence,
    fisher_information,
    optimistic_dro,
)
from recsim_drpo.core.torch_settings import threads
from recsim_drpo.reporting import plots

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NUM_INSTANCES = 1_000
QUICK_INSTANCES = 200

EXPERIMENTS: Mapping[str, Callable[[int], Evidence]] = {
    "proposition-3.1": fisher_information.proposition_3_1,
    "theorem-3.2": divergence.theorem_3_2,
    "corollary-3.3": divergence.corollary_3_3,
    "theorem-3.4": divergence.theorem_3_4,
    "corollary-3.5": divergence.corollary_3_5,
    "proposition-3.6": fisher_information.proposition_3_6,
    "theorem-4.1": optimistic_dro.theorem_4_1,
    "appendix-F.2": optimistic_dro.variational_dual,
    "appendix-F.3": optimistic_dro.bilevel_regularisation,
}


def run(settings: Settings) -> dict[str, Any]:
    """All experiments, as a dictionary for JSON; fewer random instances where it is quick."""
    num = QUICK_INSTANCES if settings.quick else NUM_INSTANCES
    store = Store(settings.folder / "theory", {"name": "theory", "instances": num})
    hidden = None if settings.progress else True
    bar = tqdm(EXPERIMENTS.items(), "theory", unit="claim", disable=hidden)
    with threads(1):
        kept = {name: store.kept(name, partial(_piece, make, num)) for name, make in bar}
    parts = {
        name: Evidence(piece["data"], [Verdict(**verdict) for verdict in piece["verdicts"]])
        for name, piece in kept.items()
    }
    return result("theory", settings.quick, parts)


def _piece(experiment: Callable[[int], Evidence], num: int) -> dict[str, Any]:
    """The evidence of an experiment on so many instances, as JSON can hold it."""
    evidence = experiment(num)
    return {"data": evidence.data, "verdicts": [one.as_dict() for one in evidence.verdicts]}


def draw(result: Mapping[str, Any], folder: Path) -> dict[str, Figure]:
    """A picture of each experiment in an existing folder, as PNG and SVG; the figures by name."""
    figures = {}
    for name, picture in PICTURES.items():
        figure, axes = plots.new_figure()
        picture(axes, result["data"][name])
        axes.legend(frameon=False, fontsize=8)
        plots.save(figure, folder / name)
        figures[name] = figure
    return figures


def _draw_hessian(axes: Axes, data: Mapping[str, Any]) -> None:
    blue, red, green = plots.COLOURS[:3]
    axes.axhline(data["expected"], color=green, label="expected under the policy (Appendix A)")
    axes.plot(data["z"], data["data"], color=blue, label="averaged over data of that mean, s = σ")
    axes.plot(data["z"], data["single"], color=red, label="at a single sample")
    axes.axhline(0.0, color="0.4", lw=1, ls=":")
    axes.set(xlabel="distance from μ, in σ = 1", ylabel="smallest eigenvalue of the Hessian")
    axes.set_ylim(-1.0, 1.6)
    axes.set_title("Proposition 3.1: positive definite above 0", fontsize=10)


def _draw_dynamics(axes: Axes, data: Mapping[str, Any]) -> None:
    for colour, start, log_sigma in zip(
        plots.COLOURS, data["starts"], data["log_sigma"], strict=False
    ):
        axes.plot(log_sigma, color=colour, label=f"|a − μ| = {start:g} at the start")
    axes.axhline(0.0, color="0.4", lw=1, ls=":")
    axes.set(xlabel="steps of plain ascent, η = 0.01", ylabel="log σ", ylim=(-8, 8))
    title = f"Theorem 3.2, Â = −1: near (< {data['boundary']:.3f}) expands σ, far shrinks it"
    axes.set_title(title, fontsize=10)


def _draw_growth(axes: Axes, data: Mapping[str, Any]) -> None:
    names = {
        "fixed": "plain ascent from z = 3, σ fixed",
        "learnt_far": "plain ascent from z = 3, σ learnt",
        "learnt_near": "plain ascent from z = 0.1, σ learnt",
        "adam_fixed": "Adam (3e-4) from z = 3, σ fixed",
        "adam_learnt": "Adam (3e-4) from z = 3, σ learnt",
    }
    for colour, (name, label) in zip(plots.COLOURS, names.items(), strict=False):
        axes.plot(data[name], color=colour, label=label)
    steps = np.arange(len(data["fixed"]))
    claimed = data["fixed"][0] + 2.0 * steps * np.log10(data["rho"])
    axes.plot(steps, claimed, color="0.1", ls="--", lw=2, label="ρ^2t (Eq. 4)")
    axes.set(xlabel="steps", ylabel="log₁₀ of the gradient's norm", ylim=(-0.5, 6))
    axes.set_title("Corollary 3.3: growth of a negative sample's gradient", fontsize=10)


def _draw_fragility(axes: Axes, data: Mapping[str, Any]) -> None:
    for colour, distance, norm in zip(plots.COLOURS, data["distances"], data["norm"], strict=False):
        axes.loglog(data["sigma"], norm, color=colour, label=f"|a − μ| = {distance:g}")
    reached = f"Adam (3e-4) after 5,000 steps: {data['adam_sigma']:.2f}"
    axes.axvline(data["adam_sigma"], color="0.4", ls="--", lw=1, label=reached)
    spread = f"spread of unit vectors, 1/√128 = {data['spread']:.2f}"
    axes.axvline(data["spread"], color="0.4", ls=":", lw=1, label=spread)
    axes.invert_xaxis()
    axes.set(xlabel="σ", ylabel="norm of the gradient")
    axes.set_title("Theorem 3.4: a fixed negative sample as σ falls", fontsize=10)


def _draw_ratio(axes: Axes, data: Mapping[str, Any]) -> None:
    blue, red, green = plots.COLOURS[:3]
    axes.plot(
        data["steps_fixed"], data["fixed"], color=blue, label="one positive, σ fixed: ratio on μ"
    )
    axes.plot(
        data["steps_single"], data["single"], color=red, label="one positive, σ learnt: ratio"
    )
    positive = np.log10(data["single_positive"])
    label = "one positive, σ learnt: its own gradient"
    axes.plot(data["steps_single"], positive, color=red, ls="--", label=label)
    each = np.log10(data["each"])
    label = "64 positives with spread: ratio a sample, at rest"
    axes.axhline(each, color=green, label=label)
    axes.set(xlabel="steps of plain ascent on positives", ylabel="log₁₀ of ratio or norm")
    axes.set_title("Corollary 3.5: repulsion over attraction", fontsize=10)


def _draw_invariance(axes: Axes, data: Mapping[str, Any]) -> None:
    axes.loglog(data["offset"], data["off_policy"], "o-", ms=3, color=plots.COLOURS[1],
                label="one fixed sample")  # fmt: skip
    axes.loglog(data["offset"], data["on_policy"], "o-", ms=3, color=plots.COLOURS[0],
                label="the policy's own samples: 1/σ² + 2")  # fmt: skip
    axes.set(xlabel="distance that μ has moved, in σ = 1", ylabel="expected squared score norm")
    axes.set_title("Proposition 3.6: on-policy gradients do not see where μ is", fontsize=10)


def _draw_filter(axes: Axes, data: Mapping[str, Any]) -> None:
    labels = {
        "atoms": "an atom at the quantile",
        "distinct": "no atom at the quantile: all at (0, 0)",
    }
    for colour, (kind, label) in zip(plots.COLOURS, labels.items(), strict=False):
        size = 3 if kind == "atoms" else 8
        axes.plot(data["excess"][kind], data["loss"][kind], "o", ms=size, color=colour, label=label)
    axes.set(
        xlabel="mass kept beyond κ, P(R ≥ R₁₋κ) − κ", ylabel="lost to the optimum by Eq. 11, reward"
    )
    axes.set_title("Theorem 4.1 against the linear programme", fontsize=10)


def _draw_dual(axes: Axes, data: Mapping[str, Any]) -> None:
    names = {"interval": "rewards 0, 0.4, 0.6, 1", "atom": "rewards 0, 0.4, 0.4, 1"}
    for colour, (name, label), best in zip(
        plots.COLOURS, names.items(), data["optimum"], strict=False
    ):
        axes.plot(data["nu"], data[name], color=colour, label=f"{label}, κ = 0.5")
        axes.axhline(best, color=colour, ls=":", lw=1, label=f"its linear programme: {best:g}")
    axes.set(xlabel="ν", ylabel="ν + E[(R − ν)₊] / κ")
    axes.set_title("Appendix F.2: the minimum is the optimum, its place may be many", fontsize=10)


def _draw_weights(axes: Axes, data: Mapping[str, Any]) -> None:
    names = {
        "eq_43": "Eq. 43's optimum: min(1/κ, exp((R − λ)/τ))",
        "eq_45": "Eq. 45 (DRPO-Exp)",
        "hard": "hard filter (Theorem 4.1)",
    }
    for colour, (name, label) in zip(plots.COLOURS, names.items(), strict=False):
        axes.plot(data["rewards"], data[name], ".-", ms=4, lw=1, color=colour, label=label)
    cap = 1.0 / data["kappa"]
    axes.axhline(cap, color="0.4", ls="--", lw=1, label=f"cap 1/κ = {cap:g}")
    axes.set(xlabel="reward", ylabel="density ratio w")
    axes.set_title(f"Appendix F.3 at τ = {data['tau']:g}", fontsize=10)


PICTURES: Mapping[str, Callable[[Axes, Mapping[str, Any]], None]] = {
    "proposition-3.1": _draw_hessian,
    "theorem-3.2": _draw_dynamics,
    "corollary-3.3": _draw_growth,
    "theorem-3.4": _draw_fragility,
    "corollary-3.5": _draw_ratio,
    "proposition-3.6": _draw_invariance,
    "theorem-4.1": _draw_filter,
    "appendix-F.2": _draw_dual,
    "appendix-F.3": _draw_weights,
}
"""What draws an experiment's data onto axes, by the experiment's name."""

EXPERIMENT = Experiment(
    "theory",
    "the propositions and theorems as experiments",
    without_agents(run),
    draw,
    seeded=False,
)
