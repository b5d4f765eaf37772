"""Train agents on logged transitions: one, a fleet, or many of different kinds."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass

import torch
from torch import Tensor
from tqdm import tqdm

from recsim_drpo.agents.engine.learner import Learner
from recsim_drpo.agents.fleet import Fleet
from recsim_drpo.agents.protocol import Agent, check_agent
from recsim_drpo.core.negatives import table_spans
from recsim_drpo.core.policy import PolicyEvaluator
from recsim_drpo.core.transitions import Transitions
from recsim_drpo.core.validation import check_integer, check_seed
from recsim_drpo.training.checkpointing import Checkpoint, Journal, Row as Row
from recsim_drpo.training.config import TrainingConfig
from recsim_drpo.training.order import draw_indices as draw_indices, drawn_ahead as drawn_ahead
from recsim_drpo.training.streaming import LogUpdates, Step, Stream, StreamUpdates, Updates


class DivergedError(ArithmeticError):
    """Raised when training meets a metric that is not finite; the history so far is attached.

    Attributes:
        step: the update at which it happened, where the agent knows, else the logged one.
        history: rows up to and including the one in which it was seen.
    """

    def __init__(self, step: int, metric: str, value: float, history: list[Row]) -> None:
        super().__init__(f"Diverged at step {step}: the metric {metric!r} is {value}.")
        self.step = step
        self.history = history


def check_row(row: Row, step: int, history: list[Row]) -> None:
    """Raise :class:`DivergedError` where a metric, or an action evaluated, is not finite."""
    for name, value in row.items():
        if not math.isfinite(value) or (name == "nonfinite_share" and value > 0.0):
            raise DivergedError(step, name, value, history)


def train(
    agent: Agent,
    transitions: Transitions | Stream,
    config: TrainingConfig | None = None,
    *,
    seed: int = 0,
    first_step: int = 0,
    evaluator: PolicyEvaluator | None = None,
    on_log: Callable[[Row], None] | None = None,
    progress: bool = True,
    label: str = "train",
    checkpoint: Checkpoint | None = None,
) -> list[Row]:
    """Update an agent on batches drawn from a log.

    Args:
        agent: anything that follows the protocol; changed in place.
        transitions: the log, on the agent's device; or one that is read as it is learnt from.
        config: see :class:`TrainingConfig`.
        seed: integer in [0, 2**63) of the order in which transitions are drawn.
        first_step: updates that the agent has had before, from 0 to ``config.steps``: the order of
            the data and the counting go on from there, as if it had never stopped.
        evaluator: users to follow the learning on; adds its headline to the history, at step 0 too.
            Meant for validation users: nothing here chooses by it.
        on_log: called with each row of the history as it is made.
        progress: show rate and time left on a terminal.
        label: shown beside the progress.
        checkpoint: where the training is kept as it goes. What was kept there before is gone on
            from, in place of ``first_step``, and ends as if it had never stopped.

    Returns:
        the history: rows with ``step`` and the agent's metrics as floats. Those of
        :data:`recsim_drpo.agents.engine.algorithm.AVERAGED` are means over the updates since the
        row before; the others are of the last update.

    Raises:
        TypeError: the agent lacks a method of an agent.
        DivergedError: a metric or an action is not finite.
    """
    config = TrainingConfig() if config is None else config
    check_agent(agent)
    history: list[Row] = []
    journal = Journal(agent, [history], checkpoint)
    first_step = journal.restored(first_step, transitions.device)
    schedule = _Schedule(config, first_step, evaluator is not None)

    def log(number: int, metrics: Mapping[str, Tensor]) -> None:
        row: Row = {"step": float(number)}
        row |= {name: float(value) for name, value in metrics.items()}
        if evaluator is not None and schedule.evaluates_at(number):
            row |= evaluator(agent).headline()
        history.append(row)
        if on_log is not None:
            on_log(row)
        known = getattr(agent, "diverged_at", None)
        check_row(row, number if known is None else known, history)
        if known is not None:  # and the batch of this row happened to be harmless
            raise DivergedError(known, "loss", math.nan, history)

    def make(held: Transitions) -> Step:
        step = _step_of(agent, held, config)
        return lambda indices: step(indices[0])

    seeds = torch.tensor([check_seed(seed)], device=transitions.device)
    updates: Updates
    if isinstance(transitions, Transitions):
        sizes = torch.tensor([len(transitions)], device=transitions.device)
        updates = LogUpdates(make(transitions), seeds, sizes, config.batch_size)
    else:
        updates = StreamUpdates(make, transitions, seeds, config.batch_size)
    with schedule.bar(1, label, "update", progress) as bar:
        _loop(updates, schedule, log, bar, journal)
    return history


def train_fleet(
    fleet: Fleet,
    transitions: Transitions | Stream | Sequence[Transitions | Stream],
    config: TrainingConfig | None = None,
    *,
    first_step: int = 0,
    evaluator: PolicyEvaluator | None = None,
    on_log: Callable[[int, Row], None] | None = None,
    progress: bool = True,
    label: str = "train",
    checkpoint: Checkpoint | None = None,
) -> list[list[Row]]:
    """Update every learner of a fleet, each on its own batches, in the order of its own seed.

    A learner that diverges is frozen, and reported with the step; the rest goes on. Its history
    goes on too, with the value of the frozen policy.

    Args:
        fleet: changed in place.
        transitions: one log for all, or each learner's own, on the fleet's device; or one for all
            that is read as it is learnt from.
        config: see :class:`TrainingConfig`.
        first_step: see :func:`train`.
        evaluator: see :func:`train`.
        on_log: called with the learner's number and each row of its history.
        progress: show rate, in learner-updates, and time left on a terminal.
        label: shown beside the progress.
        checkpoint: see :func:`train`.

    Returns:
        each learner's history.

    Raises:
        ValueError: another number of logs than of learners, or logs of different shapes; several
            that are read as they are learnt from.
    """
    config = TrainingConfig() if config is None else config
    histories: list[list[Row]] = [[] for _ in range(len(fleet))]
    journal = Journal(fleet, histories, checkpoint)
    first_step = journal.restored(first_step, fleet.device)
    schedule = _Schedule(config, first_step, evaluator is not None)
    updates = _updates_of(fleet, transitions, config)
    reported: set[int] = set()

    def log(number: int, metrics: Mapping[str, Tensor]) -> None:
        rows, frozen_at = _rows_of(fleet, number, metrics)
        if evaluator is not None and schedule.evaluates_at(number):
            for row, measured in zip(rows, evaluator.many(fleet), strict=True):
                row |= measured.headline()
        for learner, row in enumerate(rows):
            histories[learner].append(row)
            if on_log is not None:
                on_log(learner, row)
            if frozen_at[learner] >= 0 and learner not in reported:
                reported.add(learner)
                _report_frozen(fleet, learner, frozen_at[learner])

    with schedule.bar(len(fleet), label, "learner-update", progress) as bar:
        _loop(updates, schedule, log, bar, journal)
    return histories


def idle_updates(history: Sequence[Row]) -> int:
    """The number of updates in which there was nothing to learn, by the rows' ``idle_share``."""
    idle, before = 0.0, 0.0
    for row in history:
        idle += row.get("idle_share", 0.0) * (row["step"] - before)
        before = row["step"]
    return round(idle)


@dataclass(frozen=True)
class _Schedule:
    """The updates of a training, and those after which a row of the history is due."""

    config: TrainingConfig
    first_step: int
    evaluated: bool

    def __post_init__(self) -> None:
        check_integer("first_step", self.first_step, 0, self.config.steps)

    def rows(self) -> list[int]:
        """The numbers of updates after which a row is due, rising; 0 is before the first."""
        config, first = self.config, self.first_step
        due = {*range(config.log_every, config.steps, config.log_every), config.steps}
        if self.evaluated:
            due |= set(range(0, config.steps, config.evaluate_every))
        return sorted(row for row in due if row == 0 == first or row > first)

    def evaluates_at(self, step: int) -> bool:
        """Whether the row after so many updates has the value of the policy in it."""
        config = self.config
        return self.evaluated and (step % config.evaluate_every == 0 or step == config.steps)

    def bar(self, num_learners: int, label: str, unit: str, progress: bool) -> tqdm:
        """The progress over all updates of all learners, shown on a terminal if asked for."""
        total = (self.config.steps - self.first_step) * num_learners
        return tqdm(total=total, desc=label, unit=unit, disable=None if progress else True)


def _loop(
    updates: Updates,
    schedule: _Schedule,
    log: Callable[[int, Mapping[str, Tensor]], None],
    bar: tqdm,
    journal: Journal,
) -> None:
    """Make every update, and call ``log`` whenever a row is due."""
    metrics: Mapping[str, Tensor] = {}
    done, rows = schedule.first_step, set(schedule.rows())
    kept = journal.due(done, schedule.config.steps)
    with closing(updates):
        for stop in sorted(rows | kept):
            for metrics in updates.between(done, stop):
                journal.means.add(metrics)
                bar.update(len(journal.histories))
            done = stop
            if stop in rows:
                log(stop, journal.means.take(metrics))
            if stop in kept:
                journal.keep(stop)


def _step_of(agent: Agent, transitions: Transitions, config: TrainingConfig) -> Step:
    """An agent's update on the rows of a log that are named by int64 (B,)."""
    if isinstance(agent, Learner):
        return agent.make_train_step(transitions, config.batch_size, updates=config.steps)
    # ``bind`` is what agents from outside may still call it.
    make = getattr(agent, "make_train_step", None) or getattr(agent, "bind", None)
    if make is not None:
        train_step: Step = make(transitions, config.batch_size)
        return train_step
    return lambda indices: agent.update(transitions.take(indices))


def _updates_of(
    fleet: Fleet,
    transitions: Transitions | Stream | Sequence[Transitions | Stream],
    config: TrainingConfig,
) -> Updates:
    """A fleet's updates, each learner's on rows of its log."""
    given = list(transitions) if isinstance(transitions, Sequence) else [transitions] * len(fleet)
    if len(given) != len(fleet):
        raise ValueError(f"{len(given)} logs for a fleet of {len(fleet)}; give one, or one each.")
    logs = [log for log in given if isinstance(log, Transitions)]
    if len(logs) == len(given):
        return _updates_of_logs(fleet, logs, config)
    stream = given[0]
    if isinstance(stream, Transitions) or any(log is not stream for log in given):
        raise ValueError("A fleet learns from one log that is read as it goes, not from several.")

    def make(held: Transitions) -> Step:
        return fleet.make_train_step(held, config.batch_size, updates=config.steps)

    return StreamUpdates(make, stream, fleet.seeds, config.batch_size)


def _updates_of_logs(fleet: Fleet, logs: Sequence[Transitions], config: TrainingConfig) -> Updates:
    if fleet.draws_items:
        logs = [log.with_items() for log in logs]
    different = list({id(log): log for log in logs}.values())
    joined = Transitions.concatenated(different)
    starts = itertools.accumulate(map(len, different), initial=0)
    start_of = dict(zip(map(id, different), starts, strict=False))
    sizes = torch.tensor([len(log) for log in logs], device=joined.device)
    offsets = torch.tensor([start_of[id(log)] for log in logs], device=joined.device).unsqueeze(1)
    spans = table_spans(logs) if fleet.draws_items else None
    step = fleet.make_train_step(joined, config.batch_size, spans, updates=config.steps)
    return LogUpdates(
        lambda indices: step(indices + offsets), fleet.seeds, sizes, config.batch_size
    )


def _rows_of(
    fleet: Fleet, number: int, metrics: Mapping[str, Tensor]
) -> tuple[list[Row], list[float]]:
    """Each learner's row after so many updates, and the update at which it froze, or -1."""
    columns = [column.to(torch.float64) for column in (fleet.diverged_at, *metrics.values())]
    frozen_at, *values = torch.stack(columns).cpu().tolist()
    by_name = dict(zip(metrics, values, strict=True))
    rows = [
        {"step": float(number)} | {name: column[learner] for name, column in by_name.items()}
        for learner in range(len(fleet))
    ]
    return rows, frozen_at


def _report_frozen(fleet: Fleet, learner: int, step: float) -> None:
    member = fleet.members[learner]
    overrides = f", {dict(member.overrides)}" if member.overrides else ""
    about = f"{fleet.name}, seed {member.seed}{overrides}"
    tqdm.write(f"{about}: diverged at step {step:.0f}; frozen as it was before.")
