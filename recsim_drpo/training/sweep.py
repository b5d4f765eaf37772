"""Train agents × hyper-parameters × seeds, in fleets wherever an agent can run in one."""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

from torch import Tensor
from tqdm import tqdm

from recsim_drpo.agents.engine.algorithm import Algorithm
from recsim_drpo.agents.fleet import Fleet, check_variants, static_signature
from recsim_drpo.agents.protocol import Agent
from recsim_drpo.agents.registry import find_agent, make_agent, needs_of
from recsim_drpo.core.config import build_config
from recsim_drpo.core.negatives import check_infos
from recsim_drpo.core.policy import PolicyEvaluator
from recsim_drpo.core.transitions import Transitions
from recsim_drpo.core.validation import check_integer, check_seeds
from recsim_drpo.training.checkpointing import Checkpoint, Checkpoints
from recsim_drpo.training.config import TrainingConfig
from recsim_drpo.training.loop import DivergedError, Row, train, train_fleet
from recsim_drpo.training.streaming import Stream

_Key = tuple[str, int, int]  # agent, number of the variant, seed
_Logs = Mapping[int, Transitions | Stream]  # by seed
_FLEET_SIZES = {"cpu": 8, "cuda": 512}


class Run(NamedTuple):
    """An agent that is trained once.

    Attributes:
        agent: its name.
        seed: of initialisation, order of the data and random numbers.
        overrides: hyper-parameters that are not the defaults; ``batch_size`` may be among them.
    """

    agent: str
    seed: int
    overrides: Mapping[str, Any]


@dataclass(frozen=True)
class Trained:
    """A run and its outcome.

    Attributes:
        run: as it was asked for.
        dims: of observations and of actions.
        options: dtype, precision and execution, where they were given.
        agent: as it is at the end; if it diverged, as it was before, where it knows how.
        history: rows of metrics.
        diverged_at: the update at which it diverged, or ``None``.
    """

    run: Run
    dims: tuple[int, int]
    options: Mapping[str, Any]
    agent: Agent
    history: list[Row]
    diverged_at: int | None


@dataclass(frozen=True)
class Callbacks:
    """Those who follow the training of runs; they change nothing of what is learnt.

    Attributes:
        evaluator: measures agents as they learn.
        on_log: called with the run and each row of its history.
        on_done: called with each run when it, or its fleet, is done.
        progress: whether to show rate and time left on a terminal.
        checkpoints: where trainings are kept as they go, and gone on from.
    """

    evaluator: PolicyEvaluator | None = None
    on_log: Callable[[Run, Row], None] | None = None
    on_done: Callable[[Trained], None] | None = None
    progress: bool = True
    checkpoints: Checkpoints | None = None

    def checkpoint(self, run: Run, number: int, together: int) -> Checkpoint | None:
        """The place of a training of a variant, of the first run and the number of those in it."""
        if self.checkpoints is None:
            return None
        name = f"{run.agent}, variant {number}, seed {run.seed}, {together} together"
        return Checkpoint(self.checkpoints, name)

    def log(self, run: Run, row: Row) -> None:
        """Hand on a row of a history."""
        if self.on_log is not None:
            self.on_log(run, row)

    def done(self, trained: Trained) -> None:
        """Hand on a run that is done."""
        if self.on_done is not None:
            self.on_done(trained)


def train_many(
    agents: Mapping[str, Sequence[Mapping[str, Any]]],
    logs: Transitions | Stream | Mapping[int, Transitions],
    config: TrainingConfig | None = None,
    *,
    seeds: Sequence[int] = (0,),
    evaluator: PolicyEvaluator | None = None,
    on_log: Callable[[Run, Row], None] | None = None,
    on_done: Callable[[Trained], None] | None = None,
    fleet_size: int | None = None,
    progress: bool = True,
    checkpoints: Checkpoints | None = None,
    initial: Mapping[str, Tensor] | None = None,
    **options: Any,
) -> list[Trained]:
    """Train agents × hyper-parameters × seeds, in fleets wherever an agent can run in one.

    Args:
        agents: variants (hyper-parameters by name; ``{}`` are the defaults) by agent's name. A
            variant may set ``batch_size`` as well.
        logs: one log for all, or one for each seed; on one device, where everything is trained. One
            for all may be read as it is learnt from.
        config: see :class:`TrainingConfig`.
        seeds: different integers in [0, 2**63).
        evaluator: see :func:`train`.
        on_log: called with the run and each row of its history.
        on_done: called with each run when its fleet is done: keep it, and what comes later can be
            stopped without loss.
        fleet_size: most learners in one batched computation; ``None``: 8 on a CPU, whose caches
            hold no more, 512 elsewhere.
        progress: show rate and time left on a terminal.
        checkpoints: where trainings are kept as they go. Called again with the same arguments, it
            goes on from there, and ends as if it had never stopped.
        initial: parameters of all networks by name, which every run starts from in place of its
            own draw; optimiser and state are fresh. Of our algorithms alone.
        **options: dtype, precision and execution of
            :class:`recsim_drpo.agents.engine.options.EngineOptions`, which agents from outside do
            not have.

    Returns:
        the outcome of each run: agent by agent, variant by variant, seed by seed.

    Raises:
        ValueError: an unknown agent or hyper-parameter, a seed without a log, a log without an info
            column that an agent reads or with rewards that it does not take, or initial parameters
            that do not fit; before anything is trained.
    """
    config = TrainingConfig() if config is None else config
    callbacks = Callbacks(evaluator, on_log, on_done, progress, checkpoints)
    seeds = check_seeds(list(seeds))
    for name, variants in agents.items():
        check_variants(name, variants)
    by_seed = _by_seed(logs, seeds)
    first = by_seed[seeds[0]]
    size = _FLEET_SIZES.get(first.device.type, 512) if fleet_size is None else fleet_size
    check_integer("fleet_size", size, 1)
    shape = {
        "observation_dim": first.observation_dim,
        "action_dim": first.action_dim,
        "device": first.device,
        **options,
    }
    jobs = [job for name in agents for job in _jobs(name, agents[name], config, shape)]
    _check_logs(jobs, by_seed)
    if initial is not None:
        shape["initial"] = initial
        _check_initial(jobs, shape)
    outcomes: dict[_Key, Trained] = {}
    for part in (part for job in jobs for part in job.parts(seeds, size)):
        for key, trained in part.train(by_seed, shape, callbacks):
            outcomes[key] = replace(trained, options=options)
            callbacks.done(outcomes[key])
    return [
        outcomes[name, number, seed]
        for name, variants in agents.items()
        for number in range(len(variants))
        for seed in seeds
    ]


def _by_seed(logs: Transitions | Stream | Mapping[int, Transitions], seeds: Sequence[int]) -> _Logs:
    if not isinstance(logs, Mapping):
        return dict.fromkeys(seeds, logs)
    for seed in seeds:
        if logs.get(seed) is None:
            raise ValueError(f"There is no log for seed {seed}.")
    return logs


@dataclass(frozen=True)
class Job(ABC):
    """Variants of an agent that can be trained alike, each with every seed.

    Attributes:
        name: of the agent.
        config: how they are trained, their batch size included.
        variants: hyper-parameters by the number that each variant was given by.
        seeds: of the runs; empty until the job is cut into parts.
    """

    name: str
    config: TrainingConfig
    variants: dict[int, dict[str, Any]]
    seeds: tuple[int, ...] = ()

    def parts(self, seeds: Sequence[int], size: int) -> Iterator[Job]:
        """Jobs of at most ``size`` runs: whole variants where they fit."""
        numbers = list(self.variants)
        for first in range(0, len(seeds), size):
            chunk = tuple(seeds[first : first + size])
            together = max(1, size // len(chunk))
            for start in range(0, len(numbers), together):
                variants = {n: self.variants[n] for n in numbers[start : start + together]}
                yield replace(self, variants=variants, seeds=chunk)

    def runs(self) -> dict[_Key, Run]:
        """The runs by agent, number of the variant and seed, variant by variant."""
        return {
            (self.name, number, seed): Run(self.name, seed, variant)
            for number, variant in self.variants.items()
            for seed in self.seeds
        }

    @abstractmethod
    def train(
        self, logs: _Logs, shape: Mapping[str, Any], callbacks: Callbacks
    ) -> Iterator[tuple[_Key, Trained]]:
        """Train every run; logs go by seed, ``shape`` is what :func:`make_agent` takes besides."""


class FleetJob(Job):
    """Variants of one of our agents that share a structure: all runs are one computation."""

    def train(
        self, logs: _Logs, shape: Mapping[str, Any], callbacks: Callbacks
    ) -> Iterator[tuple[_Key, Trained]]:
        """Train the runs as a fleet; they are handed over together when it is done."""
        runs = self.runs()
        asked = list(runs.values())
        overrides = [hyperparameters(variant) for variant in self.variants.values()]
        fleet = Fleet(self.name, seeds=self.seeds, overrides=overrides, **shape)
        histories = train_fleet(
            fleet,
            [logs[run.seed] for run in asked],
            self.config,
            evaluator=callbacks.evaluator,
            on_log=lambda number, row: callbacks.log(asked[number], row),
            progress=callbacks.progress,
            label=f"{self.name} x {len(fleet)}",
            checkpoint=callbacks.checkpoint(asked[0], next(iter(self.variants)), len(fleet)),
        )
        dims = fleet.observation_dim, fleet.action_dim
        ends = fleet.diverged_at.tolist()
        for number, (key, run) in enumerate(runs.items()):
            diverged_at = None if ends[number] < 0 else ends[number]
            agent, history = fleet.learner(number), histories[number]
            yield key, Trained(run, dims, {}, agent, history, diverged_at)


class SingleJob(Job):
    """Variants of an agent from outside, whose runs are trained one by one."""

    def train(
        self, logs: _Logs, shape: Mapping[str, Any], callbacks: Callbacks
    ) -> Iterator[tuple[_Key, Trained]]:
        """Train the runs one after the other; each is handed over when it is done."""
        dims = shape["observation_dim"], shape["action_dim"]
        for key, run in self.runs().items():
            agent = make_agent(self.name, seed=run.seed, **shape, **hyperparameters(run.overrides))
            label, diverged_at = f"{self.name}, seed {run.seed}", None
            try:
                history = train(
                    agent,
                    logs[run.seed],
                    self.config,
                    seed=run.seed,
                    evaluator=callbacks.evaluator,
                    on_log=partial(callbacks.log, run),
                    progress=callbacks.progress,
                    label=label,
                    checkpoint=callbacks.checkpoint(run, key[1], 1),
                )
            except DivergedError as error:
                tqdm.write(f"{label}: {error}")
                history, diverged_at = error.history, error.step
            yield key, Trained(run, dims, {}, agent, history, diverged_at)


def _jobs(
    name: str,
    variants: Sequence[Mapping[str, Any]],
    config: TrainingConfig,
    shape: Mapping[str, Any],
) -> list[Job]:
    """The variants of an agent sorted into jobs, each checked as far as that goes untrained."""
    agent = find_agent(name)
    kind = FleetJob if isinstance(agent, Algorithm) else SingleJob
    jobs: dict[Any, Job] = {}
    for number, variant in enumerate(variants):
        overrides = hyperparameters(variant)
        own = replace(config, batch_size=variant.get("batch_size", config.batch_size))
        structure: Any = None
        if isinstance(agent, Algorithm):
            full = build_config(agent.config, overrides, f"hyper-parameter of {name!r}")
            structure = static_signature(full)
        else:
            make_agent(name, **shape, **overrides)
        job = jobs.setdefault((own.batch_size, structure), kind(name, own, {}))
        job.variants[number] = dict(variant)
    return list(jobs.values())


def _check_logs(jobs: Sequence[Job], logs: _Logs) -> None:
    """Raise ``ValueError`` if a log has not the columns, or the rewards, that an agent reads."""
    for job in jobs:
        infos = needs_of(job.name, **hyperparameters(next(iter(job.variants.values())))).infos
        for seed, log in logs.items() if infos else ():
            check_infos(job.name, infos, list(log.infos), f"log of seed {seed}")
    agents = [find_agent(name) for name in dict.fromkeys(job.name for job in jobs)]
    held = {id(log): log for log in logs.values() if isinstance(log, Transitions)}.values()
    for agent, log in itertools.product(agents, held):
        if isinstance(agent, Algorithm):
            agent.check_rewards(log.rewards)


def _check_initial(jobs: Sequence[Job], shape: Mapping[str, Any]) -> None:
    """Raise ``ValueError`` if a job is of agents that cannot start from the given parameters."""
    for job in jobs:
        if not isinstance(job, FleetJob):
            raise ValueError(
                f"The agent {job.name!r} is from outside: which of its state are parameters is "
                "not known, and it cannot start from another run's."
            )
        overrides = [hyperparameters(variant) for variant in job.variants.values()][:1]
        Fleet(job.name, seeds=[0], overrides=overrides, **shape)


def hyperparameters(variant: Mapping[str, Any]) -> dict[str, Any]:
    """What of a variant the agent is made with: all but its batch size."""
    return {name: value for name, value in variant.items() if name != "batch_size"}
