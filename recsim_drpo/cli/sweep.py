"""``recsim-drpo sweep``: a search for an agent's hyper-parameters."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from recsim_drpo.agents.builtin import BUILT_IN
from recsim_drpo.cli.arguments import Device, Execution, assignments, integer, number, one_of
from recsim_drpo.training.config import TrainingConfig
from recsim_drpo.tuning.names import CRITERIA, PRUNERS, SAMPLERS

if TYPE_CHECKING:
    from recsim_drpo.tuning.search import Search, SearchConfig, Task

_TRAINING = TrainingConfig()

Dataset = Annotated[str, typer.Option("--dataset", help="Id of a local Minari dataset.")]
AgentName = Annotated[
    str,
    typer.Option("--agent", help="As of train: an agent's name.", autocompletion=one_of(BUILT_IN)),
]
Optimize = Annotated[
    str,
    typer.Option(
        "--optimize",
        help="What is made large: true-reward of validation users, which only a simulator knows, "
        "or offline, the doubly robust value on rounds held out.",
        autocompletion=one_of(CRITERIA),
    ),
]
Out = Annotated[
    Path, typer.Option("--out", help="Folder; a search that was stopped goes on in it.")
]
Ranges = Annotated[
    list[str] | None,
    typer.Option(
        "--range",
        metavar="NAME=LOW:HIGH[:log]...",
        help="What is searched, or NAME=A,B for one of several.",
        show_default="what the agent declares",
    ),
]
SpaceFile = Annotated[
    Path | None,
    typer.Option(
        "--space",
        metavar="FILE",
        help="TOML: NAME = {low = …, high = …, log = true}, or NAME = [A, B].",
        show_default="what the agent declares",
    ),
]
Fixed = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE...",
        help="Hyper-parameters that all trials have.",
        show_default="the agent's",
    ),
]
Trials = Annotated[int, typer.Option("--trials", parser=integer, help="How many in all.")]
Budget = Annotated[
    int | None,
    typer.Option(
        "--budget",
        parser=integer,
        metavar="UPDATES",
        help="Learner-updates after which no trial begins.",
        show_default="none",
    ),
]
Sampler = Annotated[
    str,
    typer.Option(
        "--sampler", help=f"Of Optuna: {', '.join(SAMPLERS)}.", autocompletion=one_of(SAMPLERS)
    ),
]
Pruner = Annotated[
    str,
    typer.Option(
        "--pruner", help=f"Of Optuna: {', '.join(PRUNERS)}.", autocompletion=one_of(PRUNERS)
    ),
]
Rungs = Annotated[
    int,
    typer.Option(
        "--rungs", parser=integer, help="How often a trial is measured, and may be given up."
    ),
]
Together = Annotated[
    int, typer.Option("--together", parser=integer, help="Trials that train as one fleet.")
]
TrialSeeds = Annotated[
    int, typer.Option("--trial-seeds", parser=integer, help="Learners of a trial, averaged.")
]
FreshSeeds = Annotated[
    int,
    typer.Option(
        "--fresh-seeds", parser=integer, help="On which the winner is retrained and told."
    ),
]
Steps = Annotated[int, typer.Option("--steps", parser=integer, help="Updates of a trial.")]
BatchSize = Annotated[
    int, typer.Option("--batch-size", parser=integer, help="Transitions in an update.")
]
HeldOut = Annotated[
    float,
    typer.Option(
        "--held-out",
        parser=number,
        metavar="SHARE",
        help="Of the rounds, the last, that no trial learns from.",
    ),
]
Storage = Annotated[
    str | None,
    typer.Option(
        "--storage",
        metavar="URL",
        help="Database in which several machines search together, as Optuna knows it.",
        show_default="OUT/trials.journal",
    ),
]
Processes = Annotated[
    int, typer.Option("--processes", parser=integer, help="That try at once, a thread each.")
]
Seed = Annotated[int, typer.Option("--seed", parser=integer, help="Of the sampler.")]


@dataclass(frozen=True)
class _Recipe:
    """What a process needs to take part in a search."""

    dataset: str
    optimize: str
    held_out: float
    device: str
    agent: str
    space: dict[str, Any]
    fixed: dict[str, Any]
    training: TrainingConfig
    execution: str
    config: SearchConfig
    storage: str

    def task(self) -> Task:
        """The task, with its log loaded."""
        from recsim_drpo.agents.registry import needs_of
        from recsim_drpo.core.torch_settings import resolve_device
        from recsim_drpo.datasets.load import open_dataset
        from recsim_drpo.runs.folder import source_of
        from recsim_drpo.training.sweep import hyperparameters
        from recsim_drpo.tuning.criteria import problem_of
        from recsim_drpo.tuning.search import Task

        dataset = open_dataset(self.dataset)
        problem = problem_of(
            dataset,
            self.optimize,
            held_out=self.held_out,
            device=resolve_device(self.device),
            needs=needs_of(self.agent, **hyperparameters(self.fixed)),
        )
        about = {"dataset": self.dataset, "rounds": int(dataset.total_steps)}
        about |= {"checksum": source_of(dataset)["catalogue_checksum"], "held_out": self.held_out}
        return Task(
            self.agent, self.space, self.fixed, self.training, problem, about, self.execution
        )

    def search(self, task: Task, number: int = 0) -> Search:
        """The search, as the process of a number sees it."""
        from recsim_drpo.tuning.search import Search, opened_storage

        config = replace(self.config, seed=self.config.seed + number)
        return Search.opened(task, config, opened_storage(self.storage))


def sweep(
    dataset: Dataset,
    agent: AgentName,
    optimize: Optimize,
    out: Out,
    ranges: Ranges = None,
    space: SpaceFile = None,
    fixed: Fixed = None,
    trials: Trials = 50,
    budget: Budget = None,
    sampler: Sampler = "tpe",
    pruner: Pruner = "median",
    rungs: Rungs = 5,
    together: Together = 8,
    trial_seeds: TrialSeeds = 1,
    fresh_seeds: FreshSeeds = 5,
    steps: Steps = _TRAINING.steps,
    batch_size: BatchSize = _TRAINING.batch_size,
    held_out: HeldOut = 0.1,
    storage: Storage = None,
    processes: Processes = 1,
    seed: Seed = 0,
    execution: Execution = "auto",
    device: Device = "cpu",
) -> None:
    """Search an agent's hyper-parameters, and retrain the winner."""
    from recsim_drpo.core.files import claimed
    from recsim_drpo.core.torch_settings import threads
    from recsim_drpo.core.validation import check_integer, unknown_name
    from recsim_drpo.tuning import search as searching
    from recsim_drpo.tuning.space import checked_space, declared_space, parse_space, read_space

    searching.check_optuna()
    if optimize not in CRITERIA:
        raise unknown_name("criterion", optimize, CRITERIA)
    check_integer("--fresh-seeds", fresh_seeds, 1)
    check_integer("--processes", processes, 1, 1_024)
    values = assignments(fixed)
    asked = {**(read_space(space) if space else {}), **parse_space(ranges or [])}
    varied = checked_space(agent, asked or declared_space(agent), values)
    config = searching.SearchConfig(
        trials, budget, sampler, pruner, rungs, together, trial_seeds, seed
    )
    place = storage or str(out / "trials.journal")
    how = (agent, varied, values, TrainingConfig(steps, batch_size), execution, config, place)
    recipe = _Recipe(dataset, optimize, held_out, device, *how)
    with claimed(out / "sweep"), threads(1):
        if (out / "result.json").exists():
            raise FileExistsError(f"{str(out)!r} holds a finished sweep; choose another folder.")
        task = recipe.task()
        _check_first(recipe, task)
        out.mkdir(parents=True, exist_ok=True)
        _finish(_searched(recipe, task, processes), recipe, fresh_seeds, out)


def _check_first(recipe: _Recipe, task: Task) -> None:
    """Raise what an agent from outside refuses, before anything is written."""
    from recsim_drpo.agents.registry import make_agent
    from recsim_drpo.training.sweep import hyperparameters

    log = task.problem.transitions
    for name, values in recipe.space.items():
        for value in values.ends:
            own = hyperparameters({**recipe.fixed, name: value})
            make_agent(
                recipe.agent,
                observation_dim=log.observation_dim,
                action_dim=log.action_dim,
                seed=0,
                device=log.device,
                **own,
            )


def _searched(recipe: _Recipe, task: Task, processes: int) -> Search:
    """The search when its trials are made, by this process or by several."""
    from tqdm import tqdm

    from recsim_drpo.core.executor import Engine

    search = recipe.search(task)
    search.recover()
    left = search.left()
    shares = [left // processes + (k < left % processes) for k in range(processes)]
    tasks = [partial(_share, number=k, count=share) for k, share in enumerate(shares) if share]
    label = f"{recipe.agent}, by {recipe.optimize}"
    done = recipe.config.trials - left
    with tqdm(
        total=recipe.config.trials, initial=done, desc=label, unit="trial", disable=None
    ) as b:
        if len(tasks) <= 1:
            values: Iterator[int] = search.try_some(left)
        else:
            values = Engine(processes=processes).results(recipe, tasks)
        for count in values:
            b.update(count)
    return search


def _share(recipe: _Recipe, number: int, count: int) -> Iterator[int]:
    """A process's share of the trials."""
    from recsim_drpo.core.torch_settings import threads

    with threads(1):
        yield from recipe.search(recipe.task(), number).try_some(count)


def _finish(search: Search, recipe: _Recipe, fresh_seeds: int, out: Path) -> None:
    """Retrain the winner, and write and print what was found."""
    from recsim_drpo.datasets.load import open_dataset
    from recsim_drpo.runs.folder import save_trained, source_of
    from recsim_drpo.tuning import outcome

    source = source_of(open_dataset(recipe.dataset))

    def keep(trained: Any) -> None:
        folder = out / "winner" / f"seed-{trained.run.seed}"
        if not folder.exists():
            save_trained(folder, trained, recipe.training, source)

    found = outcome.confirmed(search, fresh_seeds, keep=keep)
    print(outcome.as_text(found))
    if problem := outcome.save(out, found):
        print(problem)
    print(f"\nEverything is in {out}/; the winner's runs are {out}/winner/seed-*.")
