"""What a result says beside the references: tables, comparisons, pictures, and a sentence."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from recsim_drpo.benchmarks.reproduce.framework.documents import Table
from recsim_drpo.benchmarks.reproduce.framework.estimates import (
    Floats,
    brief,
    difference,
    interval,
    signed,
)
from recsim_drpo.benchmarks.suites.result import Result
from recsim_drpo.benchmarks.suites.suite import Metric, Suite
from recsim_drpo.reporting import comparison, plots

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Record = dict[str, Any]

_LEVELS = 3  # lines beside curves, which have four dashes


@dataclass(frozen=True)
class Scores:
    """Scores of several agents on the same logs and seeds.

    Attributes:
        earned: (num_seeds, num_conditions) by agent's label, the result's own first.
        normalized: of the same shape, on the metric's scale.
        labels: of the conditions.
        own: the label of the result's agent.
        metric: what was earned.
    """

    earned: Mapping[str, Floats]
    normalized: Mapping[str, Floats]
    labels: Sequence[str]
    own: str
    metric: Metric

    @property
    def rivals(self) -> list[str]:
        """The other agents, the best mean first."""
        others = [name for name in self.earned if name != self.own]
        return sorted(others, key=lambda name: -float(self.earned[name].mean()))


def scores_of(suite: Suite, result: Result) -> Scores:
    """The scores of a result and of the references; of a quick run, of what it trained itself."""
    labels = suite.labels if not result.quick else _labels(result.records)
    runs = runs_of(suite, result)
    earned, normalized = (
        {name: _table(own, labels, result.seeds, measure) for name, own in runs.items()}
        for measure in (suite.metric.of, suite.metric.normalized)
    )
    return Scores(earned, normalized, labels, result.label, suite.metric)


def runs_of(suite: Suite, result: Result) -> dict[str, list[Record]]:
    """Records by what tables call their agent, the result's own first; as :func:`scores_of`."""
    runs: dict[str, list[Record]] = {result.label: []}
    for record in result.records:
        own = record["agent"] == result.agent
        runs.setdefault(result.label if own else record["agent"], []).append(record)
    if not result.quick:
        for record in suite.references:
            name = record["agent"]
            name += " (reference)" if name in (result.label, result.agent) else ""
            runs.setdefault(name, []).append(record)
    return runs


def _labels(records: Sequence[Record]) -> list[str]:
    return list(dict.fromkeys(record["condition"] for record in records))


def _table(
    records: Sequence[Record],
    labels: Sequence[str],
    seeds: Sequence[int],
    measure: Callable[[Record], float],
) -> Floats:
    """Scores (num_seeds, num_conditions)."""
    by_place = {(r["condition"], r["seed"]): measure(r) for r in records}
    rows = [[by_place[label, seed] for label in labels] for seed in seeds]
    return np.array(rows, dtype=np.float64)


def tables_of(scores: Scores) -> list[Table]:
    """The tables: over all logs, the differences, and log by log."""
    return [_overall(scores), _differences(scores), _each(scores)]


def _overall(scores: Scores) -> Table:
    rows = []
    for name in [scores.own, *scores.rivals]:
        normalized = scores.normalized[name]
        spread = {"shared_seeds": True}
        improved = comparison.probability_of_improvement(
            scores.normalized[scores.own], normalized, shared_seeds=True
        )
        rows.append(
            [
                name,
                brief(interval(scores.earned[name].mean(axis=1))),
                brief(
                    comparison.stratified_bootstrap(
                        normalized, comparison.interquartile_mean, **spread
                    )
                ),
                brief(
                    comparison.stratified_bootstrap(normalized, comparison.optimality_gap, **spread)
                ),
                "" if name == scores.own else brief(improved),
            ]
        )
    seeds, logs = scores.earned[scores.own].shape
    return Table(
        "All logs together",
        [
            "agent",
            scores.metric.label,
            "interquartile mean",
            "optimality gap",
            f"P({scores.own} better)",
        ],
        rows,
        f"{logs} logs, {seeds} paired seeds, 95 % intervals over seeds. Interquartile mean and gap "
        f"are of a share: {scores.metric.scale}.",
    )


def _differences(scores: Scores) -> Table:
    own = scores.earned[scores.own]
    p_values = [comparison.sign_flip_p_value(own, scores.earned[name]) for name in scores.rivals]
    adjusted = comparison.holm(p_values)
    rows = []
    for name, p in zip(scores.rivals, adjusted, strict=True):
        gain = own - scores.earned[name]
        wins = int((gain.mean(axis=0) > 0).sum())
        lead = difference(own.mean(axis=1), scores.earned[name].mean(axis=1))
        rows.append([name, signed(lead), f"{p:.2g}", f"{wins} of {own.shape[1]}"])
    return Table(
        f"{scores.own} minus each reference",
        ["reference", f"difference of {scores.metric.label}", "p, Holm", "logs ahead"],
        rows,
        "Paired by seed; p-values by flipping signs of whole seeds, adjusted by Holm.",
    )


def _each(scores: Scores) -> Table:
    names = [scores.own, *scores.rivals]
    rows = [
        [label, *(brief(interval(scores.earned[name][:, place])) for name in names)]
        for place, label in enumerate(scores.labels)
    ]
    return Table(f"Log by log, {scores.metric.label}", ["log", *names], rows)


def sentence(suite: Suite, result: Result, scores: Scores) -> str:
    """The sentence that states what was run, ready for a paper."""
    seeds, logs = scores.earned[scores.own].shape
    tuned = {
        "nothing": "at hyper-parameters that no result chose",
        "logs": "at hyper-parameters chosen by logs alone",
        "true-reward": "at hyper-parameters chosen by the true reward of validation users",
    }[result.tuned_by]
    text = (
        f"{result.label} was trained {tuned} on the {logs} logs of {suite.name} (recsim_drpo "
        f"{(result.versions or {}).get('recsim_drpo', '')}, revision {result.revision or '?'}) for "
        f"{suite.training.steps:,} updates of {suite.training.batch_size} transitions at {seeds} "
        f"paired seeds, and measured on {suite.num_test_users:,} test users"
        f"{', a session each,' if suite.metric.name == 'return' else ''} without reward noise; "
        "intervals are of 95 % over seeds."
    )
    if result.quick:
        text = f"A QUICK RUN, NO EVIDENCE: {len(scores.labels)} logs, {seeds} seeds, cut short."
    return text if result.exact_logs else f"{text} The logs differ from the suite's by rounding."


def as_text(suite: Suite, result: Result) -> str:
    """Everything as Markdown."""
    scores = scores_of(suite, result)
    parts = [f"# {result.label} on {suite.name}", sentence(suite, result, scores)]
    parts += [table.markdown() for table in tables_of(scores)]
    parts.append(about_curves(suite, result))
    parts.append(f"References: {suite.rules['references']} Rules: {suite.rules['offline']}")
    return "\n\n".join(parts)


def as_latex(suite: Suite, result: Result) -> str:
    """The table over all logs in LaTeX (booktabs)."""
    table = _overall(scores_of(suite, result))
    lines = [" & ".join(map(_escaped, row)) + r" \\" for row in table.rows]
    head = " & ".join(map(_escaped, table.header)) + r" \\"
    columns = "l" + "r" * (len(table.header) - 1)
    return "\n".join(
        [
            rf"% {suite.name}; needs \usepackage{{booktabs}}",
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            head,
            r"\midrule",
            *lines,
            r"\bottomrule",
            r"\end{tabular}",
            "",
        ]
    )


_LATEX = str.maketrans(
    {sign: rf"\{sign}" for sign in "&%_#$"}
    | {"{": r"\{", "}": r"\}", "\\": r"\textbackslash{}", "~": r"\textasciitilde{}"}
    | {"^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}"}
)


def _escaped(text: str) -> str:
    """Text as LaTeX prints it."""
    return text.translate(_LATEX)


def draw(suite: Suite, result: Result, folder: Path) -> dict[str, Figure]:
    """Pictures: what was earned, leads over each reference, performance profiles, and curves.

    Returns:
        those of lines, by name.

    Raises:
        plots.PlotsMissingError: the extra ``plots`` is not installed.
    """
    scores = scores_of(suite, result)
    names = [scores.own, *scores.rivals]
    panels = {
        label: [tuple(interval(scores.earned[name][:, place])) for name in names]
        for place, label in enumerate(scores.labels)
    }
    plots.interval_bars(folder / "ecpm.png", names, panels, f"{scores.metric.label} of test users")
    own = scores.earned[scores.own].mean(axis=1)
    leads = {name: difference(own, scores.earned[name].mean(axis=1)) for name in scores.rivals}
    plots.estimates(
        folder / "leads.png", leads, f"{scores.metric.label} of {scores.own} minus the reference's"
    )
    thresholds = np.linspace(0.0, 1.0, 101)
    best = names[:7]
    curves = {
        name: comparison.performance_profile(scores.normalized[name], thresholds, shared_seeds=True)
        for name in best
    }
    where = folder / "profiles.png"
    figures = {
        "performance profiles": plots.profiles(where, thresholds, curves, "share of the scale")
    }
    learnt = learning(suite, result)
    if learnt:
        ends = {
            f"{name}, test users": float(scores.earned[name].mean())
            for name in [n for n in scores.rivals if n not in learnt][:_LEVELS]
        }
        shown = dict(list(learnt.items())[: len(plots.COLOURS)])
        label = f"{scores.metric.label} of validation users, mean of the logs"
        plots.learning_curves(folder / "curves.png", shown, ends, label)
    return figures


def learning(suite: Suite, result: Result) -> dict[str, tuple[list[float], Floats]]:
    """Learning curves of those agents of which they are stored, the result's own first.

    Returns:
        by what tables call it, steps (T,) and values (num_seeds, T) on validation users, means over
        logs.
    """
    found = {}
    for name, records in runs_of(suite, result).items():
        curves = {(r["condition"], r["seed"]): r.get("curve") or [] for r in records}
        steps = {tuple(step for step, _ in curve) for curve in curves.values()}
        if len(steps) == 1 and steps != {()}:
            labels = _labels(records)
            values = np.array(
                [
                    [[value for _, value in curves[label, seed]] for label in labels]
                    for seed in result.seeds
                ],
                dtype=np.float64,
            )
            found[name] = list(steps.pop()), values.mean(axis=1)
    return found


def about_curves(suite: Suite, result: Result) -> str:
    """A sentence on whose learning curves there are, and whose there are not."""
    learnt = learning(suite, result)
    without = [name for name in runs_of(suite, result) if name not in learnt]
    if not learnt:
        return "No learning curves are stored of this result."
    told = f"Learning curves, on validation users, are of {', '.join(learnt)}."
    if without:
        told += f" None are stored of {', '.join(without)}."
    return told
