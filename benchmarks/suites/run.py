"""Run an agent on a suite, and check that a file of results is what it says it is."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from recsim_drpo.agents import AgentSpec
from recsim_drpo.agents.engine.algorithm import Algorithm
from recsim_drpo.agents.registry import find_agent, needs_of
from recsim_drpo.benchmarks.reproduce.framework.records import revisions_of
from recsim_drpo.benchmarks.reproduce.framework.settings import QUICK, Scale
from recsim_drpo.benchmarks.reproduce.framework.study import Study
from recsim_drpo.benchmarks.suites.result import Result
from recsim_drpo.benchmarks.suites.suite import Suite
from recsim_drpo.core.executor import Engine
from recsim_drpo.core.json_text import assigned
from recsim_drpo.core.provenance import versions
from recsim_drpo.training.online import learns_online

QUICK_AGENTS = ("bc", "drpo")
"""Trained beside the agent in a quick run, whose logs and budget no reference has."""

QUICK_SEEDS = 2
QUICK_LOGS = 2

MOST_APART = 0.02
"""eCPM, or return of a session, by which a run that is made again may differ: processors round
differently, and small differences grow over thousands of updates."""

CURVE_POINTS = 10
"""Points of a learning curve after its start."""

Record = dict[str, Any]


@dataclass(frozen=True)
class Entry:
    """An agent as it takes part.

    Attributes:
        agent: the name that it is made by.
        hyperparameters: that are not its defaults, the same in all conditions.
        label: what tables call it; empty: ``agent``.
        tuned_by: one of :data:`.result.TUNED`.
        source: where its code is.
    """

    agent: str
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)
    label: str = ""
    tuned_by: str = "nothing"
    source: str = ""

    def command(
        self, suite: str, *, quick: bool = False, execution: str = "auto", device: str = "cpu"
    ) -> str:
        """The shortest command line that gives this entry's numbers on a suite.

        It is what a result publishes, so how many processes computed, on what cluster and in which
        folder the files were left is not in it: no number depends on that, and a reader has
        another machine.

        Args:
            suite: its name.
            quick: as of :func:`run`.
            execution: as there.
            device: as there.
        """
        words = ["recsim-drpo", "benchmark", suite, "--agent", self.agent]
        if self.hyperparameters:
            words += ["--set", *assigned(self.hyperparameters)]
        options = [
            ("--label", self.label, self.agent),
            ("--tuned-by", self.tuned_by, "nothing"),
            ("--source", self.source, ""),
            ("--execution", execution, "auto"),
            ("--device", device, "cpu"),
        ]
        for option, value, default in options:
            if value and value != default:
                words += [option, value]
        return shlex.join([*words, *(["--quick"] if quick else [])])


def run(
    suite: Suite,
    entry: Entry,
    folder: Path,
    *,
    quick: bool = False,
    execution: str = "auto",
    device: str = "cpu",
    engine: Engine | None = None,
    command: str = "",
    progress: bool = True,
    scale: Scale = QUICK,
) -> Result:
    """An agent's result on a suite; what the folder holds of the same run is gone on with.

    Args:
        suite: what it is run on.
        entry: the agent.
        folder: where finished pieces are kept.
        quick: two logs at most, two seeds, few rounds and updates, beside :data:`QUICK_AGENTS`.
        execution: of :class:`recsim_drpo.agents.engine.options.EngineOptions`.
        device: where it is computed.
        engine: what computes, see :class:`recsim_drpo.core.executor.Engine`.
        command: that is told with the result.
        progress: show rates and time left on a terminal.
        scale: of a quick run.

    Raises:
        ValueError: an unknown agent or hyper-parameter, or an agent that learns online; a log is
            not the suite's; the folder holds another run's pieces; the engine cannot be had.
    """
    agents: dict[str, list[dict[str, Any]]] = {entry.agent: [dict(entry.hyperparameters)]}
    if quick:
        agents |= {name: [{}] for name in QUICK_AGENTS if name != entry.agent}
    reads = _check_entry(suite, entry)
    engine = engine or Engine()
    with engine.opened():  # before logs are drawn, and a folder is made
        exact = _check_logs(suite, quick, progress)
        study = _study(suite, agents, quick, scale, execution, device)
        records = study.run(folder, engine=engine, progress=progress)
    return Result(
        suite.name,
        suite.sha256,
        entry.label or entry.agent,
        entry.agent,
        dict(entry.hyperparameters),
        entry.tuned_by,
        quick,
        exact,
        tuple(study.seeds),
        execution,
        records,
        command,
        entry.source,
        revisions_of(records),
        versions(),
        reads,
    )


def _check_entry(suite: Suite, entry: Entry) -> tuple[str, ...] | None:
    """What an agent reads of a log; raises before any work if it cannot take part."""
    reads = reads_of(entry.agent, entry.hyperparameters)
    if reads is None:  # and so no algorithm, which learns from batches
        log = suite.conditions[0].log(suite.seeds[0], num_rounds=2)
        dims = log.observation_dim, log.action_dim
        agent = AgentSpec(entry.agent, *dims, suite.seeds[0], dict(entry.hyperparameters)).make()
        if learns_online(agent):
            raise ValueError(
                f"{entry.agent!r} learns online, from users; in a suite agents learn from logs "
                "alone."
            )
    return reads


def reads_of(agent: str, hyperparameters: Mapping[str, Any]) -> tuple[str, ...] | None:
    """What an agent reads of a log, as :class:`.result.Result` has it.

    Raises:
        ValueError, ImportError, TypeError: as of :func:`recsim_drpo.agents.needs_of`.
    """
    if not isinstance(find_agent(agent), Algorithm):
        return None
    needs = needs_of(agent, **hyperparameters)
    return (*needs.infos, *(["catalogue"] if needs.items else []))


def _study(
    suite: Suite,
    agents: Mapping[str, Sequence[Mapping[str, Any]]],
    quick: bool,
    scale: Scale,
    execution: str,
    device: str,
    curves: bool = True,
) -> Study:
    if not quick:
        conditions, seeds, training = suite.conditions, suite.seeds, suite.training
        users = suite.num_test_users, suite.num_validation_users
    else:
        conditions = tuple(map(scale.condition, suite.conditions[:QUICK_LOGS]))
        seeds = suite.seeds[:QUICK_SEEDS]
        training = replace(suite.training, steps=scale.steps or suite.training.steps)
        users = scale.num_test_users, scale.num_validation_users
    return Study(
        suite.name,
        conditions,
        agents,
        seeds,
        replace(training, evaluate_every=max(1, training.steps // (CURVE_POINTS if curves else 1))),
        num_test_users=users[0],
        num_validation_users=users[1],
        execution=execution,
        device=device,
    )


def _check_logs(suite: Suite, quick: bool, progress: bool) -> bool:
    """Whether all logs are the suite's to the byte; raises where one is another."""
    labels = suite.labels[:QUICK_LOGS] if quick else suite.labels
    seeds = suite.seeds[:QUICK_SEEDS] if quick else suite.seeds
    places = [(label, seed) for label in labels for seed in seeds]
    bar = tqdm(places, "logs", unit="log", disable=None if progress else True)
    exact = [
        suite.check_log(label, seed) for label, seed in bar
    ]  # each of them, whatever the first
    return all(exact)


def verify(
    suite: Suite, result: Result, folder: Path, *, again: int = 1, draw: int = 0
) -> list[str]:
    """Check a result against its suite, and make some of its runs again.

    Args:
        suite: of the result's name.
        result: as it was read.
        folder: for the pieces of what is trained again.
        again: how many seeds to train again, of one condition; 0 only reads.
        draw: decides which.

    Returns:
        what was checked, in sentences.

    Raises:
        ValueError: the result is not of this suite, or lacks a run, or a run comes out differently.
    """
    if result.sha256 != suite.sha256:
        raise ValueError(f"The result is of another {suite.name}: the suite's checksum differs.")
    if result.quick:
        raise ValueError("The result is of a quick run, which is no evidence; leave out --quick.")
    if result.seeds != suite.seeds:
        raise ValueError(
            f"The result is of seeds {list(result.seeds)}, the suite of {list(suite.seeds)}."
        )
    own = [record for record in result.records if record["agent"] == result.agent]
    there = sorted((record["condition"], record["seed"]) for record in own)
    wanted = sorted((label, seed) for label in suite.labels for seed in suite.seeds)
    if there != wanted:
        missing = sorted(set(wanted) - set(there))
        about = f"{missing[0][0]!r}, seed {missing[0][1]}" if missing else "one is there twice"
        raise ValueError(
            f"The result has {len(there)} runs, the suite {len(wanted)}: {about} is missing."
            if missing
            else f"The result has {len(there)} runs, the suite {len(wanted)}: {about}."
        )
    said = [f"{len(wanted)} runs on {len(suite.labels)} logs, none missing."]
    if again and result.reads is not None:
        reads = reads_of(result.agent, result.hyperparameters)
        if reads is not None and tuple(result.reads) != reads:
            raise ValueError(
                f"The result says that {result.agent} reads {list(result.reads)} of a log besides "
                f"the rewards; it reads {list(reads)}."
            )
    rng = np.random.default_rng(draw)
    for _ in range(again):
        label, seed = wanted[int(rng.integers(len(wanted)))]
        said.append(_made_again(suite, result, own, label, seed, folder))
    return said


def _made_again(
    suite: Suite, result: Result, own: Sequence[Record], label: str, seed: int, folder: Path
) -> str:
    suite.check_log(label, seed)
    condition = next(c for c in suite.conditions if c.label == label)
    one = replace(suite, conditions=(condition,), seeds=(seed,))
    agents = {result.agent: [dict(result.hyperparameters)]}
    study = _study(one, agents, False, QUICK, result.execution, "cpu", curves=False)
    (record,) = study.run(folder / f"{suite.labels.index(label)}-{seed}", progress=False)
    (then,) = (r for r in own if (r["condition"], r["seed"]) == (label, seed))
    now, before = suite.metric.of(record), suite.metric.of(then)
    shares = suite.metric.normalized(record), suite.metric.normalized(then)
    apart = max(abs(now - before), abs(shares[0] - shares[1]))
    told = (
        f"{label!r}, seed {seed}: {suite.metric.label} {now:.4f} ({shares[0]:.4f} on the scale), "
        f"{before:.4f} ({shares[1]:.4f})"
    )
    if apart > MOST_APART:
        raise ValueError(f"A run that was made again differs by {apart:.3g}: {told} in the file.")
    return f"Made again: {told} in the file."
