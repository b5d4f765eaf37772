"""Figure 3: noise injection.

A share of the ``medium`` log's rounds is replaced by π_rand's, from 0 to 80 %. π_rand draws by
organic popularity as in the registered world, and, as the other natural reading, uniformly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from recsim_drpo.benchmarks.reproduce.framework.agent_suite import (
    COLLAPSED_ECPM,
    UNTUNED,
    marks_told,
)
from recsim_drpo.benchmarks.reproduce.framework.conditions import (
    Condition,
    noise_injected,
    scenario,
)
from recsim_drpo.benchmarks.reproduce.framework.documents import Findings, Table
from recsim_drpo.benchmarks.reproduce.framework.estimates import (
    Floats,
    difference,
    interval,
    mean_of,
    signed,
)
from recsim_drpo.benchmarks.reproduce.framework.experiment import Experiment, run_study
from recsim_drpo.benchmarks.reproduce.framework.records import distinct, values
from recsim_drpo.benchmarks.reproduce.framework.settings import Settings
from recsim_drpo.benchmarks.reproduce.framework.study import Record, Study
from recsim_drpo.benchmarks.reproduce.framework.thresholds import threshold
from recsim_drpo.benchmarks.reproduce.framework.verdicts import Verdict, answer, earns_more
from recsim_drpo.reporting import plots

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAME = "figure3"
COMMAND = "recsim-drpo reproduce figure3"
RATIOS = (0.0, 0.2, 0.4, 0.6, 0.8)
PAPER = {
    "drpo-exp": (1.50, 1.44, 1.45, 1.42, 1.35),
    "drpo": (1.46, 1.47, 1.45, 1.41, 1.33),
    "iql": (1.47, 1.40, 1.35, 1.28, 1.14),
    "awr": (1.29, 1.16, 1.08, 1.03, 1.06),
    "crr": (1.12, 1.11, 1.12, 1.01, 0.75),
    "apg": (0.05, 0.0, 0.0, 0.0, 0.0),
}
"""eCPM read off the figure; its "vanilla AsymRe" collapses as unweighted advantages do: our apg."""

AGENTS = (
    "bc",
    "apg",
    "crr",
    "awr",
    "iql",
    "asymre",
    "asymre-delta",
    "adaptive-bc",
    "drpo-exp",
    "drpo-boltzmann",
    "drpo",
    "two-tower",
)

_RIVALS = ("awr", "asymre", "iql", "crr")
_KEPT = threshold("kept_share")
_NEAR = threshold("near_optimum_share")
_LINEAR = threshold("linear_explained")


def readings() -> tuple[Condition, Condition]:
    """The log without noise, by both readings of how π_rand draws: by popularity, uniformly."""
    popular = scenario("medium")
    uniform = replace(popular, label="medium, uniform noise", logging={"random_exponent": 0.0})
    return popular, uniform


def run(settings: Settings) -> dict[str, Any]:
    """The result of Figure 3: agents trained at every share of noise."""
    bases = readings()[:1] if settings.quick else readings()
    conditions = [noise_injected(base, ratio) for base in bases for ratio in RATIOS]
    some = ("bc", "awr", "asymre", "drpo") if settings.quick else AGENTS
    agents = {name: UNTUNED[name] for name in some}
    study = Study.of(settings, NAME, conditions, agents, full=20, quick=2, curves=False)
    return run_study(settings, study, partial(findings, bases=bases))


def findings(records: Sequence[Record], bases: Sequence[Condition]) -> Findings:
    """A table of eCPM by share of noise and the verdicts, for each reading of the noise."""
    return Findings(
        [_table(records, base) for base in bases],
        [verdict for base in bases for verdict in _verdicts(records, base)],
    )


def scores(records: Sequence[Record], base: Condition, ratio: float, agent: str) -> Floats:
    """Test eCPM (num_seeds,) of an agent at one noise ratio."""
    return values(records, condition=noise_injected(base, ratio).label, agent=agent)


def _table(records: Sequence[Record], base: Condition) -> Table:
    rows = []
    for agent in distinct(records, "agent"):
        paper = " / ".join(f"{x:.2f}" for x in PAPER[agent]) if agent in PAPER else ""
        cells = [mean_of(scores(records, base, ratio, agent)) for ratio in RATIOS]
        rows.append([agent, *cells, paper])
    header = ["agent", *(f"{ratio:.0%}" for ratio in RATIOS), "paper"]
    return Table(f"Figure 3, {base.label}", header, rows, "eCPM, 95 % intervals.")


def _verdicts(records: Sequence[Record], base: Condition) -> list[Verdict]:
    there = distinct(records, "agent")
    return [
        *_drpo_verdicts(records, base),
        *(v for a in ("awr", "asymre") for v in _degradation_verdicts(records, base, a)),
        *(_ahead_verdict(records, base, a) for a in _RIVALS if a in there),
        *(_collapse_verdict(records, base) for a in ("apg",) if a in there),
    ]


def _drpo_verdicts(records: Sequence[Record], base: Condition) -> list[Verdict]:
    first, last = (scores(records, base, ratio, "drpo") for ratio in (RATIOS[0], RATIOS[-1]))
    condition = noise_injected(base, RATIOS[-1]).label
    optimum = values(records, "normalized", condition=condition, agent="drpo")
    where, both = f"Figure 3, {base.label}", f"{mean_of(first)} to {mean_of(last)}"
    return [
        Verdict(
            f"{where}: DRPO",
            "DRPO keeps its performance up to 80 % noise.",
            "1.46 to 1.33",
            both,
            answer(interval(last - _KEPT * first)),
            f"it keeps {last.mean() / first.mean():.0%}, losing {signed(difference(first, last))}; "
            f"to keep is {_KEPT:.0%} or more",
            COMMAND,
        ),
        Verdict(
            f"{where}: near the optimum",
            "DRPO is near the optimum even at 80 % noise.",
            "1.33, optimum 2.0",
            f"{mean_of(last)}; of the optimum {mean_of(optimum)}",
            answer(interval(optimum - _NEAR)),
            f"near is {_NEAR:.0%} or more of the way from random items to the oracle",
            COMMAND,
        ),
    ]


def _degradation_verdicts(records: Sequence[Record], base: Condition, agent: str) -> list[Verdict]:
    runs = [scores(records, base, ratio, agent) for ratio in RATIOS]
    curve = np.array([ecpm.mean() for ecpm in runs])
    slope, level = np.polyfit(RATIOS, curve, 1)
    left = curve - (level + slope * np.array(RATIOS))
    explained = 1.0 - float((left**2).sum() / max(((curve - curve.mean()) ** 2).sum(), 1e-12))
    degrades = answer(interval(_KEPT * runs[0] - runs[-1]))
    where = f"Figure 3, {base.label}: {agent}"
    paper = "1.29 to 1.06" if agent == "awr" else ""
    ours = f"{mean_of(runs[0])} to {mean_of(runs[-1])}"
    return [
        Verdict(
            f"{where} degrades",
            f"{agent} degrades significantly under noise.",
            paper,
            ours,
            degrades,
            f"it keeps {curve[-1] / curve[0]:.0%}; to degrade is to keep less than {_KEPT:.0%}",
            COMMAND,
        ),
        Verdict(
            f"{where} degrades linearly",
            f"{agent} degrades linearly with noise.",
            paper,
            ours,
            degrades if explained > _LINEAR else "does not hold",
            f"a line explains {explained:.0%} of the change of its mean; linear is above "
            f"{_LINEAR:.0%}",
            COMMAND,
        ),
    ]


def _ahead_verdict(records: Sequence[Record], base: Condition, agent: str) -> Verdict:
    return earns_more(
        scores(records, base, RATIOS[-1], "drpo"),
        scores(records, base, RATIOS[-1], agent),
        f"Figure 3, {base.label}: DRPO against {agent} at 80 %",
        f"At 80 % noise DRPO earns more than {agent}.",
        f"{PAPER['drpo'][-1]:.2f} against {PAPER[agent][-1]:.2f}" if agent in PAPER else "",
        COMMAND,
    )


def _collapse_verdict(records: Sequence[Record], base: Condition) -> Verdict:
    runs = [scores(records, base, ratio, "apg") for ratio in RATIOS]
    best = max(runs, key=lambda ecpm: float(ecpm.mean()))
    return Verdict(
        f"Figure 3, {base.label}: vanilla AsymRe",
        "Unweighted advantages collapse at every noise ratio.",
        "0.05 at 0 %, then 0",
        f"at most {mean_of(best)}",
        answer(interval(COLLAPSED_ECPM - best)),
        f"to collapse is to earn less than {COLLAPSED_ECPM:g}; " + marks_told(interval(best).high),
        COMMAND,
    )


def draw(result: dict[str, Any], folder: Path) -> dict[str, Figure]:
    """Pictures of eCPM against the noise ratio, a line for each agent."""
    records = result["records"]
    known = distinct(records, "condition")
    figures = {}
    for number, base in enumerate(readings()):
        if noise_injected(base, 0.0).label not in known:
            continue
        lines = {
            agent: [interval(scores(records, base, ratio, agent)) for ratio in RATIOS]
            for agent in distinct(records, "agent")
        }
        name = NAME if number == 0 else f"{NAME}-uniform"
        shares = 100 * np.array(RATIOS)
        figures[name] = plots.sweep(folder / name, shares, lines, "noise ratio (%)", "eCPM")
    return figures


EXPERIMENT = Experiment(NAME, "noise injection, 0 to 80 %", run, draw)
