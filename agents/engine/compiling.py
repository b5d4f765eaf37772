"""Updates of learners by torch's eager operations, or compiled."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor

from recsim_drpo.agents.engine.algorithm import Algorithm, PolicyConfig
from recsim_drpo.agents.engine.programs import Program
from recsim_drpo.agents.engine.sources import described
from recsim_drpo.agents.engine.step import (
    AdamCoefficients,
    LearnerState,
    Metrics,
    Varied,
    adam_coefficients,
    make_step,
)
from recsim_drpo.core.messages import VALUE_WIDTH, one_line
from recsim_drpo.core.transitions import Batch

_MOST_PROGRAMS = 256

Update = Callable[[LearnerState, Varied, Batch], tuple[LearnerState, Metrics]]
"""From a state, hyper-parameters that take several values, float64 (L,) by name, and a batch to the
state after one update, and the update's metrics."""


def make_update(
    algorithm: Algorithm, config: PolicyConfig, *, batched: bool, compiles: bool
) -> Update:
    """An update of new tensors: of torch's operations one by one, or by ``torch.compile``.

    Args:
        algorithm: whose loss is descended.
        config: hyper-parameters.
        batched: whether there is a leading axis of learners.
        compiles: whether it is compiled.
    """
    step = make_step(algorithm, config, batched=batched, functional=compiles)
    run = compiled(step) if compiles else step

    def update(learner: LearnerState, varied: Varied, batch: Batch) -> tuple[LearnerState, Metrics]:
        rate = varied.get("learning_rate", config.learning_rate)
        next_learner, metrics = run(learner, varied, batch, adam_coefficients(learner, rate))
        return next_learner, dict(metrics)

    return update


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function compiled by ``torch.compile``, whose limit on programs is raised while it runs.

    To the compiler all engines' steps are one piece of code, which it gives up after eight.
    """
    program = torch.compile(function, fullgraph=True, dynamic=False)
    compiler = torch._dynamo.config
    limits = {
        name: max(getattr(compiler, name), _MOST_PROGRAMS)
        for name in ("recompile_limit", "cache_size_limit")
        if hasattr(compiler, name)
    }

    def run(*arguments: Any) -> Any:
        with compiler.patch(limits):
            return program(*arguments)

    return run


class CompiledUpdate:
    """An update in place, one :class:`.programs.Program` for every shape of batch.

    Args:
        algorithm: as of :func:`make_update`, like all that follow.
        config: see there.
        batched: see there.
    """

    def __init__(self, algorithm: Algorithm, config: PolicyConfig, *, batched: bool) -> None:
        self._step = make_step(algorithm, config, batched=batched, functional=True)
        self._name, self._rate = algorithm.name, config.learning_rate
        self._described = partial(described, algorithm, config, batched)
        self._programs: dict[Any, Program] = {}
        self._state: tuple[LearnerState, list[Tensor]] | None = None

    def __call__(
        self, learner: LearnerState, varied: Varied, batch: Batch, terminal: bool = False
    ) -> tuple[LearnerState, Metrics]:
        """The state, which is overwritten by that after one update, and the update's metrics.

        ``terminal`` says that every transition of the batch ends its episode.
        """
        program, tensors = self.prepare(learner, varied, batch, terminal)
        return learner, program(tensors)

    def prepare(
        self, learner: LearnerState, varied: Varied, batch: Batch, terminal: bool = False
    ) -> tuple[Program, list[Tensor]]:
        """The program for such a batch, compiled if need be, and its inputs."""
        columns = [column.contiguous() for column in (*batch[:5], *batch.infos.values())]
        if self._state is None or self._state[0] is not learner:
            self._state = learner, _tensors(learner)
        tensors = [*self._state[1], *varied.values(), *columns]
        forms = ((column.shape, column.dtype) for column in columns)
        form = (terminal, torch.get_num_threads(), *batch.infos, *forms)
        if form not in self._programs:
            self._programs[form] = self._compile(learner, varied, batch, tensors, terminal)
        return self._programs[form], tensors

    def unread(
        self, learner: LearnerState, varied: Varied, batch: Batch, terminal: bool = False
    ) -> dict[str, Tensor]:
        """Those of such a batch's columns that the update does not depend on.

        By name, as of :meth:`.core.transitions.Transitions.take`.
        """
        program, _ = self.prepare(learner, varied, batch, terminal)
        columns = dict(zip(batch._fields[:5], batch[:5], strict=True))
        columns |= {f"infos.{name}": column for name, column in batch.infos.items()}
        reads = program.reads[-len(columns) :]
        return {name: columns[name] for name, read in zip(columns, reads, strict=True) if not read}

    def works(
        self, learner: LearnerState, varied: Varied, batch: Batch, terminal: bool = False
    ) -> bool:
        """Whether such a batch's program can be compiled here; where not, a warning says why."""
        try:
            self.prepare(learner, varied, batch, terminal)
        except Exception as error:  # whatever a compiler that is not there, or broken, ends in
            warnings.warn(
                f"{self._name!r} trains without torch's compiler, at about half the speed: it "
                f"failed ({one_line(str(error), VALUE_WIDTH)}). execution='eager' does not try it.",
                stacklevel=2,
            )
            return False
        return True

    def _compile(
        self,
        learner: LearnerState,
        varied: Varied,
        batch: Batch,
        example: list[Tensor],
        terminal: bool,
    ) -> Program:
        def update(*tensors: Tensor) -> Metrics:
            given = iter(tensors)
            before = _like(learner, given)
            values = {name: next(given) for name in varied}
            drawn = Batch._make(
                [*itertools.islice(given, 5), dict(zip(batch.infos, given, strict=True))]
            )
            if terminal:
                drawn = drawn._replace(terminations=torch.ones_like(drawn.terminations))
            coefficients = adam_coefficients(before, values.get("learning_rate", self._rate))
            apart = AdamCoefficients(*map(_apart, coefficients))
            after, metrics = self._step(before, values, drawn, apart)
            # Metrics may be of the state before.
            results = {name: metric.clone() for name, metric in metrics.items()}
            for old, new in zip(_tensors(before), _tensors(after), strict=True):
                if new is not old:
                    old.copy_(new)
            return results

        columns = [*batch.infos]
        return Program(update, example, self._described([*varied], columns, terminal))


def _apart(numbers: Tensor) -> Tensor:
    """The numbers, computed once: torch's compiler fuses nothing across a running sum."""
    return numbers.unsqueeze(-1).cumsum(-1).squeeze(-1)


def _tensors(learner: LearnerState) -> list[Tensor]:
    """The tensors of a state, in order."""
    parts = (part.values() if isinstance(part, dict) else (part,) for part in learner)
    return [tensor for part in parts for tensor in part]


def _like(learner: LearnerState, tensors: Iterator[Tensor]) -> LearnerState:
    """A state of the form of another, of tensors in order."""
    return LearnerState._make(
        {name: next(tensors) for name in part} if isinstance(part, dict) else next(tensors)
        for part in learner
    )
