"""What a search found: the winner retrained on fresh seeds, in tables and pictures."""

from __future__ import annotations

import csv
import io
import json
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from recsim_drpo.core.files import write_atomically
from recsim_drpo.core.json_text import assigned
from recsim_drpo.core.provenance import revision, versions
from recsim_drpo.reporting import plots
from recsim_drpo.reporting.statistics import Estimate, seed_interval
from recsim_drpo.reporting.tables import markdown_table
from recsim_drpo.training.sweep import Trained, train_many
from recsim_drpo.tuning.names import OFFLINE, TRUE_REWARD
from recsim_drpo.tuning.search import Search

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

FIRST_FRESH = 1_000
"""The first seed that the winner is retrained with; trials have those from 0."""

_SHOWN = 10


@dataclass(frozen=True)
class Gap:
    """How far the value by a log alone and the true one agree on trials that came to their end.

    Attributes:
        trials: how many there are.
        rank_correlation: Spearman's, of the two values over trials; NaN below three.
        chosen_offline: true value, on validation users, of the trial that the log alone would
            choose.
        best: that of the best of all, which nobody outside a simulator can choose.
    """

    trials: int
    rank_correlation: float
    chosen_offline: float
    best: float

    def sentence(self) -> str:
        """What it says in words."""
        return (
            f"Of {self.trials} trials, the one that the log alone would choose gives validation "
            f"users {self.chosen_offline:.3f}, the one that true reward chooses {self.best:.3f}: "
            f"a gap of {self.best - self.chosen_offline:.3f}. Spearman's correlation of the two "
            f"criteria is {self.rank_correlation:.2f}."
        )


@dataclass(frozen=True)
class Outcome:
    """The result of a search.

    Attributes:
        search: with all its trials.
        winner: the values of the best trial.
        seeds: fresh ones, that winner and defaults were trained with.
        values: of the winner's learners and of the defaults', one a seed, by ``winner`` and
            ``defaults``, where nothing was chosen.
        gap: between the criteria, where both are known.
    """

    search: Search
    winner: Mapping[str, Any]
    seeds: tuple[int, ...]
    values: Mapping[str, tuple[float, ...]]
    gap: Gap | None

    @property
    def difference(self) -> Estimate:
        """The winner's value minus the defaults', paired by seed, by Student's t."""
        return seed_interval(np.subtract(self.values["winner"], self.values["defaults"]))

    @property
    def options(self) -> str:
        """The winner as options of ``recsim-drpo train``, to the last digit."""
        values = dict(self.winner)
        size = values.pop("batch_size", None)
        words = ["--set", *assigned(values)] if values else []
        return shlex.join([*words, *([] if size is None else ["--batch-size", str(size)])])


def confirmed(
    search: Search,
    num_seeds: int,
    *,
    keep: Callable[[Trained], None] = lambda trained: None,
    progress: bool = True,
) -> Outcome:
    """Retrain winner and defaults on fresh seeds, and measure them where nothing was chosen.

    Args:
        search: with at least one trial that came to its end.
        num_seeds: ≥ 1, from :data:`FIRST_FRESH`.
        keep: called with each retrained run of the winner.
        progress: show rate and time left on a terminal.

    Raises:
        ValueError: no trial came to its end.
    """
    task, trials = search.task, search.completed()
    winner = {**task.fixed, **trials[0].params}
    seeds = tuple(range(FIRST_FRESH, FIRST_FRESH + num_seeds))
    problem = task.problem
    runs = train_many(
        {task.agent: [winner, dict(task.fixed)]},
        problem.transitions,
        task.training,
        seeds=seeds,
        progress=progress,
        **task.options,
    )
    measured = [problem.final(run.agent) for run in runs]
    for run in runs[:num_seeds]:
        keep(run)
    values = {"winner": tuple(measured[:num_seeds]), "defaults": tuple(measured[num_seeds:])}
    return Outcome(search, winner, seeds, values, _gap(trials))


def _gap(trials: Sequence[FrozenTrial]) -> Gap | None:
    both = [
        (trial.user_attrs[TRUE_REWARD], trial.user_attrs[OFFLINE])
        for trial in trials
        if {TRUE_REWARD, OFFLINE} <= trial.user_attrs.keys()
    ]
    if not both:
        return None
    true, offline = np.array(both, dtype=np.float64).T
    several = len(both) > 2 and np.ptp(true) > 0 and np.ptp(offline) > 0
    correlation = float(spearmanr(true, offline).statistic) if several else float("nan")
    return Gap(len(both), correlation, float(true[offline.argmax()]), float(true.max()))


def as_text(outcome: Outcome) -> str:
    """The tables and sentences of a result, as Markdown."""
    search, problem = outcome.search, outcome.search.task.problem
    names = list(search.task.space)
    trials = search.completed()
    best = [
        [str(trial.number), *(_shown(trial.params[name]) for name in names), f"{trial.value:.3f}"]
        for trial in trials[:_SHOWN]
    ]
    told = [
        [name, str(seed_interval(values)), " ".join(f"{value:.3f}" for value in values)]
        for name, values in outcome.values.items()
    ]
    told.append(["difference", str(outcome.difference), "paired by seed"])
    counts = ", ".join(f"{count} {name.lower()}" for name, count in search.counts().items())
    fresh = f"seeds {outcome.seeds[0]} to {outcome.seeds[-1]}"
    parts = [
        f"# {search.task.agent}, chosen by {problem.chosen_by}",
        f"{search.updates():,} learner-updates; trials: {counts}. Searched: "
        + "; ".join(f"{name} in {values}" for name, values in search.task.space.items())
        + ".",
        f"The winner, as `train` takes it: `{outcome.options}`",
        f"Retrained on {fresh}, value by {problem.final_name}, mean with 95 % interval over seeds:",
        markdown_table(["", "value", "by seed"], told),
        f"The best trials by {problem.chosen_by}, which they were chosen by; their values flatter:",
        markdown_table(["trial", *names, problem.chosen_by], best),
    ]
    return "\n\n".join([*parts, *([outcome.gap.sentence()] if outcome.gap else [])])


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def save(folder: Path, outcome: Outcome) -> str | None:
    """Write result.json, report.md, trials.csv and the pictures into a folder that is there.

    Returns:
        why there are no pictures; ``None`` where they are.
    """
    search = outcome.search
    result = {
        "plan": search.task.plan(search.config),
        "winner": dict(outcome.winner),
        "final": outcome.search.task.problem.final_name,
        "seeds": list(outcome.seeds),
        "values": {name: list(values) for name, values in outcome.values.items()},
        "difference": outcome.difference._asdict(),
        "gap": None if outcome.gap is None else vars(outcome.gap),
        "trials": search.counts(),
        "learner_updates": search.updates(),
        "revision": revision(),
        "versions": versions(),
    }
    write_atomically(folder / "result.json", json.dumps(result, indent=1) + "\n")
    write_atomically(folder / "report.md", as_text(outcome) + "\n")
    write_atomically(folder / "trials.csv", _table(search))
    try:
        _draw(folder, search)
    except plots.PlotsMissingError as error:
        return f"No pictures: {error}"
    return None


def _table(search: Search) -> str:
    names = list(search.task.space)
    criteria = list(search.task.problem.criteria)
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["trial", "state", *names, *criteria, "updates"])
    for trial in search.study.get_trials(deepcopy=False):
        cells = [trial.params.get(name, "") for name in names]
        cells += [trial.user_attrs.get(name, "") for name in [*criteria, "updates"]]
        rows.writerow([trial.number, trial.state.name.lower(), *cells])
    return text.getvalue()


def _draw(folder: Path, search: Search) -> None:
    """Pictures of how the best value rose, and of the value over each hyper-parameter."""
    trials = search.completed()
    names = list(search.task.space)
    ylabel = f"value by {search.task.problem.chosen_by}"
    columns = min(3, len(names))
    rows = -(-len(names) // columns)
    figure, panels = plots.new_panels(rows, columns, 3.0 * columns + 0.6, 2.7 * rows, share="y")
    from matplotlib.ticker import LogLocator, NullFormatter  # which is there, as figures are

    places = [axes for row in panels for axes in row]
    for axes, name in zip(places, names, strict=False):
        values = [trial.params[name] for trial in trials]
        axes.scatter(_positions(values), _values(trials), s=14, color=plots.COLOURS[0])
        winner = _positions(values)[:1], _values(trials[:1])
        axes.scatter(*winner, s=60, marker="*", color=plots.COLOURS[1])
        if getattr(search.task.space[name], "log", False):
            axes.set_xscale("log")
            axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 3.0)))
            axes.xaxis.set_major_formatter("{x:g}")
            axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xlabel(name)
    for axes in places[len(names) :]:
        axes.remove()
    panels[0][0].set_ylabel(ylabel)
    figure.suptitle(f"{search.task.agent}: every complete trial; the star is the winner")
    plots.save(figure, folder / "slices.png")
    _draw_history(folder / "history.png", trials, ylabel)
    if importances := _importances(search):
        _draw_importances(folder / "importance.png", importances, ylabel)


def _values(trials: Iterable[FrozenTrial]) -> NDArray[np.float64]:
    return np.array([trial.value for trial in trials], dtype=np.float64)


def _positions(values: Sequence[Any]) -> list[Any]:
    return [value if isinstance(value, int | float) else str(value) for value in values]


def _draw_history(path: Path, trials: Iterable[FrozenTrial], ylabel: str) -> None:
    ordered = sorted(trials, key=lambda trial: trial.number)
    numbers, values = [t.number for t in ordered], _values(ordered)
    figure, axes = plots.new_figure(6.0, 3.6)
    axes.scatter(numbers, values, s=14, color=plots.COLOURS[0], label="a trial")
    best = np.maximum.accumulate(values)
    axes.step(numbers, best, where="post", color=plots.COLOURS[1], label="the best so far")
    axes.set(xlabel="trial", ylabel=ylabel)
    axes.legend(frameon=False, fontsize=9)
    plots.save(figure, path)


def _importances(search: Search) -> dict[str, float]:
    """Shares of the values' variance by hyper-parameter (fANOVA); empty where it cannot be told."""
    from optuna.importance import get_param_importances

    trials = search.completed()
    if len(trials) < 4 or len({trial.value for trial in trials}) < 2:
        return {}
    return dict(get_param_importances(search.study))


def _draw_importances(path: Path, importances: Mapping[str, float], ylabel: str) -> None:
    figure, axes = plots.new_figure(6.0, 0.4 * len(importances) + 1.2)
    names = list(importances)
    axes.barh(range(len(names)), list(importances.values()), color=plots.COLOURS[5])
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_xlabel(f"share of the variance of the {ylabel} (fANOVA)")
    plots.save(figure, path)
