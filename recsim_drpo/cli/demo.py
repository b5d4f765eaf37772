"""``recsim-drpo demo``: the main job end to end, from logs to pictures."""

from __future__ import annotations

import shlex
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from recsim_drpo.cli.arguments import (
    CatalogueVectors,
    Device,
    Normalize,
    World,
    integer,
    one_of,
    world_parameters,
)
from recsim_drpo.simulator.config import SCENARIOS
from recsim_drpo.training.config import TrainingConfig

if TYPE_CHECKING:
    from minari import MinariDataset

    from recsim_drpo.evaluation.bandit import Evaluator
    from recsim_drpo.simulator.world import World as SimulatedWorld
    from recsim_drpo.training.sweep import Trained

AGENTS = ("bc", "awr", "asymre", "adaptive-bc", "two-tower", "drpo")
"""One that clones, two that weigh softly, a filter, one that predicts rewards, and the paper's."""
REFERENCE_ROWS = ("random", "popularity", "logger")
_MARKER = ".recsim-drpo-demo"
_REPORTS = ("results.md", "results.json", "results.png", "learning_curves.png")


@dataclass(frozen=True)
class Size:
    """How much a demo logs, trains and evaluates where it is not told.

    Attributes:
        num_rounds: logged for each seed.
        steps: updates of each agent.
        seeds: of the replicates.
        world: parameters of a drawn world.
        validation_users: of the learning curves.
        test_users: of the results.
    """

    num_rounds: int = 100_000
    steps: int = 3_000
    seeds: Sequence[int] = (0, 1, 2)
    world: Mapping[str, Any] = field(default_factory=dict)
    validation_users: int = 2_000
    test_users: int = 10_000


FULL = Size()
QUICK = Size(
    num_rounds=4_000,
    steps=200,
    seeds=(0, 1),
    world={"num_items": 300, "embedding_dim": 16, "num_topics": 5},
    validation_users=300,
    test_users=1_000,
)
"""Whether everything works, in seconds: nothing that it prints is evidence."""

Quick = Annotated[
    bool,
    typer.Option(
        "--quick",
        help="A small world, few updates: under a minute, no evidence.",
        show_default="off",
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out",
        help="Folder for everything; a former demo in it is replaced.",
        show_default="demo, or demo-quick",
    ),
]
Scenario = Annotated[
    str,
    typer.Option(
        "--scenario",
        help=f"Mixture of the logging agent: {', '.join(SCENARIOS)}.",
        autocompletion=one_of(SCENARIOS),
    ),
]
Rounds = Annotated[
    int | None,
    typer.Option(
        "--rounds",
        parser=integer,
        help="Rounds logged for each seed.",
        show_default=f"{FULL.num_rounds}, or {QUICK.num_rounds}",
    ),
]
Steps = Annotated[
    int | None,
    typer.Option(
        "--steps",
        parser=integer,
        help="Updates of each agent.",
        show_default=f"{FULL.steps}, or {QUICK.steps}",
    ),
]
Seeds = Annotated[
    list[int] | None,
    typer.Option(
        "--seeds",
        parser=integer,
        metavar="SEED...",
        help="Of the replicates.",
        show_default="0 1 2, or 0 1",
    ),
]


def demo(
    quick: Quick = False,
    out: Out = None,
    scenario: Scenario = "extreme",
    rounds: Rounds = None,
    steps: Steps = None,
    seeds: Seeds = None,
    embeddings: CatalogueVectors = None,
    normalize: Normalize = False,
    world: World = None,
    device: Device = "cpu",
) -> None:
    """Log, train, evaluate and draw: the whole line in one command."""
    parameters = world_parameters(world, embeddings, normalize)
    if "embeddings" in parameters:
        parameters["normalize"] = True
    run_demo(
        out or ("demo-quick" if quick else "demo"),
        quick=quick,
        scenario=scenario,
        num_rounds=rounds,
        steps=steps,
        seeds=seeds,
        env_kwargs=parameters,
        device=device,
    )


def run_demo(
    out: str | Path = "demo",
    *,
    quick: bool = False,
    scenario: str = "extreme",
    num_rounds: int | None = None,
    steps: int | None = None,
    seeds: Sequence[int] | None = None,
    env_kwargs: Mapping[str, Any] | None = None,
    device: str = "cpu",
    progress: bool = True,
) -> Path:
    """Log, train, evaluate and draw, into one folder.

    A seed is a replicate: it draws its own log, initialisation and order of batches.

    Args:
        out: folder for everything; a former demo there is replaced, another folder is refused.
        quick: a small world and few updates, :data:`QUICK` in place of :data:`FULL` for what is not
            given; all results are marked as no evidence.
        scenario: of the logging agent.
        num_rounds: rounds logged for each seed.
        steps: updates of each agent.
        seeds: of the replicates.
        env_kwargs: the world, for example ``{"embeddings": path, "normalize": True}``.
        device: where everything is computed.
        progress: show rates and time left on a terminal.

    Returns:
        the folder.

    Raises:
        FileExistsError: ``out`` is there and is not a demo's.
        ValueError, OSError: as the parts say.
    """
    from recsim_drpo.core.files import exchange, staged
    from recsim_drpo.datasets.staging import minari_root
    from recsim_drpo.simulator.world import make_world

    started = time.monotonic()
    out = Path(out)
    _check_replaceable(out)
    size = _sized(QUICK if quick else FULL, num_rounds, steps, seeds, env_kwargs or {})
    world = make_world(device, **size.world)
    config = TrainingConfig(steps=size.steps)
    if progress:
        print(_announced(size, quick), flush=True)
    with staged(out) as partial:
        partial.mkdir()
        (partial / _MARKER).touch()
        with minari_root(partial / "minari"):
            _fill(partial, world, scenario, size, config, quick, progress)
        if out.exists():
            exchange(partial, out)
        else:
            partial.rename(out)
    print((out / "results.md").read_text(encoding="utf-8"))
    print(f"Done in {time.monotonic() - started:.0f} s. {_next_steps(out, scenario, size, quick)}")
    return out


def _sized(
    default: Size,
    num_rounds: int | None,
    steps: int | None,
    seeds: Sequence[int] | None,
    world: Mapping[str, Any],
) -> Size:
    """The size, with what was given in place of the default; a file's vectors have their own."""
    from recsim_drpo.core.validation import check_seeds

    drawn = {} if "embeddings" in world else default.world
    return replace(
        default,
        num_rounds=default.num_rounds if num_rounds is None else num_rounds,
        steps=default.steps if steps is None else steps,
        seeds=check_seeds(default.seeds if seeds is None else seeds),
        world={**drawn, **world},
    )


def _announced(size: Size, quick: bool) -> str:
    """What is about to be done."""
    how_long = "under a minute, and no evidence" if quick else "some minutes by default"
    return (
        f"Logging {size.num_rounds:,} rounds a seed ({', '.join(map(str, size.seeds))}), then "
        f"training {', '.join(AGENTS)}, {size.steps:,} updates each: {how_long}."
    )


def _check_replaceable(out: Path) -> None:
    """Raise ``FileExistsError`` if ``out`` holds anything that a demo did not make."""
    if not out.exists():
        return
    if not (out / _MARKER).exists():
        raise FileExistsError(
            f"{str(out)!r} is there and is no demo's folder; choose another --out."
        )
    own = {_MARKER, "dataset", "minari", "runs", *_REPORTS}
    foreign = [path for path in out.iterdir() if path.name not in own]
    foreign += [p for p in (out / "minari").iterdir() if p.name not in ("demo", ".recsim-drpo")]
    foreign += [p for p in (out / "runs").iterdir() if p.name not in AGENTS]
    if foreign:
        raise FileExistsError(
            f"{str(foreign[0])!r} is in the former demo's folder and not of its making; move it "
            "away, or choose another --out."
        )


def _fill(
    folder: Path,
    world: SimulatedWorld,
    scenario: str,
    size: Size,
    config: TrainingConfig,
    quick: bool,
    progress: bool,
) -> None:
    """Write everything into a folder: datasets, runs, tables and pictures."""
    from recsim_drpo.cli import demo_report
    from recsim_drpo.datasets.generate import generate_dataset
    from recsim_drpo.evaluation.bandit import Evaluator
    from recsim_drpo.simulator.reference_policies import reference_policy

    validation = Evaluator(world, size.validation_users, split="validation")
    test = Evaluator(world, size.test_users, split="test")
    datasets = {
        seed: generate_dataset(
            f"demo/{scenario}-seed{seed}-v0",
            scenario=scenario,
            num_rounds=size.num_rounds,
            seed=seed,
            env_kwargs=size.world,
            device=str(world.device),
            card=seed == size.seeds[0],
            progress=progress,
        )
        for seed in size.seeds
    }
    _copy_pictures(datasets[size.seeds[0]], folder / "dataset")
    trained = _train(datasets, config, validation, progress)
    _keep(trained, datasets, config, folder / "runs")
    evaluations = {name: [test(run.agent) for run in runs] for name, runs in trained.items()}
    references = {
        name: test(reference_policy(name, world, scenario)) for name in (*REFERENCE_ROWS, "oracle")
    }
    setting = demo_report.Setting(scenario, size.num_rounds, config.steps, size.seeds, quick)
    demo_report.write_results(folder, setting, evaluations, references)
    curves = {name: [run.history for run in runs] for name, runs in trained.items()}
    levels = {
        name: validation(reference_policy(name, world, scenario)).ecpm.value
        for name in ("oracle", "popularity", "logger")
    }
    demo_report.draw_curves(folder / "learning_curves.png", curves, levels, quick)


def _train(
    datasets: Mapping[int, MinariDataset],
    config: TrainingConfig,
    evaluator: Evaluator,
    progress: bool,
) -> dict[str, list[Trained]]:
    """Train each agent on the dataset of each seed; by the agents' names, in the seeds' order."""
    from recsim_drpo.core.torch_settings import threads
    from recsim_drpo.datasets.load import load_transitions
    from recsim_drpo.training.sweep import train_many

    with threads(1):  # networks this small gain nothing from more, and wait for them
        trained = train_many(
            {name: [{}] for name in AGENTS},
            {
                seed: load_transitions(log, device=evaluator.world.device)
                for seed, log in datasets.items()
            },
            config,
            seeds=list(datasets),
            evaluator=evaluator,
            progress=progress,
        )
    return {name: [each for each in trained if each.run.agent == name] for name in AGENTS}


def _keep(
    trained: Mapping[str, Sequence[Trained]],
    datasets: Mapping[int, MinariDataset],
    config: TrainingConfig,
    folder: Path,
) -> None:
    """Save the run folders: ``AGENT/seed-N``."""
    from recsim_drpo.runs.folder import save_trained, source_of

    for name, runs in trained.items():
        for each in runs:
            seed = each.run.seed
            save_trained(folder / name / f"seed-{seed}", each, config, source_of(datasets[seed]))


def _copy_pictures(dataset: MinariDataset, folder: Path) -> None:
    """Copy a dataset's card and its pictures."""
    folder.mkdir()
    card = Path(dataset.spec.data_path).parent
    for path in [*card.glob("*.png"), card / "README.md"]:
        shutil.copy(path, folder / path.name)


def _next_steps(out: Path, scenario: str, size: Size, quick: bool) -> str:
    """Say where everything is, and what to type next."""
    dataset = f"demo/{scenario}-seed{size.seeds[0]}-v0"
    again = "demo" if quick else "demo --embeddings YOUR_VECTORS.npy --out demo-mine"
    activate = ""
    if shutil.which("recsim-drpo") is None:
        activate = f"\n  source {shlex.quote(str(Path(sys.prefix) / 'bin' / 'activate'))}"
    return f"""Everything is in {out}/:
  results.md, results.png, learning_curves.png   what was learnt
  dataset/                                       what was logged: card and pictures
  runs/                                          checkpoints with their configuration
  minari/                                        the datasets

Next:{activate}
  export MINARI_DATASETS_PATH={shlex.quote(str((out / "minari").resolve()))}
  recsim-drpo train --dataset {dataset} --agent drpo --set min_kappa=0.02 --out runs/mine
  recsim-drpo evaluate runs/mine {shlex.quote(str(out / "runs"))}
  recsim-drpo locate {dataset}  # does such a log call for a filter?
  recsim-drpo {again}"""
