"""The main job end to end: logs, two agents, their value, pictures; ``recsim-drpo demo``."""

from __future__ import annotations

import json
import shlex
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from minari import MinariDataset

from recsim_drpo.core.provenance import versions
from recsim_drpo.core.torch_settings import threads
from recsim_drpo.core.validation import check_seeds
from recsim_drpo.datasets.generate import generate_dataset
from recsim_drpo.datasets.load import load_transitions
from recsim_drpo.datasets.staging import minari_root
from recsim_drpo.evaluation.bandit import Evaluation, Evaluator
from recsim_drpo.reporting import plots
from recsim_drpo.reporting.statistics import Estimate, seed_interval
from recsim_drpo.reporting.tables import markdown_table
from recsim_drpo.runs import folder as runs
from recsim_drpo.simulator.reference_policies import reference_policy
from recsim_drpo.simulator.world import World, make_world
from recsim_drpo.training.config import TrainingConfig
from recsim_drpo.training.loop import Row
from recsim_drpo.training.sweep import train_many

AGENTS = ("bc", "drpo")
REFERENCE_ROWS = ("random", "popularity", "logger")
_MARKER = ".recsim-drpo-demo"
_REPORTS = ("results.md", "results.json", "results.png", "learning_curves.png")
_COLUMNS = (
    "policy",
    "eCPM",
    "95 % interval",
    "of optimum",
    "Dist.",
    "items shown",
    "interval over",
)


def run_demo(
    out: str | Path = "demo",
    *,
    scenario: str = "extreme",
    num_rounds: int = 200_000,
    steps: int = 5_000,
    seeds: Sequence[int] = (0, 1, 2),
    env_kwargs: Mapping[str, Any] | None = None,
    device: str = "cpu",
    progress: bool = True,
) -> Path:
    """Log, train, evaluate and draw, into one folder.

    A seed is a replicate: it draws its own log, initialisation and order of batches.

    Args:
        out: folder for everything; a former demo there is replaced, another folder is refused.
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
    started = time.monotonic()
    out = Path(out)
    _check_replaceable(out)
    world = make_world(device, **(env_kwargs or {}))
    config = TrainingConfig(steps=steps)
    seeds = check_seeds(seeds)
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)  # of a demo that was killed
    partial.mkdir()
    try:
        (partial / _MARKER).touch()
        with minari_root(partial / "minari"):
            _fill(partial, world, scenario, num_rounds, config, seeds, env_kwargs, progress)
        if out.exists():
            shutil.rmtree(out)
        partial.rename(out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    print((out / "results.md").read_text(encoding="utf-8"))
    print(f"Done in {time.monotonic() - started:.0f} s. {_next_steps(out, scenario, seeds[0])}")
    return out


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
    world: World,
    scenario: str,
    num_rounds: int,
    config: TrainingConfig,
    seeds: Sequence[int],
    env_kwargs: Mapping[str, Any] | None,
    progress: bool,
) -> None:
    validation = Evaluator(world, 2_000, split="validation")
    test = Evaluator(world, 10_000, split="test")
    datasets = {
        seed: generate_dataset(
            f"demo/{scenario}-seed{seed}-v0",
            scenario=scenario,
            num_rounds=num_rounds,
            seed=seed,
            env_kwargs=env_kwargs,
            device=str(world.device),
            card=seed == seeds[0],
            progress=progress,
        )
        for seed in seeds
    }
    _copy_pictures(datasets[seeds[0]], folder / "dataset")
    with threads(1):  # networks this small gain nothing from more, and wait for them
        trained = train_many(
            {name: [{}] for name in AGENTS},
            {seed: load_transitions(one, device=world.device) for seed, one in datasets.items()},
            config,
            seeds=seeds,
            evaluator=validation,
            progress=progress,
        )
    found: dict[str, list[Evaluation]] = {name: [] for name in AGENTS}
    curves: dict[str, list[list[Row]]] = {name: [] for name in AGENTS}
    for one in trained:
        name, seed = one.run.agent, one.run.seed
        curves[name].append(one.history)
        found[name].append(test(one.agent))
        source = runs.source_of(datasets[seed])
        runs.save_trained(folder / "runs" / name / f"seed-{seed}", one, config, source)
    references = {
        name: test(reference_policy(name, world, scenario)) for name in (*REFERENCE_ROWS, "oracle")
    }
    _report(
        folder,
        scenario,
        num_rounds,
        steps=config.steps,
        seeds=seeds,
        found=found,
        references=references,
    )
    levels = {
        name: validation(reference_policy(name, world, scenario)).ecpm.value
        for name in ("oracle", "popularity", "logger")
    }
    _draw_curves(folder / "learning_curves.png", curves, levels)


def _report(
    folder: Path,
    scenario: str,
    num_rounds: int,
    steps: int,
    seeds: Sequence[int],
    found: Mapping[str, Sequence[Evaluation]],
    references: Mapping[str, Evaluation],
) -> None:
    rows: list[list[str]] = []
    shown: dict[str, Estimate] = {}

    def add(name: str, ecpm: Estimate, of: Sequence[Evaluation], over: str) -> None:
        shown[name] = ecpm
        share = float(np.mean([one.normalized.value for one in of]))
        distance = float(np.mean([one.distance.value for one in of]))
        coverage = float(np.mean([one.coverage for one in of]))
        interval = f"{ecpm.low:.2f} to {ecpm.high:.2f}" if np.isfinite(ecpm.low) else "one seed"
        rows.append(
            [
                name,
                f"{ecpm.value:.2f}",
                interval,
                f"{share:.1%}",
                f"{distance:.2f}",
                f"{coverage:.1%}",
                over,
            ]
        )

    for name in REFERENCE_ROWS:
        add(name, references[name].ecpm, [references[name]], "users")
    for name, evaluations in found.items():
        ecpm = seed_interval([one.ecpm.value for one in evaluations])
        plural = "s" if len(evaluations) > 1 else ""
        add(name, ecpm, evaluations, f"{len(evaluations)} seed{plural}")
    add("oracle", references["oracle"].ecpm, [references["oracle"]], "users")

    difference = seed_interval(
        [a.ecpm.value - b.ecpm.value for a, b in zip(found["drpo"], found["bc"], strict=True)]
    )
    interval = f" [{difference.low:+.2f}, {difference.high:+.2f}]" if len(seeds) > 1 else ""
    table = markdown_table(_COLUMNS, rows)
    text = (
        f"# {scenario}: {num_rounds:,} logged rounds, {steps:,} steps, seeds "
        f"{', '.join(map(str, seeds))}\n\n{table}\n\n"
        f"DRPO - BC, paired by seed: eCPM {difference.value:+.2f}{interval}.\n"
        'Latent reward of test users. "of optimum" is 0 for items drawn at random and 100 % for '
        "the oracle. A seed draws its own log, initialisation and batches.\n"
    )
    (folder / "results.md").write_text(text, encoding="utf-8")
    results = {
        "scenario": scenario,
        "num_rounds": num_rounds,
        "steps": steps,
        "seeds": seeds,
        "versions": versions(),
        "agents": {name: [one.as_dict() for one in each] for name, each in found.items()},
        "references": {name: one.as_dict() for name, one in references.items()},
    }
    (folder / "results.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    try:
        plots.estimates(folder / "results.png", shown, "eCPM on test users, 95 % interval")
    except plots.PlotsMissingError as error:
        print(error)


def _draw_curves(
    path: Path, curves: Mapping[str, Sequence[Sequence[Row]]], levels: Mapping[str, float]
) -> None:
    drawn = {}
    for name, histories in curves.items():
        points = [[row for row in history if "ecpm" in row] for history in histories]
        steps = np.array([row["step"] for row in points[0]])
        drawn[name] = (steps, np.array([[row["ecpm"] for row in one] for one in points]))
    with suppress(plots.PlotsMissingError):
        plots.learning_curves(path, drawn, levels, "eCPM on validation users")


def _copy_pictures(dataset: MinariDataset, folder: Path) -> None:
    folder.mkdir()
    card = Path(dataset.spec.data_path).parent
    for path in [*card.glob("*.png"), card / "README.md"]:
        shutil.copy(path, folder / path.name)


def _next_steps(out: Path, scenario: str, seed: int) -> str:
    dataset = f"demo/{scenario}-seed{seed}-v0"
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
  recsim-drpo demo --embeddings YOUR_VECTORS.npy --out demo-mine"""
