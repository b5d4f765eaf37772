"""Train agents on logged transitions: one, a fleet, or many of different kinds."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch import Tensor
from tqdm import tqdm

from recsim_drpo.agents.fleet import Fleet
from recsim_drpo.agents.protocol import Agent, check_agent
from recsim_drpo.core import rng
from recsim_drpo.core.policy import PolicyEvaluator
from recsim_drpo.core.transitions import Transitions
from recsim_drpo.core.validation import check_integer, check_seed
from recsim_drpo.training.config import TrainingConfig

Row = dict[str, float]
_DRAWN_AHEAD = 2**22


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


def draw_indices(
    seeds: Tensor, sizes: Tensor, first_step: int, num_steps: int, batch_size: int
) -> Tensor:
    """Which transitions learners meet: uniform with replacement, on the seeds' device.

    A pure function of seed and step: not of who else is trained, nor of where training stopped.

    Args:
        seeds: int64 (L,).
        sizes: int64 (L,), number of transitions of each learner's log, up to 2**31.
        first_step: number of the first update, from 0.
        num_steps: T ≥ 1.
        batch_size: B ≥ 1.

    Returns:
        int64 (T, L, B) in [0, size).
    """
    num_learners = len(seeds)
    steps = torch.arange(first_step, first_step + num_steps, device=seeds.device)
    words = rng.philox_4x32(
        seeds.repeat(num_steps),
        rng.Stream.TRAINING_ORDER,
        steps.repeat_interleave(num_learners),
        batch_size,
    )
    return rng.uniform_integers(
        words.view(num_steps, num_learners, batch_size), sizes.view(1, -1, 1)
    )


def drawn_ahead(
    seeds: Tensor, sizes: Tensor, first_step: int, num_steps: int, batch_size: int
) -> Iterator[Tensor]:
    """:func:`draw_indices` step by step, int64 (L, B), drawn many steps at a time."""
    ahead = max(1, _DRAWN_AHEAD // (len(seeds) * batch_size))
    end = first_step + num_steps
    for start in range(first_step, end, ahead):
        yield from draw_indices(seeds, sizes, start, min(ahead, end - start), batch_size)


def train(
    agent: Agent,
    transitions: Transitions,
    config: TrainingConfig | None = None,
    *,
    seed: int = 0,
    first_step: int = 0,
    evaluator: PolicyEvaluator | None = None,
    on_log: Callable[[Row], None] | None = None,
    progress: bool = True,
    label: str = "train",
) -> list[Row]:
    """Update an agent on batches drawn from a log.

    Args:
        agent: anything that follows the protocol; changed in place.
        transitions: the log, on the agent's device.
        config: see :class:`TrainingConfig`.
        seed: integer in [0, 2**63) of the order in which transitions are drawn.
        first_step: updates that the agent has had before, from 0 to ``config.steps``: the order of
            the data and the counting go on from there, as if it had never stopped.
        evaluator: users to follow the learning on; adds its headline to the history, at step 0 too.
            Meant for validation users: nothing here chooses by it.
        on_log: called with each row of the history as it is made.
        progress: show rate and time left on a terminal.
        label: shown beside the progress.

    Returns:
        the history: rows with ``step`` and the agent's metrics as floats.

    Raises:
        TypeError: the agent lacks a method of an agent.
        DivergedError: a metric or an action is not finite.
    """
    config = TrainingConfig() if config is None else config
    check_agent(agent)
    check_integer("first_step", first_step, 0, config.steps)
    step = _step_of(agent, transitions, config.batch_size)
    history: list[Row] = []

    def log(number: int, metrics: Mapping[str, Tensor]) -> None:
        row: Row = {"step": float(number)}
        row |= {name: float(value) for name, value in metrics.items()}
        if evaluator is not None and _is_due(number, config):
            row |= evaluator(agent).headline()
        history.append(row)
        if on_log is not None:
            on_log(row)
        known = getattr(agent, "diverged_at", None)
        check_row(row, number if known is None else known, history)
        if known is not None:  # and the batch of this row happened to be harmless
            raise DivergedError(known, "loss", math.nan, history)

    seeds = torch.tensor([check_seed(seed)], device=transitions.device)
    sizes = torch.tensor([len(transitions)], device=transitions.device)
    _loop(
        lambda indices: step(indices[0]),
        seeds,
        sizes,
        config,
        log,
        first_step=first_step,
        evaluated=evaluator is not None,
        label=label,
        unit="update",
        progress=progress,
    )
    return history


def train_fleet(
    fleet: Fleet,
    transitions: Transitions | Sequence[Transitions],
    config: TrainingConfig | None = None,
    *,
    first_step: int = 0,
    evaluator: PolicyEvaluator | None = None,
    on_log: Callable[[int, Row], None] | None = None,
    progress: bool = True,
    label: str = "train",
) -> list[list[Row]]:
    """Update every learner of a fleet, each on its own batches, in the order of its own seed.

    A learner that diverges is frozen, and reported with the step; the rest goes on. Its history
    goes on too, with the value of the frozen policy.

    Args:
        fleet: changed in place.
        transitions: one log for all, or each learner's own, on the fleet's device.
        config: see :class:`TrainingConfig`.
        first_step: see :func:`train`.
        evaluator: see :func:`train`.
        on_log: called with the learner's number and each row of its history.
        progress: show rate, in learner-updates, and time left on a terminal.
        label: shown beside the progress.

    Returns:
        each learner's history.

    Raises:
        ValueError: another number of logs than of learners, or logs of different shapes.
    """
    config = TrainingConfig() if config is None else config
    check_integer("first_step", first_step, 0, config.steps)
    logs = [transitions] * len(fleet) if isinstance(transitions, Transitions) else transitions
    if len(logs) != len(fleet):
        raise ValueError(f"{len(logs)} logs for a fleet of {len(fleet)}; give one, or one each.")
    different = list({id(log): log for log in logs}.values())
    everything = Transitions.concatenated(different)
    device = everything.device
    starts = dict(zip(map(id, different), _starts(different), strict=True))
    sizes = torch.tensor([len(log) for log in logs], device=device)
    offsets = torch.tensor([starts[id(log)] for log in logs], device=device).unsqueeze(1)
    step = fleet.make_train_step(everything, config.batch_size)
    histories: list[list[Row]] = [[] for _ in range(len(fleet))]
    marked: set[int] = set()

    def log_rows(number: int, metrics: Mapping[str, Tensor]) -> None:
        names = list(metrics)
        columns = [metrics[name].to(torch.float64) for name in names]
        table = torch.stack([fleet.diverged_at.to(torch.float64), *columns]).cpu().tolist()
        due = evaluator is not None and _is_due(number, config)
        found = evaluator.many(fleet) if evaluator is not None and due else None
        for k, history in enumerate(histories):
            row: Row = {"step": float(number)}
            row |= {name: table[1 + i][k] for i, name in enumerate(names)}
            if found is not None:
                row |= found[k].headline()
            history.append(row)
            if on_log is not None:
                on_log(k, row)
            if table[0][k] >= 0 and k not in marked:
                marked.add(k)
                member = fleet.members[k]
                about = f"{fleet.name}, seed {member.seed}" + (
                    f", {dict(member.overrides)}" if member.overrides else ""
                )
                tqdm.write(f"{about}: diverged at step {table[0][k]:.0f}; frozen as it was before.")

    _loop(
        lambda indices: step(indices + offsets),
        fleet.seeds,
        sizes,
        config,
        log_rows,
        first_step=first_step,
        evaluated=evaluator is not None,
        label=label,
        unit="learner-update",
        progress=progress,
    )
    return histories


def _step_of(
    agent: Agent, transitions: Transitions, batch_size: int
) -> Callable[[Tensor], Mapping[str, Tensor]]:
    # ``bind`` is what agents from outside may still call it.
    make = getattr(agent, "make_train_step", None) or getattr(agent, "bind", None)
    if make is not None:
        train_step: Callable[[Tensor], Mapping[str, Tensor]] = make(transitions, batch_size)
        return train_step
    return lambda indices: agent.update(transitions.take(indices))


def _starts(logs: Sequence[Transitions]) -> list[int]:
    starts, total = [], 0
    for log in logs:
        starts.append(total)
        total += len(log)
    return starts


def _is_due(step: int, config: TrainingConfig) -> bool:
    return step % config.evaluate_every == 0 or step == config.steps


def _loop(
    step: Callable[[Tensor], Mapping[str, Tensor]],
    seeds: Tensor,
    sizes: Tensor,
    config: TrainingConfig,
    log: Callable[[int, Mapping[str, Tensor]], None],
    *,
    first_step: int,
    evaluated: bool,
    label: str,
    unit: str,
    progress: bool,
) -> None:
    """Call ``step`` with indices (L, B) for every update, and ``log`` whenever a row is due."""
    rows = {*range(config.log_every, config.steps, config.log_every), config.steps}
    if evaluated:
        rows |= set(range(0, config.steps, config.evaluate_every))
    metrics: Mapping[str, Tensor] = {}
    done = first_step
    total = (config.steps - first_step) * len(seeds)
    with tqdm(total=total, desc=label, unit=unit, disable=None if progress else True) as bar:
        for row in sorted(row for row in rows if row == 0 == first_step or row > first_step):
            for indices in drawn_ahead(seeds, sizes, done, row - done, config.batch_size):
                metrics = step(indices)
                bar.update(len(seeds))
            done = row
            log(row, metrics)
