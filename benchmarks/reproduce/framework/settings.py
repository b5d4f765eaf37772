"""How an experiment is run, as plain data: in full or quick, where, and over how many seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from recsim_drpo.benchmarks.reproduce.framework.conditions import Condition
from recsim_drpo.benchmarks.reproduce.framework.offline import RewardModelConfig
from recsim_drpo.core.executor import Engine
from recsim_drpo.training.config import TrainingConfig


@dataclass(frozen=True)
class Scale:
    """How large the worlds, logs and training runs of an experiment are.

    Attributes:
        max_rounds: logged at most for each seed; ``None`` is as many as a condition has.
        steps: updates of each agent; ``None`` is the experiment's own number.
        batch_size: transitions an update.
        evaluate_every: steps between the points of a learning curve.
        num_test_users: users that results are measured on.
        num_validation_users: other users, for learning curves and for choosing hyper-parameters.
        reward_model: how that of :mod:`.framework.offline` is fitted.
        world: fields of :class:`WorldConfig` that every condition is given.
    """

    max_rounds: int | None = None
    steps: int | None = None
    batch_size: int = TrainingConfig.batch_size
    evaluate_every: int = TrainingConfig.evaluate_every
    num_test_users: int = 10_000
    num_validation_users: int = 2_000
    reward_model: RewardModelConfig = field(default_factory=RewardModelConfig)
    world: Mapping[str, Any] = field(default_factory=dict)

    def condition(self, full: Condition) -> Condition:
        """The condition in this scale's world, with no more than this scale's rounds."""
        rounds = full.num_rounds if self.max_rounds is None else self.max_rounds
        return replace(
            full,
            world={**full.world, **self.world},
            num_rounds=min(full.num_rounds, rounds),
        )


FULL = Scale()
QUICK = Scale(max_rounds=20_000, steps=500)


@dataclass(frozen=True)
class Settings:
    """How an experiment is run.

    Attributes:
        quick: fewer seeds, steps and grid points: the same code in minutes, every output marked.
        folder: where unfinished work is kept and results are written.
        processes: how many, each with one thread.
        num_seeds: seeds 0 to ``num_seeds`` - 1; ``None`` is the experiment's own number.
        execution: of :class:`recsim_drpo.agents.engine.options.EngineOptions`.
        device: where everything is computed.
        progress: show rates and time left on a terminal.
        scale: how large everything is; ``None`` is :data:`QUICK` or :data:`FULL`.
        engine: what trains in place of so many processes here.
        earlier: results whose runs count as finished where they are the same, see
            :mod:`.framework.takeover`.
    """

    quick: bool
    folder: Path
    processes: int = 1
    num_seeds: int | None = None
    execution: str = "auto"
    device: str = "cpu"
    progress: bool = True
    scale: Scale | None = None
    engine: Engine | None = None
    earlier: Sequence[Mapping[str, Any]] = ()

    @property
    def size(self) -> Scale:
        """The scale that is in force."""
        return self.scale or (QUICK if self.quick else FULL)

    def seeds(self, full: int, quick: int) -> tuple[int, ...]:
        """The seeds of an experiment that has ``full`` of them, or ``quick``."""
        own = quick if self.quick else full
        return tuple(range(own if self.num_seeds is None else self.num_seeds))
