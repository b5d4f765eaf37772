"""Table 6: fixed filtering ratios under reward noise and policy noise.

Policy noise is the share of the expert's rounds in which π_rand's item is logged instead; what else
is in the log the paper does not say. Both natural readings are run: logs of the expert alone, and
the ``medium`` mixture. The ratio is DRPO's κ, fixed; at 100 % nothing is filtered.

Observed rewards are clipped at 1 (Eq. 49). Where reward noise takes more than the ratio's share of
rounds there, all that is admitted ties with the threshold ν, the advantage R − ν is 0 (Eq. 13), and
nothing is ever learnt: the policy stays the random network that it began as. So both logs are also
run with the noise after the clip, the other natural reading: R + σ_noise ε as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from recsim_drpo.benchmarks.reproduce.framework.agent_suite import COLLAPSED_ECPM
from recsim_drpo.benchmarks.reproduce.framework.conditions import (
    EXPERT_ONLY,
    Condition,
    expert_degraded,
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
from recsim_drpo.benchmarks.reproduce.framework.study import Record, Study, Variants
from recsim_drpo.benchmarks.reproduce.framework.thresholds import threshold
from recsim_drpo.benchmarks.reproduce.framework.verdicts import (
    Verdict,
    answer,
    answer_within,
    by_sign,
    earns_more,
    over_readings,
)
from recsim_drpo.reporting import plots

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAME = "table6"
COMMAND = "recsim-drpo reproduce table6"
RATIOS = (0.05, 0.4, 1.0)
REWARD_NOISES = (0.0, 0.5, 1.0)
POLICY_NOISES = (0.1, 0.5)
PAPER = {
    (0.0, 0.1): (1.69, 1.69, 1.35),
    (0.0, 0.5): (1.63, 1.63, 1.59),
    (0.5, 0.1): (1.29, 1.29, 1.20),
    (0.5, 0.5): (1.13, 1.13, 1.04),
    (1.0, 0.1): (1.06, 1.06, 1.13),
    (1.0, 0.5): (0.87, 0.87, 0.93),
}
"""eCPM by (reward noise, policy noise); the first two columns of Table 6 are identical."""

AGENTS: Variants = {
    "drpo": [
        *({"adaptive": False, "initial_kappa": k, "min_kappa": min(k, 0.05)} for k in RATIOS),
        {},
    ]
}
ADAPTIVE = len(RATIOS)
"""The variant whose κ is guided by variance; the others are those of :data:`RATIOS`."""

_TOP_5, _ALL = 0, len(RATIOS) - 1
_SAME = threshold("same_ecpm")
_MUCH = threshold("much_share")


def readings() -> tuple[Condition, ...]:
    """The log that is degraded, by all readings: the expert's alone, and the ``medium`` one.

    Each with noise before the clip, as in Eq. 49, and then after it.
    """
    clipped = EXPERT_ONLY, scenario("medium")
    raw = (replace(c, label=f"{c.label}, noise after the clip", unclipped=True) for c in clipped)
    return (*clipped, *raw)


def run(settings: Settings) -> dict[str, Any]:
    """The result of Table 6: fixed and adaptive filters under reward and policy noise."""
    bases = readings()[:1] if settings.quick else readings()
    conditions = [
        expert_degraded(base, policy, noise)
        for base in bases
        for noise in REWARD_NOISES
        for policy in POLICY_NOISES
    ]
    study = Study.of(settings, NAME, conditions, AGENTS, full=20, quick=2, curves=False)
    return run_study(settings, study, partial(findings, bases=bases))


def findings(records: Sequence[Record], bases: Sequence[Condition]) -> Findings:
    """Table 6 and the verdicts, for each reading of what is degraded."""
    verdicts = [verdict for base in bases for verdict in _verdicts(records, base)]
    overall = over_logs(verdicts, bases) if len(bases) > 1 else []
    return Findings([_table(records, base) for base in bases], [*verdicts, *overall])


def over_logs(verdicts: Sequence[Verdict], bases: Sequence[Condition]) -> list[Verdict]:
    """The verdicts on the claims of Table 6 over all readings of what is logged.

    Args:
        verdicts: of each reading, in the same order and as many.
        bases: the readings.
    """
    each = len(verdicts) // len(bases)
    found = []
    for first in range(each):
        told = {base.label: verdicts[k * each + first] for k, base in enumerate(bases)}
        one = verdicts[first]
        found.append(
            replace(
                one,
                claim=one.claim.replace(f"Table 6, {bases[0].label}", "Table 6, all readings"),
                ours="; ".join(f"{name}: {verdict.ours}" for name, verdict in told.items()),
                verdict=over_readings({name: v.verdict for name, v in told.items()}),
                because="; ".join(f"{name}: {v.verdict}" for name, v in told.items()),
            )
        )
    return found


def scores(
    records: Sequence[Record], base: Condition, noise: float, policy: float, variant: int
) -> Floats:
    """Test eCPM (num_seeds,) of one cell of Table 6."""
    label = expert_degraded(base, policy, noise).label
    return values(records, condition=label, agent="drpo", variant=variant)


def _table(records: Sequence[Record], base: Condition) -> Table:
    rows = []
    for policy in POLICY_NOISES:
        for noise in REWARD_NOISES:
            cells = [
                mean_of(scores(records, base, noise, policy, variant))
                for variant in range(len(RATIOS) + 1)
            ]
            paper = " / ".join(f"{x:.2f}" for x in PAPER[noise, policy])
            rows.append([f"{noise:g}", f"{policy:g}", *cells, paper])
    names = [f"top {ratio:.0%}" for ratio in RATIOS]
    header = ["reward noise", "policy noise", *names, "adaptive", "paper"]
    note = "eCPM, 95 % intervals."
    if not base.unclipped:
        note += (
            " Rewards are clipped at 1: where more than the ratio's share of rounds is there, the "
            "admitted tie with the threshold, have no advantage over it, and nothing is learnt; "
            "0.24 is what the untrained policy earns."
        )
    return Table(f"Table 6, {base.label}", header, rows, note)


def _verdicts(records: Sequence[Record], base: Condition) -> list[Verdict]:
    return [
        *(
            verdict
            for policy in POLICY_NOISES
            for verdict in (
                _aggressive_wins(records, base, policy),
                _trend_reverses(records, base, policy),
                _no_single_ratio(records, base, policy),
            )
        ),
        _unfiltered_suffers(records, base),
        *_filter_verdicts(records, base),
    ]


def _aggressive_wins(records: Sequence[Record], base: Condition, policy: float) -> Verdict:
    return earns_more(
        scores(records, base, 0.0, policy, _TOP_5),
        scores(records, base, 0.0, policy, _ALL),
        f"Table 6, {base.label}: no reward noise, policy noise {policy:g}",
        "Without reward noise aggressive filtering (top 5 %) beats no filtering.",
        "{0:.2f} against {2:.2f}".format(*PAPER[0.0, policy]),
        COMMAND,
    )


def _trend_reverses(records: Sequence[Record], base: Condition, policy: float) -> Verdict:
    return earns_more(
        scores(records, base, 1.0, policy, _ALL),
        scores(records, base, 1.0, policy, _TOP_5),
        f"Table 6, {base.label}: reward noise 1, policy noise {policy:g}",
        "Under high reward noise the trend reverses: no filtering beats the top 5 %.",
        "{2:.2f} against {0:.2f}".format(*PAPER[1.0, policy]),
        COMMAND,
    )


def _no_single_ratio(records: Sequence[Record], base: Condition, policy: float) -> Verdict:
    """The verdict over all ratios: each is surely beaten somewhere, or one nowhere by much."""
    ratios = range(len(RATIOS))
    cells = {
        noise: [scores(records, base, noise, policy, ratio) for ratio in ratios]
        for noise in REWARD_NOISES
    }
    # By ratio: how much each other one earns more, at every reward noise.
    behind = {
        ratio: [
            difference(cell[other], cell[ratio])
            for cell in cells.values()
            for other in ratios
            if other != ratio
        ]
        for ratio in ratios
    }
    beaten = [ratio for ratio in ratios if any(gap.low > 0.0 for gap in behind[ratio])]
    enough = [ratio for ratio in ratios if all(gap.high < _SAME for gap in behind[ratio])]
    verdict = "holds" if len(beaten) == len(RATIOS) else "undecided"
    if enough:
        verdict = "does not hold"
    best = {
        noise: max(ratios, key=lambda ratio, cell=cell: float(cell[ratio].mean()))  # type: ignore[misc]
        for noise, cell in cells.items()
    }
    lost = {ratio: max(behind[ratio], key=lambda gap: gap.value) for ratio in ratios}
    return Verdict(
        f"Table 6, {base.label}: no single ratio, policy noise {policy:g}",
        "No single fixed ratio is best at every reward noise.",
        "top 5 % at noise 0, 100 % at noise 1",
        "best: " + ", ".join(f"top {RATIOS[k]:.0%} at noise {n:g}" for n, k in best.items()),
        verdict,
        "at most lost against another ratio: "
        + ", ".join(f"top {RATIOS[k]:.0%} {signed(gap)}" for k, gap in lost.items())
        + f"; one that surely loses less than {_SAME:g} anywhere would do",
        COMMAND,
    )


def _unfiltered_suffers(records: Sequence[Record], base: Condition) -> Verdict:
    before, after = (scores(records, base, 0.5, policy, _ALL) for policy in POLICY_NOISES)
    return Verdict(
        f"Table 6, {base.label}: policy noise without a filter",
        "Without a filter, policy noise 0.5 in place of 0.1 costs much (reward noise 0.5).",
        "1.20 to 1.04",
        f"{mean_of(before)} to {mean_of(after)}, {signed(difference(after, before))}",
        answer(interval((1.0 - _MUCH) * before - after)),
        f"much is {_MUCH:.0%} or more",
        COMMAND,
    )


def _filter_verdicts(records: Sequence[Record], base: Condition) -> list[Verdict]:
    """The verdicts on filtering against policy noise, on its share, and on adaptive κ."""
    where = f"Table 6, {base.label}"
    ratios = range(len(RATIOS))
    cells = {
        (noise, policy): [
            scores(records, base, noise, policy, variant) for variant in (*ratios, ADAPTIVE)
        ]
        for noise in REWARD_NOISES
        for policy in POLICY_NOISES
    }
    good, poor = cells[0.5, 0.1], cells[0.5, 0.5]
    filtered, unfiltered = ratios[0], ratios[-1]
    apart = {place: difference(cell[0], cell[1]) for place, cell in cells.items()}
    farthest = max(apart, key=lambda place: abs(apart[place].value))
    means = [np.mean([cell[variant] for cell in cells.values()], axis=0) for variant in range(4)]
    best = max(ratios, key=lambda ratio: float(means[ratio].mean()))
    return [
        _against_policy_noise(
            (good[unfiltered], poor[unfiltered]), (good[filtered], poor[filtered]), where
        ),
        Verdict(
            f"{where}: top 5 % and top 40 %",
            "Top 5 % and top 40 % earn the same (identical in all rows of Table 6).",
            "the same two digits in 6 of 6 rows",
            f"they differ most, by {signed(apart[farthest])}, at reward noise {farthest[0]:g} and "
            f"policy noise {farthest[1]:g}",
            answer_within(apart[farthest], _SAME),
            f"the same is within {_SAME:g} eCPM",
            COMMAND,
        ),
        by_sign(
            difference(means[ADAPTIVE], means[best]),
            f"{where}: adaptivity",
            "Over all noise levels adaptive κ earns more than the best fixed ratio.",
            "",
            f"{mean_of(means[ADAPTIVE])} against top {RATIOS[best]:.0%}'s {mean_of(means[best])}",
            COMMAND,
        ),
    ]


def _against_policy_noise(
    unfiltered: tuple[Floats, Floats], filtered: tuple[Floats, Floats], where: str
) -> Verdict:
    """The verdict on filtering against policy noise, by eCPM at little and at much of it."""
    loses = [difference(*pair) for pair in (unfiltered, filtered)]
    verdict = by_sign(
        interval((unfiltered[0] - unfiltered[1]) - (filtered[0] - filtered[1])),
        f"{where}: filtering against policy noise",
        "Policy noise costs the top 5 % less than it costs no filter (reward noise 0.5).",
        "top 5 % 0.16 (1.29 to 1.13), no filter 0.16 (1.20 to 1.04)",
        f"no filter loses {signed(loses[0])}, the top 5 % {signed(loses[1])}",
        COMMAND,
    )
    if filtered[0].mean() >= COLLAPSED_ECPM:
        return verdict
    because = (
        f"the top 5 % have collapsed at policy noise 0.1 already ({mean_of(filtered[0])}, less "
        f"than {COLLAPSED_ECPM:g}) and have nothing to lose"
    )
    return replace(verdict, verdict="undecided", because=because)


def draw(result: dict[str, Any], folder: Path) -> dict[str, Figure]:
    """Pictures of eCPM against reward noise, a line for each ratio, by reading and policy noise."""
    known = distinct(result["records"], "condition")
    figures = {}
    for base in readings():
        if expert_degraded(base, POLICY_NOISES[0], REWARD_NOISES[0]).label not in known:
            continue
        for policy in POLICY_NOISES:
            filters = [*(f"top {ratio:.0%}" for ratio in RATIOS), "adaptive"]
            lines = {
                label: [
                    interval(scores(result["records"], base, noise, policy, variant))
                    for noise in REWARD_NOISES
                ]
                for variant, label in enumerate(filters)
            }
            kind = base.label.split()[0].strip(",") + "-unclipped" * base.unclipped
            name = f"{NAME}-{kind}-policy-noise-{round(100 * policy)}"
            figures[name] = plots.sweep(
                folder / name, np.array(REWARD_NOISES), lines, "reward noise σ", "eCPM"
            )
    return figures


EXPERIMENT = Experiment(NAME, "fixed filters under two kinds of noise", run, draw)
