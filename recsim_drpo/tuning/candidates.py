"""Trials that train together: fleets that lose members where a search gives a trial up."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from recsim_drpo.agents.engine.algorithm import Algorithm
from recsim_drpo.agents.fleet import Fleet, static_signature
from recsim_drpo.agents.protocol import Agent
from recsim_drpo.agents.registry import find_agent, make_agent
from recsim_drpo.core.config import build_config
from recsim_drpo.core.policy import Policy
from recsim_drpo.core.transitions import Transitions
from recsim_drpo.training.config import TrainingConfig
from recsim_drpo.training.loop import DivergedError, train, train_fleet
from recsim_drpo.training.sweep import hyperparameters

Values = Mapping[str, Any]


def alike(agent: str, values: Values) -> tuple[Any, ...]:
    """What trials have in common that can train as one fleet."""
    found = find_agent(agent)
    if not isinstance(found, Algorithm):
        return ()
    kind = f"hyper-parameter of {agent!r}"
    config = build_config(found.config, hyperparameters(values), kind)
    return (values.get("batch_size"), *static_signature(config))


class Candidates(ABC):
    """Trials, each a learner for every seed, trained from one measurement to the next.

    Args:
        agent: its name.
        values: of each trial; those of a fleet are :func:`alike`.
        seeds: of the learners of each trial.
        log: what all learn from.
        training: of the whole length; a trial's own ``batch_size`` replaces its own.
        execution: of :class:`recsim_drpo.agents.engine.options.EngineOptions`.
    """

    def __init__(
        self,
        agent: str,
        values: Sequence[Values],
        seeds: Sequence[int],
        log: Transitions,
        training: TrainingConfig,
        execution: str,
    ) -> None:
        self._agent, self._values, self._seeds = agent, list(values), list(seeds)
        self._log, self._execution = log, execution
        size = values[0].get("batch_size", training.batch_size)
        quiet = {"log_every": training.steps, "evaluate_every": training.steps}
        self._training = replace(training, batch_size=size, **quiet)
        self._begin()

    @classmethod
    def of(cls, agent: str, *arguments: Any) -> Candidates:
        """A fleet where the agent can run in one, else its learners one by one."""
        kind = _Fleet if isinstance(find_agent(agent), Algorithm) else _Singles
        return kind(agent, *arguments)

    def _until(self, stop: int) -> TrainingConfig:
        return replace(self._training, steps=stop, log_every=stop, evaluate_every=stop)

    @abstractmethod
    def _begin(self) -> None:
        """Make the learners."""

    @abstractmethod
    def advance(self, start: int, stop: int) -> None:
        """Train from ``start`` updates to ``stop``."""

    @abstractmethod
    def policies(self, number: int) -> list[Policy]:
        """The learners of the trial of a number, one for each seed."""

    @abstractmethod
    def keep(self, numbers: Sequence[int]) -> None:
        """Give up all trials but those of these numbers, at least one, which are renumbered."""


class _Fleet(Candidates):
    def _begin(self) -> None:
        self._fleet = self._made()

    def _made(self) -> Fleet:
        return Fleet(
            self._agent,
            observation_dim=self._log.observation_dim,
            action_dim=self._log.action_dim,
            seeds=self._seeds,
            overrides=[hyperparameters(values) for values in self._values],
            device=self._log.device,
            execution=self._execution,
        )

    def advance(self, start: int, stop: int) -> None:
        config = self._until(stop)
        train_fleet(self._fleet, self._log, config, first_step=start, progress=False)

    def policies(self, number: int) -> list[Policy]:
        first = number * len(self._seeds)
        return [self._fleet.learner(first + place) for place in range(len(self._seeds))]

    def keep(self, numbers: Sequence[int]) -> None:
        if len(numbers) == len(self._values):
            return
        seeds = len(self._seeds)
        learners = [number * seeds + place for number in numbers for place in range(seeds)]
        state = {name: tensor[learners] for name, tensor in self._fleet.state_dict().items()}
        self._values = [self._values[number] for number in numbers]
        self._fleet = self._made()
        self._fleet.load_state_dict(state)


class _Singles(Candidates):
    def _begin(self) -> None:
        self._learners: list[list[Agent]] = [
            [
                make_agent(
                    self._agent,
                    observation_dim=self._log.observation_dim,
                    action_dim=self._log.action_dim,
                    seed=seed,
                    device=self._log.device,
                    **hyperparameters(values),
                )
                for seed in self._seeds
            ]
            for values in self._values
        ]
        self._diverged: set[int] = set()

    def advance(self, start: int, stop: int) -> None:
        config = self._until(stop)
        for learners in self._learners:
            for seed, learner in zip(self._seeds, learners, strict=True):
                if id(learner) in self._diverged:
                    continue
                try:
                    train(learner, self._log, config, seed=seed, first_step=start, progress=False)
                except DivergedError:
                    self._diverged.add(id(learner))

    def policies(self, number: int) -> list[Policy]:
        return list(self._learners[number])

    def keep(self, numbers: Sequence[int]) -> None:
        self._learners = [self._learners[number] for number in numbers]
