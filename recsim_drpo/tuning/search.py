"""A search: trials asked of Optuna a fleet at a time, trained together, measured and told back.

Trials are measured at several points of their training, and those that a pruner gives up leave the
fleet there: what is left of their updates is not made. The storage is Optuna's, so a search that
was stopped goes on, and several machines can work on one.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from recsim_drpo.agents.engine.algorithm import Algorithm
from recsim_drpo.agents.registry import find_agent
from recsim_drpo.core.config import Config, Count, OneOf, Seed
from recsim_drpo.core.messages import one_line, shown
from recsim_drpo.core.policy import Policy
from recsim_drpo.training.config import TrainingConfig
from recsim_drpo.tuning.candidates import Candidates, alike
from recsim_drpo.tuning.criteria import Criterion, Problem
from recsim_drpo.tuning.names import PRUNERS, SAMPLERS
from recsim_drpo.tuning.samplers import pruner_of, sampler_of
from recsim_drpo.tuning.sharing import Watch, counting
from recsim_drpo.tuning.space import Choices, Range

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial

_STUDY = "recsim-drpo"
_PLAN, _UPDATES, _AGAIN = "plan", "updates", "again"
_PAUSE = 5.0  # seconds; between two looks at what other machines are at


@dataclass(frozen=True)
class SearchConfig(Config):
    """How a search goes about.

    Attributes:
        trials: how many in all, ≥ 1; those of a search that is gone on with count.
        budget: learner-updates after which no trial begins, ≥ 1; ``None``: only ``trials`` ends it.
        sampler: of Optuna, one of :data:`SAMPLERS`.
        pruner: of Optuna, one of :data:`PRUNERS`.
        rungs: how often a trial is measured, evenly over its updates, ≥ 1; without a pruner once.
        together: trials that train as one fleet, ≥ 1.
        seeds: learners of a trial, at seeds 0, 1, …, whose mean is its value, ≥ 1.
        seed: of the sampler, in [0, 2**63).
    """

    trials: Count = 50
    budget: Count | None = None
    sampler: Annotated[str, OneOf(SAMPLERS)] = "tpe"
    pruner: Annotated[str, OneOf(PRUNERS)] = "median"
    rungs: Count = 5
    together: Count = 8
    seeds: Count = 1
    seed: Seed = 0


@dataclass(frozen=True)
class Task:
    """What is searched for, and on what.

    Attributes:
        agent: its name.
        space: what is varied.
        fixed: hyper-parameters that are not, and have not their defaults.
        training: of each trial.
        problem: what it learns from, and is measured by.
        about: of the log, for the plan that a search is gone on with by.
        execution: of :class:`recsim_drpo.agents.engine.options.EngineOptions`.
    """

    agent: str
    space: Mapping[str, Range | Choices]
    fixed: Mapping[str, Any]
    training: TrainingConfig
    problem: Problem
    about: Mapping[str, Any] = field(default_factory=dict)
    execution: str = "auto"

    @property
    def options(self) -> dict[str, Any]:
        """Of how learners compute, which agents from outside do not have."""
        ours = isinstance(find_agent(self.agent), Algorithm)
        return {"execution": self.execution} if ours else {}

    def plan(self, config: SearchConfig) -> dict[str, Any]:
        """Everything that trials' values depend on, as JSON can hold it."""
        how = asdict(config)
        apart = {name: how[name] for name in ("pruner", "rungs", "seeds")}
        return {
            "agent": self.agent,
            "space": {name: str(values) for name, values in self.space.items()},
            "fixed": dict(self.fixed),
            "training": asdict(self.training),
            "optimize": self.problem.chosen_by,
            "about": dict(self.about),
            **apart,
        }


def check_optuna() -> None:
    """Raise ``ImportError`` where the extra ``sweep`` is not installed."""
    try:
        import optuna
    except ImportError as error:
        raise ImportError('A sweep needs Optuna: pip install "recsim-drpo[sweep]".') from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)


def opened_storage(place: str | Path) -> BaseStorage:
    """Optuna's storage in a file of its journal, or in a database by its URL.

    Raises:
        ValueError: the database cannot be had.
    """
    check_optuna()
    from optuna.storages import JournalStorage, RDBStorage
    from optuna.storages.journal import JournalFileBackend

    if "://" not in str(place):
        return JournalStorage(JournalFileBackend(str(place)))
    try:
        from sqlalchemy.exc import DBAPIError

        try:
            return RDBStorage(str(place))
        except DBAPIError:  # of two that begin at one moment one alone makes the tables
            time.sleep(1.0)
            return RDBStorage(str(place))
    except Exception as error:  # SQLAlchemy's and its drivers' are many
        raise ValueError(
            f"The storage {shown(str(place))} cannot be had ({one_line(error)}); give a file, or "
            "a URL that SQLAlchemy knows, such as sqlite:///trials.db."
        ) from error


@dataclass(frozen=True)
class Search:
    """A search in a storage.

    Args:
        task: what is searched for.
        config: how.
        storage: of Optuna; what it holds of the same search is gone on with.

    Attributes:
        study: Optuna's. Trials have the attribute ``updates``, the learner-updates made for them,
            and the value by every criterion of the problem under its name.
        shared: whether it is in a database, where other machines may work on it.

    Raises:
        ValueError: the storage holds another search; the message says what differs.
    """

    task: Task
    config: SearchConfig
    study: Study
    shared: bool

    @classmethod
    def opened(cls, task: Task, config: SearchConfig, storage: BaseStorage) -> Search:
        """The search that a storage holds, or a new one in it."""
        import optuna
        from optuna.storages import RDBStorage

        study = optuna.create_study(
            storage=storage,
            study_name=_STUDY,
            direction="maximize",
            load_if_exists=True,
            sampler=sampler_of(config.sampler, config.seed),
            pruner=pruner_of(config.pruner, config.together),
        )
        plan, kept = task.plan(config), study.user_attrs.get(_PLAN)
        if kept is None:
            study.set_user_attr(_PLAN, plan)
        elif kept != plan:
            name = next(name for name in plan if kept.get(name) != plan[name])
            raise ValueError(
                f"The storage holds another search: {name} was {shown(kept.get(name))} and is now "
                f"{shown(plan[name])}. Choose another --out or --storage."
            )
        return cls(task, config, study, isinstance(storage, RDBStorage))

    def recover(self) -> None:
        """Have trials tried again that a stop left in a file, at which nobody may be at work.

        Of a search that is shared, :meth:`try_some` tells whose machines are gone.
        """
        if not self.shared:
            self._give_back(self._trials("RUNNING"))

    def _give_back(self, left: Sequence[FrozenTrial]) -> None:
        _Running(self.study, {trial.number: trial for trial in left}).give_back()

    def left(self) -> int:
        """How many trials are still to begin."""
        begun = self._trials("COMPLETE", "PRUNED", "RUNNING")
        again = {trial.user_attrs.get(_AGAIN) for trial in self._trials()}
        lost = [trial for trial in self._trials("FAIL") if trial.number not in again]
        return max(0, self.config.trials - len(begun) - len(lost))

    def try_some(self, count: int) -> Iterator[int]:
        """Try as many trials, fleet by fleet; yields how many are done as they are.

        Of a search that is shared, try whatever of it is left, be it because a machine is gone, and
        wait for what others are at. Stops before where the budget is spent.
        """
        watch = Watch()
        while not self.is_spent():
            if self.shared:
                self._give_back(watch.gone(self._trials("RUNNING")))
            together = min(self.config.together, self.left() if self.shared else count)
            if together:
                count -= together
                yield from self._try(together)
            elif self.shared and self._trials("RUNNING"):
                time.sleep(_PAUSE)
            else:
                return

    def _try(self, together: int) -> Iterator[int]:
        """Try some trials at once; yields how many are done as they are."""
        task = self.task
        distributions = {name: values.distribution() for name, values in task.space.items()}
        trials = [self.study.ask(distributions) for _ in range(together)]
        running = _Running(self.study, {trial.number: trial for trial in trials})
        try:
            with counting(running.asked) if self.shared else nullcontext():
                for group in _groups(task.agent, trials, task.fixed):
                    _train(task, self.config, running, group)
                    yield len(group)
        finally:
            running.give_back()

    def updates(self) -> int:
        """The learner-updates that were made for all trials."""
        return sum(trial.user_attrs.get(_UPDATES, 0) for trial in self._trials())

    def is_spent(self) -> bool:
        """Whether the budget has been used up."""
        return self.config.budget is not None and self.updates() >= self.config.budget

    def completed(self) -> list[FrozenTrial]:
        """Trials that were trained to the end, the best first.

        Raises:
            ValueError: there is none.
        """
        found = sorted(self._trials("COMPLETE"), key=lambda trial: -(trial.value or 0.0))
        if not found:
            raise ValueError(
                "No trial came to its end with a value that is a number; choose smaller ranges, "
                "more trials, or --pruner none."
            )
        return found

    def counts(self) -> dict[str, int]:
        """How many trials ended how, by Optuna's names of states."""
        states = [trial.state.name for trial in self._trials()]
        return {name: states.count(name) for name in sorted(set(states))}

    def _trials(self, *states: str) -> list[FrozenTrial]:
        from optuna.trial import TrialState

        wanted = tuple(TrialState[name] for name in states) or None
        return self.study.get_trials(deepcopy=False, states=wanted)


class _Running:
    """Trials that are not told yet: those that a stop leaves are tried again later.

    What another machine took for gone meanwhile is that machine's to try again.
    """

    def __init__(self, study: Study, trials: Mapping[int, Trial | FrozenTrial]) -> None:
        self.study = study
        self._trials = dict(trials)

    def asked(self) -> list[Trial]:
        """Those of them that were asked for here."""
        from optuna import Trial

        return [trial for trial in self._trials.copy().values() if isinstance(trial, Trial)]

    def told(self, trial: Trial, value: float, *, pruned: bool = False) -> None:
        """Tell what became of a trial; one whose value is no number has failed."""
        from optuna.trial import TrialState

        if math.isnan(value):
            self.study.tell(trial, state=TrialState.FAIL, skip_if_finished=True)
        elif pruned:
            self.study.tell(trial, state=TrialState.PRUNED, skip_if_finished=True)
        else:
            self.study.tell(trial, value, skip_if_finished=True)
        del self._trials[trial.number]

    def give_back(self) -> None:
        """Have the values of those that are left tried by trials to come."""
        from optuna.exceptions import UpdateFinishedTrialError
        from optuna.trial import TrialState

        for number, trial in self._trials.items():
            try:
                self.study.tell(number, state=TrialState.FAIL)
            except (ValueError, UpdateFinishedTrialError):  # is told already
                continue
            self.study.enqueue_trial(trial.params, user_attrs={_AGAIN: number})
        self._trials = {}


def _groups(agent: str, trials: Sequence[Trial], fixed: Mapping[str, Any]) -> list[list[Trial]]:
    """Trials that can train as one fleet, together."""
    groups: dict[Any, list[Trial]] = {}
    for trial in trials:
        groups.setdefault(alike(agent, {**fixed, **trial.params}), []).append(trial)
    return list(groups.values())


def _goes_on(
    problem: Problem,
    running: _Running,
    trial: Trial,
    policies: Sequence[Policy],
    stop: int,
    steps: int,
) -> bool:
    """Whether a trial is trained beyond this rung; of one that is not, it is told what became."""
    value = _mean(problem.criterion, policies)
    if stop < steps:
        trial.report(value, stop)
        if not (math.isnan(value) or trial.should_prune()):
            return True
        running.told(trial, value, pruned=True)
        return False
    for name, criterion in problem.criteria.items():
        known = value if name == problem.chosen_by else _mean(criterion, policies)
        trial.set_user_attr(name, known)
    running.told(trial, value)
    return False


def _train(task: Task, config: SearchConfig, running: _Running, trials: list[Trial]) -> None:
    """Train trials together, measure them at every rung, and tell what became of each."""
    from optuna.exceptions import UpdateFinishedTrialError

    values = [{**task.fixed, **trial.params} for trial in trials]
    seeds = range(config.seeds)
    log = task.problem.transitions
    candidates = Candidates.of(task.agent, values, seeds, log, task.training, task.execution)
    start, steps = 0, task.training.steps
    for stop in _rungs(steps, 1 if config.pruner == "none" else config.rungs):
        candidates.advance(start, stop)
        going_on = []
        for number, trial in enumerate(trials):
            # Another machine takes a trial for gone, and for its own, while this one sleeps.
            with suppress(UpdateFinishedTrialError):
                trial.set_user_attr(_UPDATES, stop * config.seeds)
                if _goes_on(task.problem, running, trial, candidates.policies(number), stop, steps):
                    going_on.append(number)
        trials = [trials[number] for number in going_on]
        if not trials:
            return
        candidates.keep(going_on)
        start = stop


def _rungs(steps: int, count: int) -> list[int]:
    """Updates after which trials are measured, rising; the last is the end."""
    return sorted({max(1, round(steps * rung / count)) for rung in range(1, count + 1)})


def _mean(criterion: Criterion, policies: Sequence[Policy]) -> float:
    return sum(criterion(policy) for policy in policies) / len(policies)
