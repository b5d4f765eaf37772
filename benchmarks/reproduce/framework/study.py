"""Studies: agents × hyper-parameters × seeds × conditions, trained resumably over processes."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Self

import torch
from tqdm import tqdm

from recsim_drpo.agents import needs_of
from recsim_drpo.benchmarks.reproduce.framework.conditions import HELD_OUT, LOG_INFOS, Condition
from recsim_drpo.benchmarks.reproduce.framework.measures import (
    HEADLINES,
    UserEvaluator,
    evaluator,
    simulated,
    summary,
)
from recsim_drpo.benchmarks.reproduce.framework.offline import RewardModel, RewardModelConfig
from recsim_drpo.benchmarks.reproduce.framework.settings import Settings
from recsim_drpo.benchmarks.reproduce.framework.store import Store
from recsim_drpo.benchmarks.reproduce.framework.takeover import TakenOver, compare, taken_over
from recsim_drpo.core.executor import Engine
from recsim_drpo.core.policy import PolicyEvaluator
from recsim_drpo.core.provenance import revision
from recsim_drpo.core.torch_settings import threads
from recsim_drpo.core.transitions import Transitions
from recsim_drpo.simulator.sessions import Sessions
from recsim_drpo.simulator.world import World
from recsim_drpo.training.config import TrainingConfig
from recsim_drpo.training.sweep import Trained, hyperparameters, train_many

Record = dict[str, Any]

Variants = Mapping[str, Sequence[Mapping[str, Any]]]
"""Hyper-parameters to try, by agent."""


@dataclass(frozen=True)
class Study:
    """Agents, hyper-parameters, seeds and conditions that are to be trained and measured.

    Attributes:
        name: of the experiment.
        conditions: worlds and logs, by different labels.
        agents: hyper-parameters to try, by agent.
        seeds: paired: a seed draws one log for all agents, and is each agent's own seed.
        training: how.
        num_test_users: users that results are measured on.
        num_validation_users: other users, for learning curves and for choosing hyper-parameters.
        offline: also choose by a held-out log, see :mod:`.framework.offline`.
        execution: of :class:`recsim_drpo.agents.engine.options.EngineOptions`.
        device: where everything is computed.
        seeds_at_once: how many seeds' logs are held in memory, and trained in one fleet.
        full_seeds: how many seeds the full setting has, for readers; ``None`` is as many as these.
        reward_model: how the held-out log's is fitted.
        kin: names of other studies whose runs are trained as this one's, and may stand for them.
    """

    name: str
    conditions: Sequence[Condition]
    agents: Variants
    seeds: Sequence[int]
    training: TrainingConfig = field(default_factory=TrainingConfig)
    num_test_users: int = 10_000
    num_validation_users: int = 2_000
    offline: bool = False
    execution: str = "auto"
    device: str = "cpu"
    seeds_at_once: int = 4
    full_seeds: int | None = None
    reward_model: RewardModelConfig = field(default_factory=RewardModelConfig)
    kin: Sequence[str] = ()

    @classmethod
    def of(
        cls,
        settings: Settings,
        name: str,
        conditions: Sequence[Condition],
        agents: Variants,
        *,
        full: int,
        quick: int,
        offline: bool = False,
        steps: int = TrainingConfig.steps,
        curves: bool = True,
        kin: Sequence[str] = (),
    ) -> Self:
        """A study as settings ask for it.

        Args:
            settings: of the experiment.
            name: see :class:`Study`, as for ``conditions``, ``agents`` and ``offline``.
            conditions: in full size.
            agents: hyper-parameters to try.
            full: how many seeds there are in the full setting.
            quick: how many there are in the quick one.
            offline: also choose by a held-out log.
            steps: of training in the full setting.
            curves: follow the learning on validation users, a quarter of the time; without, they
                see the start and the end.
            kin: see :class:`Study`.
        """
        size = settings.size
        steps = steps if size.steps is None else size.steps
        return cls(
            name,
            [size.condition(condition) for condition in conditions],
            agents,
            settings.seeds(full, quick),
            TrainingConfig(
                steps=steps,
                batch_size=size.batch_size,
                evaluate_every=size.evaluate_every if curves else steps,
            ),
            num_test_users=size.num_test_users,
            num_validation_users=size.num_validation_users,
            offline=offline,
            execution=settings.execution,
            device=settings.device,
            full_seeds=full,
            reward_model=size.reward_model,
            kin=kin,
        )

    def plan(self) -> dict[str, Any]:
        """The configuration with its seeds, and how many the full setting has, for readers."""
        full = len(self.seeds) if self.full_seeds is None else self.full_seeds
        return {**self.configuration(), "seeds": list(self.seeds), "full_seeds": full}

    def configuration(self) -> dict[str, Any]:
        """The configuration: everything that a run's numbers depend on, besides its own seed."""
        plan = {
            "name": self.name,
            "conditions": [condition.as_dict() for condition in self.conditions],
            "agents": {name: [dict(v) for v in variants] for name, variants in self.agents.items()},
            "training": asdict(self.training),
            "num_test_users": self.num_test_users,
            "num_validation_users": self.num_validation_users,
            "offline": self.offline,
            "execution": self.execution,
            "device": torch.device(self.device).type,
            "seeds_at_once": self.seeds_at_once,
        }
        if self.reward_model != RewardModelConfig():  # which folders of before do not name
            plan["reward_model"] = asdict(self.reward_model)
        return plan

    def run(
        self,
        folder: str | Path,
        *,
        processes: int = 1,
        progress: bool = True,
        engine: Engine | None = None,
        earlier: Sequence[Mapping[str, Any]] = (),
    ) -> list[Record]:
        """The records of all runs; those that are not finished yet are trained and measured.

        Seeds can be added later: what a folder holds of the same ``seeds_at_once`` seeds counts as
        finished. An incomplete last group is trained anew with those that complete it.

        Args:
            folder: where finished pieces are kept; a stopped study goes on from there.
            processes: how many, each with one thread; 1 where the device is not the CPU.
            progress: show runs a second and the time left on a terminal.
            engine: what computes in place of so many processes here, see
                :class:`recsim_drpo.core.executor.Engine`; the folder is written by this process.
            earlier: results whose runs count as finished where they are the same, see
                :mod:`.framework.takeover`; one piece of theirs is trained again and compared.

        Returns:
            a record for every condition, agent, variant and seed, in that order: ``condition``,
            ``agent``, ``variant`` (its number), ``overrides``, ``seed``, ``diverged_at``, ``test``
            (of :mod:`.framework.measures`, by name), ``validation`` (eCPM, or of sessions their
            return), ``offline`` (predicted reward, if asked for), ``curve`` (pairs of step and
            that on validation users) and ``revision`` (of the code that made it). Those taken over
            have ``taken_from`` in its place, and of ``test`` and ``curve`` what was kept.

        Raises:
            ValueError: the folder holds pieces of another plan; the engine cannot be had; nothing
                of earlier results can be taken over, or what it would be is another number now.
        """
        taken = self._taken(earlier)
        store = Store(folder, self.configuration())
        if taken.records:
            self._check(store, taken)
        pieces = [part for piece in self._pieces() for part in self._left(piece, store, taken)]
        missing = [piece for piece in pieces if not store.has(piece.key)]
        jobs: dict[tuple[int, tuple[int, ...]], list[_Piece]] = {}
        for piece in missing:
            jobs.setdefault((piece.condition, piece.seeds), []).append(piece)
        sizes = {piece.key: len(piece.seeds) * len(piece.variants) for piece in pieces}
        with tqdm(
            total=sum(sizes.values()),
            initial=sum(size for key, size in sizes.items() if store.has(key)),
            desc=self.name,
            unit="run",
            disable=None if progress else True,
        ) as bar:
            try:
                tasks = [partial(_work, job=job) for job in jobs.values()]
                for key, piece in (engine or Engine(processes=processes)).results(self, tasks):
                    store.put(key, piece)
                    bar.update(sizes[key])
            finally:
                store.sweep()
        records = [record for piece in pieces for record in store.get(piece.key)["records"]]
        wanted = (condition.label for condition in self.conditions)
        records += taken.standing_in(wanted, self.agents, self.seeds, records)
        order = {condition.label: i for i, condition in enumerate(self.conditions)}
        names = list(self.agents)
        return sorted(
            records,
            key=lambda r: (
                order[r["condition"]],
                names.index(r["agent"]),
                r["variant"],
                list(self.seeds).index(r["seed"]),
            ),
        )

    def train(
        self,
        agent: str,
        logs: Mapping[int, Transitions],
        seeds: Sequence[int],
        validation: UserEvaluator,
    ) -> list[Trained]:
        """An agent's runs, variant by variant and seed by seed; a subclass may train otherwise."""
        return train_many(
            {agent: self.agents[agent]},
            logs,
            self.training,
            seeds=seeds,
            evaluator=self.follower(validation),
            progress=False,
            execution=self.execution,
        )

    def follower(self, validation: UserEvaluator) -> PolicyEvaluator:
        """What measures agents as they learn; a subclass may measure more."""
        return validation

    def infos(self) -> list[str]:
        """Info columns that logs bring along: those of every study, and what its agents read."""
        needed = [
            name
            for agent, variants in self.agents.items()
            for variant in variants
            for name in needs_of(agent, **hyperparameters(variant)).infos
        ]
        return [*dict.fromkeys([*LOG_INFOS, *needed])]

    def details(self, trained: Trained, log: Transitions) -> dict[str, Any]:
        """Further fields of a run's record, as JSON can hold them; a subclass may have some."""
        return {}

    def completed(self, record: Record, source: Mapping[str, Any]) -> Record | None:
        """A record of an earlier result with what this study needs; ``None`` if that is lacking."""
        return record

    def _taken(self, earlier: Sequence[Mapping[str, Any]]) -> TakenOver:
        names = (self.name, *self.kin)
        return taken_over(self.configuration(), names, earlier, self.completed)

    def _check(self, store: Store, taken: TakenOver) -> None:
        """Train the smallest piece that could be taken over, and compare."""
        whole = [piece for piece in self._pieces() if not any(self._gaps(piece, taken).values())]
        if whole:
            piece = min(whole, key=lambda piece: len(piece.seeds) * len(piece.variants))
            if not store.has(piece.key):
                for key, content in _work(self, [piece]):
                    store.put(key, content)
            compare(store.get(piece.key)["records"], taken)

    def _gaps(self, piece: _Piece, taken: TakenOver) -> dict[int, tuple[int, ...]]:
        """By variant of a piece the seeds without a record to take over."""
        label, variants = self.conditions[piece.condition].label, self.agents[piece.agent]
        return {n: taken.gaps(label, piece.agent, variants[n], piece.seeds) for n in piece.variants}

    def _left(self, piece: _Piece, store: Store, taken: TakenOver) -> Iterator[_Piece]:
        """The parts of a piece that nothing is taken over for; all of one that is finished."""
        if store.has(piece.key) or not taken.records:
            yield piece
            return
        by_seeds: dict[tuple[int, ...], list[int]] = {}
        for number, seeds in self._gaps(piece, taken).items():
            if seeds:
                by_seeds.setdefault(seeds, []).append(number)
        for seeds, numbers in by_seeds.items():
            yield self._piece(piece.condition, seeds, piece.agent, tuple(numbers))

    def _piece(
        self, condition: int, seeds: tuple[int, ...], agent: str, variants: tuple[int, ...]
    ) -> _Piece:
        slug = re.sub(r"[^a-z0-9]+", "-", self.conditions[condition].label.lower()).strip("-")
        key = f"{condition:03d}-{slug}-{agent}-seeds-{_together(seeds)}"
        if len(variants) < len(self.agents[agent]):
            key += f"-variants-{_together(variants)}"
        return _Piece(key, condition, seeds, agent, variants)

    def _pieces(self) -> Iterator[_Piece]:
        for number in range(len(self.conditions)):
            for start in range(0, len(self.seeds), self.seeds_at_once):
                seeds = tuple(self.seeds[start : start + self.seeds_at_once])
                for agent, variants in self.agents.items():
                    yield self._piece(number, seeds, agent, tuple(range(len(variants))))


@dataclass(frozen=True)
class _Piece:
    """One agent, its variants, some seeds, one condition: what is kept at a time."""

    key: str
    condition: int
    seeds: tuple[int, ...]
    agent: str
    variants: tuple[int, ...]


def _together(seeds: Sequence[int]) -> str:
    """Text that names all numbers: a fleet's members depend on one another in last digits."""
    if len(seeds) > 1 and list(seeds) == list(range(seeds[0], seeds[-1] + 1)):
        return f"{seeds[0]}to{seeds[-1]}"
    return "-".join(map(str, seeds))


def _work(study: Study, job: Sequence[_Piece]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Trains pieces of one condition and some seeds, which share their logs; key and piece each."""
    condition, seeds = study.conditions[job[0].condition], job[0].seeds
    world, made = simulated(condition, study.device), revision()
    infos = study.infos()
    with threads(1):
        logs = {seed: condition.log(seed, device=study.device, infos=infos) for seed in seeds}
        models = {seed: _reward_model(condition, seed, study) for seed in seeds}
        validation = evaluator(world, study.num_validation_users, "validation")
        test = evaluator(world, study.num_test_users, "test")
        for piece in job:
            started = time.monotonic()
            variants = [study.agents[piece.agent][number] for number in piece.variants]
            part = replace(study, agents={piece.agent: variants})
            trained = part.train(piece.agent, logs, seeds, validation)
            records = [
                _record(run, piece.variants[index // len(seeds)], condition, world, test, models)
                | study.details(run, logs[run.run.seed])
                | {"revision": made}
                for index, run in enumerate(trained)
            ]
            seconds = time.monotonic() - started
            yield piece.key, {"seconds": seconds, "records": records}


def _reward_model(condition: Condition, seed: int, study: Study) -> RewardModel | None:
    if not study.offline:
        return None
    if condition.has_sessions:
        raise ValueError(f"offline=True is of logs of rounds; {condition.label!r} has sessions.")
    config = study.reward_model
    log = condition.log(seed + HELD_OUT, num_rounds=config.num_rounds, device=study.device)
    return RewardModel(log, seed, config.steps)


def _record(
    trained: Trained,
    variant: int,
    condition: Condition,
    world: World | Sessions,
    test: UserEvaluator,
    models: Mapping[int, RewardModel | None],
) -> Record:
    run = trained.run
    model = models[run.seed]
    offline = None
    if model is not None and not isinstance(world, Sessions):
        offline = model.value(trained.agent, world)
    headline = HEADLINES[condition.has_sessions]
    curve = [[row["step"], row[headline]] for row in trained.history if headline in row]
    return {
        "condition": condition.label,
        "agent": run.agent,
        "variant": variant,
        "overrides": dict(run.overrides),
        "seed": run.seed,
        "diverged_at": trained.diverged_at,
        "test": summary(test(trained.agent)),
        "validation": curve[-1][1],
        "offline": offline,
        "curve": curve,
    }
