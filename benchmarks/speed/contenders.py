"""Fleets and learners whose training is timed: their sizes, and turns that they take."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from recsim_drpo.agents.engine.learner import Learner
from recsim_drpo.agents.fleet import Fleet
from recsim_drpo.agents.registry import ALGORITHMS, make_agent, needs_of
from recsim_drpo.benchmarks.speed.measuring import (
    BATCH_SIZE,
    DIM,
    OBSERVATION_DIM,
    random_transitions,
    seconds_per_call,
)
from recsim_drpo.core.transitions import Transitions
from recsim_drpo.training.loop import drawn_ahead


@dataclass(frozen=True)
class Sizes:
    """Numbers of things that are measured, and how often.

    Attributes:
        repetitions: turns of everything that is compared.
        search_turns: turns of every size of fleet among which the best is looked for.
        fleets: those sizes.
        updates: learner-updates in a turn, as many as make whole updates of a fleet.
        peer_updates: updates of d3rlpy in a turn.
        fleet: size of the fleets of each agent.
        agents: which agents.
        alone: which agents as one learner alone.
        transitions: transitions that training draws from.
        large_fleet: size of a fleet on an accelerator.
        large_updates: learner-updates of it in a turn.
        alone_updates: updates in a turn of a learner alone on an accelerator.
        stretch: updates by which all the runs are foreseen.
    """

    repetitions: int = 7
    search_turns: int = 3
    fleets: tuple[int, ...] = (1, 2, 4, 8, 16)
    updates: int = 800
    peer_updates: int = 50
    fleet: int = 8
    agents: tuple[str, ...] = tuple(ALGORITHMS)
    alone: tuple[str, ...] = ("bc", "drpo", "iql")
    transitions: int = 100_000
    large_fleet: int = 512
    large_updates: int = 102_400
    alone_updates: int = 1_000
    stretch: int = 1_000


QUICK = Sizes(
    repetitions=3,
    search_turns=1,
    fleets=(1, 8),
    updates=64,
    peer_updates=10,
    agents=("bc", "drpo"),
    alone=("bc",),
    transitions=10_000,
    large_fleet=32,
    large_updates=640,
    alone_updates=50,
    stretch=50,
)


@dataclass(frozen=True)
class Setting:
    """Sizes, device and files that the sections of a measurement share.

    Attributes:
        sizes: how much is measured.
        device: where we train.
        kernels: file for the profiler's table, if any.
    """

    sizes: Sizes
    device: torch.device
    kernels: Path | None = None


@dataclass(frozen=True)
class Contender:
    """A fleet or learner in the middle of training, ours or a peer's.

    Attributes:
        run: trains it further.
        updates: learner-updates in a call of ``run``.
        device: where it trains.
    """

    run: Callable[[], object]
    updates: int
    device: torch.device

    def milliseconds(self) -> float:
        """Milliseconds that a learner-update takes now."""
        return 1e3 * seconds_per_call(self.run, device=self.device) / self.updates


def own_fleet(
    setting: Setting,
    agent: str,
    size: int,
    execution: str,
    updates: int,
    precision: str = "float32",
) -> Contender:
    """A fleet of this package, at about ``updates`` learner-updates a call."""
    transitions = _log_for(agent, setting)
    fleet = Fleet(
        agent,
        observation_dim=OBSERVATION_DIM,
        action_dim=DIM,
        seeds=range(size),
        device=setting.device,
        execution=execution,
        precision=precision,
    )
    step = fleet.make_train_step(transitions, BATCH_SIZE)
    run = _training(step, fleet.seeds, len(transitions), max(1, updates // size))
    return Contender(run, size * max(1, updates // size), setting.device)


def own_learner(setting: Setting, agent: str, execution: str, updates: int) -> Contender:
    """A single learner of this package, at ``updates`` updates a call."""
    transitions = _log_for(agent, setting)
    learner = make_agent(
        agent,
        observation_dim=OBSERVATION_DIM,
        action_dim=DIM,
        device=setting.device,
        execution=execution,
    )
    assert isinstance(learner, Learner)
    step = learner.make_train_step(transitions, BATCH_SIZE)
    seed = torch.tensor([0], device=setting.device)
    run = _training(lambda indices: step(indices[0]), seed, len(transitions), updates)
    return Contender(run, updates, setting.device)


def _log_for(agent: str, setting: Setting) -> Transitions:
    """A synthetic log with the columns that an agent reads, and no other that it would gather."""
    infos = needs_of(agent).infos
    return random_transitions(setting.sizes.transitions, setting.device, infos)


def _training(
    step: Callable[[Tensor], object], seeds: Tensor, count: int, steps: int
) -> Callable[[], None]:
    """The loop of :mod:`recsim_drpo.training.loop`, ``steps`` updates at a call."""
    sizes = torch.full_like(seeds, count)
    firsts = itertools.count(0, steps)

    def run() -> None:
        for indices in drawn_ahead(seeds, sizes, next(firsts), steps, BATCH_SIZE):
            step(indices)

    return run


def search(
    candidates: Mapping[str, Callable[[], Contender]], turns: int
) -> tuple[list[str], dict[str, list[float]]]:
    """The names of the quickest two, and the milliseconds of all, which are made one by one.

    Two, since which of them is the quicker beside others only the race can tell.
    """
    times: dict[str, list[float]] = {}
    for name, make in candidates.items():
        contender = make()
        contender.run()  # compiles
        times[name] = [contender.milliseconds() for _ in range(turns)]
        torch._dynamo.reset()  # what it has compiled for others slows the next
    return sorted(times, key=lambda name: statistics.median(times[name]))[:2], times


def take_turns(sides: Mapping[str, Callable[[], float]], turns: int) -> dict[str, list[float]]:
    """The measurements of each side, taken one after the other, turn by turn."""
    measured: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(turns):
        for name, measure in sides.items():
            measured[name].append(measure())
    return measured


def race(contenders: Mapping[str, Contender], turns: int) -> dict[str, list[float]]:
    """Milliseconds of each, turn by turn, after a first call in which it compiles."""
    for contender in contenders.values():
        contender.run()
    return take_turns(
        {name: contender.milliseconds for name, contender in contenders.items()}, turns
    )
