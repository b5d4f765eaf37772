"""Table 3 and Figure 4: from offline to online.

The paper does not define its hybrid stream; :mod:`.framework.online` says
what is run here. The log is the ``medium`` one. Figure 4's "online data ratio" is the share of
online samples that the filter admits; the share of what is admitted that is online, another reading
of the name, is kept beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from recsim_drpo.benchmarks.reproduce.framework.conditions import scenario
from recsim_drpo.benchmarks.reproduce.framework.documents import Findings, Table
from recsim_drpo.benchmarks.reproduce.framework.estimates import (
    Floats,
    brief,
    difference,
    interval,
    mean_of,
)
from recsim_drpo.benchmarks.reproduce.framework.experiment import Experiment, run_study
from recsim_drpo.benchmarks.reproduce.framework.online import OnlineStudy
from recsim_drpo.benchmarks.reproduce.framework.records import select, values
from recsim_drpo.benchmarks.reproduce.framework.settings import Settings
from recsim_drpo.benchmarks.reproduce.framework.study import Record, Variants
from recsim_drpo.benchmarks.reproduce.framework.thresholds import threshold
from recsim_drpo.benchmarks.reproduce.framework.verdicts import Verdict, answer, by_sign, earns_more
from recsim_drpo.reporting import plots
from recsim_drpo.reporting.statistics import Estimate

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAME = "table3"
COMMAND = "recsim-drpo reproduce table3"
STEPS = 10_000
PAPER = {"asymre": 1.05, "awr": 1.21, "iql": 1.84, "drpo-exp": 1.93, "drpo": 1.96}
FILTERING = ("drpo", "drpo-exp")

AGENTS: Variants = {
    "asymre": [{}],
    "awr": [{"beta": 0.05, "standardize": False}],
    "iql": [{}],
    "drpo-exp": [{}],
    "drpo": [{}],
    "bc": [{}],
}

_NEAR = threshold("adapted_share")
_DIP = threshold("dip_share")
_NONE_ADMITTED, _ALL_ADMITTED = threshold("none_admitted"), threshold("all_admitted")


def run(settings: Settings) -> dict[str, Any]:
    """The result of Table 3: agents trained on half the log and half their own rounds."""
    conditions = [scenario("medium")]
    study = OnlineStudy.of(settings, NAME, conditions, AGENTS, full=20, quick=2, steps=STEPS)
    return run_study(settings, study, findings)


def findings(records: Sequence[Record]) -> Findings:
    """Table 3, a table of what the filter of Figure 4 admits, and the verdicts."""
    return Findings([_table(records), _filter_table(records)], _verdicts(records))


def curves(records: Sequence[Record], agent: str) -> tuple[Floats, Floats]:
    """Steps (T,) and eCPM on validation users (num_seeds, T)."""
    both = np.array([run["curve"] for run in _runs(records, agent)], dtype=np.float64)
    return both[0, :, 0], both[:, :, 1]


def followed(records: Sequence[Record], agent: str, name: str) -> tuple[Floats, Floats]:
    """Steps (T,) and a column that :class:`.online.OnlineStudy` followed (num_seeds, T)."""
    rows = [[[row["step"], row[name]] for row in run["followed"]] for run in _runs(records, agent)]
    both = np.array(rows, dtype=np.float64)
    return both[0, :, 0], both[:, :, 1]


def steps_to(steps: Floats, ecpm: Floats, goals: Floats) -> Floats:
    """The first of the steps (T,) at which each run of eCPM (S, T) reaches its goal (S,), or ∞."""
    reached = ecpm >= goals[:, None]
    return np.where(reached.any(axis=1), steps[reached.argmax(axis=1)], np.inf)


def drawdown(ecpm: Floats) -> Floats:
    """Largest drawdown (S,) of each run of eCPM (S, T) below its best so far, ≥ 0."""
    fallen: Floats = (np.maximum.accumulate(ecpm, axis=1) - ecpm).max(axis=1)
    return fallen


def _runs(records: Sequence[Record], agent: str) -> list[Record]:
    return sorted(select(records, agent=agent), key=lambda record: int(record["seed"]))


def _final(records: Sequence[Record], agent: str) -> Floats:
    return values(records, agent=agent)


def _adapted(records: Sequence[Record], agent: str) -> Floats:
    """Steps until a run earns 90 % of what it earns at the end."""
    steps, ecpm = curves(records, agent)
    return steps_to(steps, ecpm, _NEAR * ecpm[:, -1])


def _table(records: Sequence[Record]) -> Table:
    rows = []
    for agent in AGENTS:
        online = followed(records, agent, "online_reward")[1][:, -1]
        rows.append(
            [
                agent,
                mean_of(_final(records, agent)),
                f"{PAPER[agent]:.2f}" if agent in PAPER else "",
                mean_of(online),
                mean_of(drawdown(curves(records, agent)[1])),
                _steps(interval(_adapted(records, agent))),
            ]
        )
    header = ["agent", "eCPM", "paper", "online reward", "largest dip", "steps to 90 %"]
    note = (
        "eCPM on test users after the last step; observed reward of the last online rounds; the "
        "largest fall of eCPM on validation users below its best so far; steps until 90 % of the "
        "agent's own last eCPM on them. 95 % intervals over seeds."
    )
    return Table("Table 3", header, rows, note)


def _filter_table(records: Sequence[Record]) -> Table:
    header, rows = ["agent", "at step", "κ", "online admitted", "online of admitted"], []
    for agent in FILTERING:
        steps = followed(records, agent, "kappa")[0]
        for place in sorted({round(x) for x in np.linspace(0, len(steps) - 1, 5)}):
            cells = [
                mean_of(followed(records, agent, name)[1][:, place])
                for name in ("kappa", "admitted", "online_share")
            ]
            rows.append([agent, f"{steps[place]:,.0f}", *cells])
    return Table("Figure 4, the filter", header, rows)


def _verdicts(records: Sequence[Record]) -> list[Verdict]:
    verdicts = []
    for agent in FILTERING:
        for other in ("iql", "awr", "asymre"):
            verdicts.append(
                earns_more(
                    _final(records, agent),
                    _final(records, other),
                    f"Table 3: {agent} against {other}",
                    f"After the online phase {agent} earns more than {other}.",
                    f"{PAPER[agent]:.2f} against {PAPER[other]:.2f}",
                    COMMAND,
                )
            )
    return [
        *verdicts,
        _dip_verdict(records),
        *_admission_verdicts(records),
        *curriculum_verdicts(records),
        *_speed_verdicts(records),
    ]


def _dip_verdict(records: Sequence[Record]) -> Verdict:
    ecpm = curves(records, "drpo")[1]
    dip = interval(drawdown(ecpm))
    bound = _DIP * float(ecpm[:, -1].mean())
    others = ", ".join(
        f"{name} {drawdown(curves(records, name)[1]).mean():.2f}"
        for name in AGENTS
        if name != "drpo"
    )
    return Verdict(
        "Section 5.6: no performance dip",
        "DRPO's transition to online data has no performance dip.",
        "none in Figure 4",
        f"largest fall of eCPM {brief(dip)}",
        answer(Estimate(bound - dip.value, bound - dip.high, bound - dip.low)),
        f"{_DIP:.0%} of its final eCPM is {bound:.2f}; the others fall by {others}",
        COMMAND,
    )


def _admission_verdicts(records: Sequence[Record]) -> list[Verdict]:
    steps, shares = followed(records, "drpo", "admitted")
    first, last = interval(shares[:, 0]), interval(shares[:, -1])
    kappa = interval(followed(records, "drpo", "kappa")[1][:, -1])
    # Half of a batch is online: a filter that admits κ of it admits at most 2 κ of that half.
    most = f"κ ends at {brief(kappa)}, and at most 2 κ of the online half can be admitted"
    return [
        Verdict(
            "Figure 4: the start of the online data ratio",
            "At first the filter admits next to no online sample.",
            "0.02 until step 2,800",
            brief(first),
            answer(Estimate(*(_NONE_ADMITTED - x for x in (first.value, first.high, first.low)))),
            f"'next to no' is below {_NONE_ADMITTED:g}, at step {steps[0]:,.0f}",
            COMMAND,
        ),
        Verdict(
            "Figure 4: the end of the online data ratio",
            "In the end the filter admits nearly all online samples.",
            "0.99 at step 10,000",
            brief(last),
            answer(Estimate(*(x - _ALL_ADMITTED for x in last))),
            f"'nearly all' is above {_ALL_ADMITTED:g}; the largest mean of all steps is "
            f"{shares.mean(axis=0).max():.2f}; {most}",
            COMMAND,
        ),
    ]


def curriculum_verdicts(records: Sequence[Record]) -> list[Verdict]:
    """The verdicts on the "self-paced curriculum": κ and admissions at the first and last step."""
    claims = (
        (
            "kappa",
            "Section 5.6: the trust region is tightened",
            "At first variance is high and κ low; it grows as the policy improves.",
        ),
        (
            "admitted",
            "Section 5.6: the curriculum",
            "As the policy improves, the filter admits more online samples.",
        ),
    )
    verdicts = []
    for name, claim, statement in claims:
        first, last = (followed(records, "drpo", name)[1][:, k] for k in (0, -1))
        verdicts.append(
            by_sign(
                difference(last, first),
                claim,
                statement,
                "0.02 to 0.99 admitted" if name == "admitted" else "",
                f"{mean_of(first)} to {mean_of(last)}",
                COMMAND,
            )
        )
    return verdicts


def _speed_verdicts(records: Sequence[Record]) -> list[Verdict]:
    """The verdicts on speed, by the steps that DRPO and a baseline take to an eCPM both reach.

    That is 90 % of the smaller of their last ones, so that neither is called slow for going
    further; against IQL, the strongest, also to 90 % of its own.
    """
    drpo = curves(records, "drpo")
    verdicts = [
        _faster(
            "iql",
            "90 % of its own final eCPM",
            _adapted(records, "drpo"),
            _adapted(records, "iql"),
        )
    ]
    for other in ("iql", "awr", "asymre"):
        theirs = curves(records, other)
        common = _NEAR * np.minimum(drpo[1][:, -1], theirs[1][:, -1])
        goal = "90 % of the smaller of both final eCPMs"
        verdicts.append(_faster(other, goal, steps_to(*drpo, common), steps_to(*theirs, common)))
    return verdicts


def _faster(other: str, goal: str, ours: Floats, theirs: Floats) -> Verdict:
    earlier = difference(theirs, ours)
    return Verdict(
        f"Section 5.6: speed against {other}, to {goal}",
        f"DRPO adapts significantly faster than {other}.",
        "DRPO has 1.5 of 1.96 by step 4,000",
        f"{_steps(interval(ours))} against {_steps(interval(theirs))} steps",
        answer(earlier),
        f"it is {earlier.value:,.0f} [{earlier.low:,.0f}, {earlier.high:,.0f}] steps ahead",
        COMMAND,
    )


def _steps(estimate: Estimate) -> str:
    return f"{estimate.value:,.0f} [{estimate.low:,.0f}, {estimate.high:,.0f}]"


def draw(result: dict[str, Any], folder: Path) -> dict[str, Figure]:
    """Pictures of learning curves, and of what the filter admits."""
    records = result["records"]
    steps = curves(records, "drpo")[0]
    lines = {name: _band(curves(records, name)[1]) for name in AGENTS}
    label = "eCPM on validation users"
    figures = {NAME: plots.sweep(folder / NAME, steps, lines, "training steps", label)}
    followed_shares = {
        "admitted": "share of online samples admitted",
        "online_share": "online share of what is admitted",
    }
    for column, label in followed_shares.items():
        steps = followed(records, "drpo", column)[0]
        lines = {agent: _band(followed(records, agent, column)[1]) for agent in FILTERING}
        name = f"figure4-{column}".replace("_", "-")
        figures[name] = plots.sweep(folder / name, steps, lines, "training steps", label)
    return figures


def _band(runs: Floats) -> list[Estimate]:
    return [interval(column) for column in runs.T]


EXPERIMENT = Experiment(NAME, "offline to online, with Figure 4", run, draw)
