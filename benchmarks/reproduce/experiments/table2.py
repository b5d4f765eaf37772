"""Table 2: what each part of DRPO contributes.

Row 1, hard filtering without a soft base: DRPO's filter at a fixed κ with the signed advantage
R - mean_of(R_subset). Row 2, the soft base alone: the paper's AsymRe, which J.2 names as DRPO's
objective. Row 3, both, at a fixed κ. Row 4, both, κ guided by variance. The fixed κ is p_0 of
Table 5, which the paper does not say; other values are other readings of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recsim_drpo.benchmarks.reproduce.framework.agent_suite import COLLAPSED_ECPM, SCENARIOS
from recsim_drpo.benchmarks.reproduce.framework.conditions import scenario
from recsim_drpo.benchmarks.reproduce.framework.documents import Findings, Table
from recsim_drpo.benchmarks.reproduce.framework.estimates import Floats, interval, mean_of
from recsim_drpo.benchmarks.reproduce.framework.experiment import Experiment, run_study
from recsim_drpo.benchmarks.reproduce.framework.records import values
from recsim_drpo.benchmarks.reproduce.framework.settings import Settings
from recsim_drpo.benchmarks.reproduce.framework.study import Record, Study, Variants
from recsim_drpo.benchmarks.reproduce.framework.verdicts import Verdict, answer, earns_more
from recsim_drpo.reporting import plots

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAME = "table2"
COMMAND = "recsim-drpo reproduce table2"
KAPPAS = (0.5, 0.2, 0.05)
"""Fixed shares; the first is Table 5's p_0."""

ROWS = {
    "filter alone": ("drpo", 0),
    "soft base alone": ("asymre", 0),
    "both, fixed": ("drpo", len(KAPPAS)),
    "both, adaptive": ("drpo", 2 * len(KAPPAS)),
}
PAPER = {
    "filter alone": 0.12,
    "soft base alone": 1.15,
    "both, fixed": 1.31,
    "both, adaptive": 1.42,
}

AGENTS: Variants = {
    "asymre": [{}],
    "drpo": [
        *(
            {"baseline": "mean", "adaptive": False, "initial_kappa": k, "min_kappa": k}
            for k in KAPPAS
        ),
        *({"adaptive": False, "initial_kappa": k, "min_kappa": k} for k in KAPPAS),
        {},
    ],
}


def run(settings: Settings) -> dict[str, Any]:
    """The result of Table 2: DRPO and its parts trained in both scenarios."""
    conditions = [scenario(name) for name in SCENARIOS]
    study = Study.of(settings, NAME, conditions, AGENTS, full=20, quick=2)
    return run_study(settings, study, findings)


def findings(records: Sequence[Record]) -> Findings:
    """Table 2, a table of other fixed shares, and the verdicts."""
    return Findings([_table(records), _readings(records)], _verdicts(records))


def scores(records: Sequence[Record], condition: str, row: str) -> Floats:
    """Test eCPM (num_seeds,) of a row of Table 2."""
    agent, variant = ROWS[row]
    return values(records, condition=condition, agent=agent, variant=variant)


def _table(records: Sequence[Record]) -> Table:
    rows = [
        [row, *(mean_of(scores(records, c, row)) for c in SCENARIOS), f"{PAPER[row]:.2f}"]
        for row in ROWS
    ]
    note = f"eCPM on test users, 95 % intervals over seeds. Fixed κ = {KAPPAS[0]}."
    return Table("Table 2", ["configuration", *SCENARIOS, "paper"], rows, note)


def _readings(records: Sequence[Record]) -> Table:
    rows = []
    for offset, name in ((0, "filter alone"), (len(KAPPAS), "both, fixed")):
        for number, kappa in enumerate(KAPPAS):
            cells = [
                mean_of(values(records, condition=c, agent="drpo", variant=offset + number))
                for c in SCENARIOS
            ]
            rows.append([name, f"{kappa:g}", *cells])
    return Table("Table 2, other fixed shares", ["configuration", "κ", *SCENARIOS], rows)


def _verdicts(records: Sequence[Record]) -> list[Verdict]:
    steps = (
        ("the soft base prevents the collapse of hard filtering alone", 0, 1),
        ("hard filtering adds to the soft base", 1, 2),
        ("the adaptive mechanism adds to a fixed filter", 2, 3),
    )
    names = list(ROWS)
    verdicts = []
    for condition in SCENARIOS:
        for statement, before, after in steps:
            low, high = (scores(records, condition, names[k]) for k in (before, after))
            verdicts.append(
                earns_more(
                    high,
                    low,
                    f"Table 2, {condition}: rows {after + 1} and {before + 1}",
                    f"{statement.capitalize()}.",
                    f"{PAPER[names[after]]:.2f} against {PAPER[names[before]]:.2f}",
                    COMMAND,
                )
            )
        alone = scores(records, condition, names[0])
        verdicts.append(
            Verdict(
                f"Table 2, {condition}: row 1",
                "Hard filtering without a soft base collapses.",
                "eCPM 0.12",
                mean_of(alone),
                answer(interval(COLLAPSED_ECPM - alone)),
                f"to collapse is to earn less than {COLLAPSED_ECPM:g}; its best seed earns "
                f"{alone.max():.2f}",
                COMMAND,
            )
        )
    return verdicts


def draw(result: dict[str, Any], folder: Path) -> dict[str, Figure]:
    """A picture of eCPM as bars for both scenarios."""
    records = result["records"]
    bars = {c: [interval(scores(records, c, row)) for row in ROWS] for c in SCENARIOS}
    label = "eCPM on test users, 95 % interval over seeds"
    return {NAME: plots.interval_bars(folder / NAME, list(ROWS), bars, label)}


EXPERIMENT = Experiment(NAME, "what each part of DRPO contributes", run, draw)
