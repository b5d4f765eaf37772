"""Train an agent on logged transitions."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from tqdm import tqdm

from recsim_drpo.agents.protocol import Agent
from recsim_drpo.checks import check_integer
from recsim_drpo.datasets.load import Transitions
from recsim_drpo.rng import check_seed

if TYPE_CHECKING:
    from torch import Tensor

    from recsim_drpo.evaluation import Evaluator

Row = dict[str, float]


@dataclass(frozen=True)
class TrainingConfig:
    """How an agent is trained (Table 5).

    Attributes:
        steps: updates, ≥ 1.
        batch_size: transitions an update, ≥ 2, drawn uniformly with replacement.
        seed: integer in [0, 2**63) of the order in which transitions are drawn.
        log_every: steps between rows of the history, ≥ 1; the only times at which the host waits
            for the device.
        evaluate_every: steps between evaluations, where an evaluator is given, ≥ 1.
    """

    steps: int = 5_000
    batch_size: int = 320
    seed: int = 0
    log_every: int = 100
    evaluate_every: int = 250

    def __post_init__(self) -> None:
        check_integer("steps", self.steps, 1)
        check_integer("batch_size", self.batch_size, 2)
        check_seed(self.seed)
        check_integer("log_every", self.log_every, 1)
        check_integer("evaluate_every", self.evaluate_every, 1)


class DivergedError(ArithmeticError):
    """Raised when training meets a metric that is not finite; the history so far is attached.

    Attributes:
        step: the logged step at which it was seen.
        history: rows up to and including that step.
    """

    def __init__(self, step: int, metric: str, value: float, history: list[Row]) -> None:
        super().__init__(f"Diverged at step {step}: the metric {metric!r} is {value}.")
        self.step = step
        self.history = history


def train(
    agent: Agent,
    transitions: Transitions,
    config: TrainingConfig | None = None,
    *,
    evaluator: Evaluator | None = None,
    on_log: Callable[[Row], None] | None = None,
    progress: bool = True,
    label: str = "train",
) -> list[Row]:
    """Update an agent on batches drawn from a log.

    Args:
        agent: changed in place.
        transitions: the log, on the agent's device.
        config: see :class:`TrainingConfig`.
        evaluator: users to follow the learning on; adds ``ecpm`` and ``normalized`` to the history,
            at step 0 too. Meant for validation users: nothing here chooses by it.
        on_log: called with each row of the history as it is made.
        progress: show rate and time left on a terminal.
        label: shown beside the progress.

    Returns:
        the history: rows with ``step`` and the agent's metrics as floats.

    Raises:
        TypeError: the agent lacks ``update`` or ``act``.
        DivergedError: a metric or an action is not finite.
    """
    config = TrainingConfig() if config is None else config
    for method in ("update", "act"):
        if not callable(getattr(agent, method, None)):
            raise TypeError(
                f"{type(agent).__name__} has no method {method!r}, which an agent needs."
            )
    generator = torch.Generator(transitions.device).manual_seed(config.seed)
    history: list[Row] = []

    def log(step: int, metrics: dict[str, Tensor]) -> None:
        row: Row = {"step": float(step)}
        row |= {name: float(value) for name, value in metrics.items()}
        if evaluator is not None and (step % config.evaluate_every == 0 or step == config.steps):
            found = evaluator(agent)
            row |= {"ecpm": found.ecpm.value, "normalized": found.normalized.value}
            row |= {"nonfinite_share": found.nonfinite_share}
        history.append(row)
        if on_log is not None:
            on_log(row)
        for name, value in row.items():
            if not math.isfinite(value):
                raise DivergedError(step, name, value, history)
        if row.get("nonfinite_share", 0.0) > 0.0:
            raise DivergedError(step, "nonfinite_share", row["nonfinite_share"], history)

    if evaluator is not None:
        log(0, {})
    with tqdm(
        total=config.steps, desc=label, unit="update", disable=None if progress else True
    ) as bar:
        for step in range(1, config.steps + 1):
            metrics = agent.update(transitions.sample(config.batch_size, generator))
            due = step % config.log_every == 0 or step == config.steps
            if due or (evaluator is not None and step % config.evaluate_every == 0):
                log(step, dict(metrics))
            bar.update()
    return history
