"""``recsim-drpo train``: an agent, over seeds, on a dataset."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from recsim_drpo.agents.builtin import BUILT_IN
from recsim_drpo.agents.engine.options import PRECISIONS
from recsim_drpo.cli.arguments import (
    Address,
    Decoder,
    Device,
    EngineName,
    Execution,
    GpusPerTask,
    Storage,
    assignments,
    engine_of,
    integer,
    number,
    one_of,
)
from recsim_drpo.cli.training_log import compute_of, learns_by_itself, learnt_from, logs_of
from recsim_drpo.cli.training_plan import (
    Plan,
    check_engine,
    check_online,
    checkpoints_of,
    initial_of,
    removed_at_the_end,
)
from recsim_drpo.training.config import HELD_OUT_SHARE, SHUFFLE_RADIUS, TrainingConfig
from recsim_drpo.training.trackers import TRACKERS, tracker as open_tracker

if TYPE_CHECKING:
    from recsim_drpo.core.executor import Engine
    from recsim_drpo.runs.unfinished import Unfinished
    from recsim_drpo.training.sweep import Trained

_DEFAULTS = TrainingConfig()

Datasets = Annotated[
    list[str] | None,
    typer.Option(
        "--dataset",
        metavar="DATASET...",
        help="Ids of local Minari datasets of one world: one log, in order.",
        show_default="needed",
    ),
]
AgentName = Annotated[
    str | None,
    typer.Option(
        "--agent",
        show_default="needed",
        help=f"{', '.join(BUILT_IN)}, the name of an installed plug-in, module:Class, or an "
        "algorithm of a library: d3rlpy:IQL, sb3:SAC.",
        autocompletion=one_of(BUILT_IN),
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out",
        help="A run folder for each seed is made in it: OUT/seed-0.",
        show_default="needed",
    ),
]
CheckpointEvery = Annotated[
    int | None,
    typer.Option(
        "--checkpoint-every",
        parser=integer,
        metavar="STEPS",
        help="Steps between checkpoints to go on from, in OUT/unfinished.",
        show_default="none",
    ),
]
Resume = Annotated[
    Path | None,
    typer.Option(
        "--resume",
        metavar="OUT",
        help="Go on with a training that was stopped, from its last checkpoints; alone.",
        show_default="a new one",
    ),
]
Init = Annotated[
    Path | None,
    typer.Option(
        "--init",
        metavar="RUN",
        help="Run folder of the same agent whose parameters to start from.",
        show_default="drawn by the seed",
    ),
]
Seeds = Annotated[
    list[int] | None,
    typer.Option(
        "--seeds",
        parser=integer,
        metavar="SEED...",
        help="Of initialisation and batches, a run each.",
        show_default="0",
    ),
]
Steps = Annotated[
    int,
    typer.Option(
        "--steps",
        parser=integer,
        help="Updates, or rounds with users for an agent that learns online.",
    ),
]
BatchSize = Annotated[
    int, typer.Option("--batch-size", parser=integer, help="Transitions in an update.")
]
LogEvery = Annotated[
    int, typer.Option("--log-every", parser=integer, help="Steps between rows of the history.")
]
EvaluateEvery = Annotated[
    int,
    typer.Option(
        "--evaluate-every", parser=integer, help="Steps between evaluations on validation users."
    ),
]
Hyperparameters = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="NAME=VALUE...", help="Hyper-parameters.", show_default="the agent's"
    ),
]
FleetSize = Annotated[
    int | None,
    typer.Option(
        "--fleet-size",
        parser=integer,
        help="Most seeds trained as one batched computation.",
        show_default="8 on a CPU, else 512",
    ),
]
Infos = Annotated[
    list[str] | None,
    typer.Option(
        "--infos",
        metavar="COLUMN...",
        help="Info columns for agents that read batch.infos, for example propensity.",
        show_default="none",
    ),
]
HeldOut = Annotated[
    float | None,
    typer.Option(
        "--held-out",
        parser=number,
        metavar="SHARE",
        help="Last rounds of an imported log to measure on, not to learn from.",
        show_default=f"{HELD_OUT_SHARE:g}",
    ),
]
Streamed = Annotated[
    bool,
    typer.Option(
        "--stream",
        help="Read the log in shuffled chunks as it is learnt from: for logs larger than memory.",
        show_default="off",
    ),
]
ShuffleRadius = Annotated[
    int | None,
    typer.Option(
        "--shuffle-radius",
        parser=integer,
        metavar="ROUNDS",
        help="Most transitions that the batches of --stream are mixed from.",
        show_default=f"{SHUFFLE_RADIUS}",
    ),
]
Precision = Annotated[
    str,
    typer.Option(
        "--precision",
        help=f"How matrices are multiplied: {', '.join(PRECISIONS)}.",
        autocompletion=one_of(PRECISIONS),
    ),
]
Threads = Annotated[
    int,
    typer.Option(
        "--threads",
        parser=integer,
        help="Processor threads; only large networks gain from more, and last bits depend on it.",
    ),
]
Tracker = Annotated[
    str | None,
    typer.Option(
        "--tracker",
        help=f"{', '.join(TRACKERS)} (extras), into OUT as well.",
        show_default="none",
        autocompletion=one_of(TRACKERS),
    ),
]


def train(
    dataset: Datasets = None,
    agent: AgentName = None,
    out: Out = None,
    seeds: Seeds = None,
    steps: Steps = _DEFAULTS.steps,
    batch_size: BatchSize = _DEFAULTS.batch_size,
    log_every: LogEvery = _DEFAULTS.log_every,
    evaluate_every: EvaluateEvery = _DEFAULTS.evaluate_every,
    hyperparameters: Hyperparameters = None,
    fleet_size: FleetSize = None,
    infos: Infos = None,
    held_out: HeldOut = None,
    stream: Streamed = False,
    shuffle_radius: ShuffleRadius = None,
    storage: Storage = None,
    decoder: Decoder = None,
    precision: Precision = "float32",
    execution: Execution = "auto",
    tracker: Tracker = None,
    device: Device = "cpu",
    threads: Threads = 1,
    init: Init = None,
    checkpoint_every: CheckpointEvery = None,
    resume: Resume = None,
    engine: EngineName = "local",
    address: Address = None,
    gpus_per_task: GpusPerTask = None,
) -> None:
    """Train an agent on a dataset, in a run folder a seed."""
    from recsim_drpo.core.validation import check_seeds

    asked = Plan(
        dataset[0] if dataset and len(dataset) == 1 else dataset,
        agent,
        check_seeds(seeds or [0]),
        steps,
        batch_size,
        log_every,
        evaluate_every,
        assignments(hyperparameters),
        fleet_size,
        infos or [],
        held_out,
        precision,
        execution,
        tracker,
        device,
        None if init is None else str(init),
        checkpoint_every,
        threads,
        stream,
        shuffle_radius,
        storage,
        decoder,
    )
    _begin(asked, out, resume, partial(engine_of, engine, None, address, gpus_per_task))


def _begin(
    asked: Plan, out: Path | None, resume: Path | None, engine_on: Callable[[str], Engine]
) -> None:
    """Train anew, or go on; the engine depends on the device of whichever it is."""
    from recsim_drpo.runs.unfinished import Unfinished

    if resume is None:
        _train_anew(asked, out, engine_on)
        return
    if out is not None:
        raise ValueError("--out is the folder that --resume names; leave it out.")
    kept, before = Unfinished.open(resume)
    plan = Plan.resumed(before, asked)
    _train(plan, resume, kept, engine_on(plan.device))


def _train_anew(plan: Plan, out: Path | None, engine_on: Callable[[str], Engine]) -> None:
    """Train as planned, if all is named that is needed, and nothing is there."""
    from recsim_drpo.runs.unfinished import check_no_unfinished

    for name, given in (("--dataset", plan.dataset), ("--agent", plan.agent), ("--out", out)):
        if given is None:
            raise typer.TyperException(f"{name} is needed, or --resume of a training.")
    assert out is not None
    check_no_unfinished(out)
    _train(plan.checked(), out, None, engine_on(plan.device))


def _train(plan: Plan, out: Path, kept: Unfinished | None, engine: Engine) -> None:
    """Train as planned, from the start or from what was kept."""
    from recsim_drpo.core.files import claimed
    from recsim_drpo.core.torch_settings import resolve_device, threads
    from recsim_drpo.datasets.staging import sweep_datasets
    from recsim_drpo.training.online import train_online
    from recsim_drpo.training.sweep import train_many

    agent, config, values, seeds = str(plan.agent), plan.config, plan.set, plan.seeds
    folders = _run_folders(out, seeds, resumed=kept is not None)
    check_engine(plan, engine)
    elsewhere = engine.name != "local"  # then it is the workers that have the device
    device = resolve_device("cpu" if elsewhere else plan.device)
    how: dict[str, Any] = {"precision": plan.precision, "execution": plan.execution}
    with ExitStack() as stack:
        sweep_datasets()
        logs = stack.enter_context(logs_of(plan))
        stack.enter_context(engine.opened())
        transitions, evaluator, source = learnt_from(plan, logs, device)
        made = {} if elsewhere else how
        if learns_by_itself(agent, values, transitions, seeds[0], device, made):
            check_online(plan, engine)
            source["online"] = True
        initial = initial_of(plan, transitions, source)
        stack.enter_context(threads(plan.threads))
        stack.enter_context(claimed(*folders.values()))  # two at once would make the same twice
        _run_folders(out, seeds, resumed=kept is not None)  # which another may have made since
        checkpoints = checkpoints_of(plan, out, kept, transitions)
        common: dict[str, Any] = {"seeds": seeds, "evaluator": evaluator}
        common["on_done"] = _keeper(agent, folders, config, source)
        about = {"dataset": ", ".join(plan.datasets), **asdict(config), **values}
        common["on_log"] = (
            stack.enter_context(open_tracker(plan.tracker, out, about)) if plan.tracker else None
        )
        stack.enter_context(removed_at_the_end(checkpoints))
        if "online" in source:
            users = logs[0].spec.env_spec
            train_online(agent, values, users, config, device=device, **common)
        else:
            common |= {
                "fleet_size": plan.fleet_size,
                "checkpoints": checkpoints,
                "initial": initial,
            }
            common |= {"compute": compute_of(plan, engine)}
            train_many({agent: [values]}, transitions, config, **common, **how)


def _run_folders(out: Path, seeds: Sequence[int], *, resumed: bool) -> dict[int, Path]:
    """Folders of runs by seed; none is there yet, unless a training is resumed that made it."""
    from recsim_drpo.core.files import check_new_folder

    folders = {seed: out / f"seed-{seed}" for seed in seeds}
    for folder in folders.values():
        if not (resumed and folder.exists()):
            check_new_folder(folder)
    return folders


def _keeper(
    agent: str, folders: dict[int, Path], config: TrainingConfig, source: dict[str, Any]
) -> Callable[[Trained], None]:
    """What keeps a trained run in its folder, unless it is there already, and says so."""
    from tqdm import tqdm

    from recsim_drpo.runs.folder import save_trained
    from recsim_drpo.training.loop import idle_updates

    whole = {seed for seed, folder in folders.items() if folder.exists()}

    def keep(trained: Trained) -> None:
        folder = folders[trained.run.seed]
        if trained.run.seed in whole:  # of the same training, which was stopped after it
            return
        save_trained(folder, trained, config, source)
        last = trained.history[-1]
        shown = ", ".join(f"{name} {last[name]:.3g}" for name in last if name != "step")
        diverged = trained.diverged_at
        marked = "" if diverged is None else f" (diverged at step {diverged}, marked)"
        label = f"{agent}, seed {trained.run.seed}"
        if idle := idle_updates(trained.history):
            marked += (
                f"; in {idle:,} updates there was nothing to learn, as rewards tied at the top"
            )
        tqdm.write(f"{label}: step {int(last['step']):,}, {shown}; {folder}{marked}")

    return keep
