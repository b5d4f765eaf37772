"""How an experiment is run: in full or quick, where, and over how many seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from recsim_drpo.benchmarks.reproduce.framework.conditions import Condition
from recsim_drpo.benchmarks.reproduce.framework.study import Record, Study, Variants
from recsim_drpo.training.config import TrainingConfig

_QUICK_ROUNDS = 20_000
_QUICK_STEPS = 500


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
    """

    quick: bool
    folder: Path
    processes: int = 1
    num_seeds: int | None = None
    execution: str = "auto"
    device: str = "cpu"
    progress: bool = True

    def study(
        self,
        name: str,
        conditions: Sequence[Condition],
        agents: Variants,
        *,
        full: int,
        quick: int,
        offline: bool = False,
        steps: int = TrainingConfig.steps,
        curves: bool = True,
        kind: type[Study] = Study,
    ) -> Study:
        """A study of ``full`` seeds, or ``quick`` ones, trained as Table 5 says, or shorter.

        ``curves``: follow the learning on validation users, a quarter of the time; without, they
        see the start and the end.
        """
        steps = _QUICK_STEPS if self.quick else steps
        return kind(
            name,
            [self.condition(one) for one in conditions],
            agents,
            self.seeds(full, quick),
            TrainingConfig(
                steps=steps, evaluate_every=TrainingConfig.evaluate_every if curves else steps
            ),
            offline=offline,
            execution=self.execution,
            device=self.device,
            full_seeds=full,
        )

    def condition(self, full: Condition) -> Condition:
        """The condition, or where it is quick one of fewer rounds."""
        if not self.quick:
            return full
        return replace(full, num_rounds=min(full.num_rounds, _QUICK_ROUNDS))

    def run(self, study: Study) -> list[Record]:
        """The study's records, in a folder of its name."""
        folder = self.folder / study.name
        return study.run(folder, processes=self.processes, progress=self.progress)

    def seeds(self, full: int, quick: int) -> tuple[int, ...]:
        """The seeds of an experiment that has ``full`` of them, or ``quick``."""
        own = quick if self.quick else full
        return tuple(range(own if self.num_seeds is None else self.num_seeds))
