"""What reads run folders and trainings on their way, tried on folders that are damaged."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import torch

from recsim_drpo.agents.fleet import Fleet
from recsim_drpo.cli import main
from recsim_drpo.cli.evaluate import evaluate
from recsim_drpo.cli.training_plan import Plan
from recsim_drpo.datasets.items import resolve_items
from recsim_drpo.datasets.load import load_transitions
from recsim_drpo.envs.spec import WorldSpec
from recsim_drpo.runs.folder import load_agent, load_config
from recsim_drpo.runs.starting import initial_parameters
from recsim_drpo.runs.unfinished import Unfinished
from recsim_drpo.serving.recommender import load_recommender
from recsim_drpo.training.checkpointing import Checkpoint, Journal
from tests.faults.campaign import Input
from tests.faults.damage import damage_bytes, damage_json, damage_safetensors
from tests.faults.dataset_doors import make as make_datasets

RUNS = {"bandit-v0": "drpo", "imported-v0": "iql"}
UNFINISHED = "bppo"
KEPT = f"{UNFINISHED}, variant 0, seed 0, 1 together"


def _command(*words: str) -> None:
    with contextlib.redirect_stdout(io.StringIO()):
        if main(words) != 0:
            raise RuntimeError(f"recsim-drpo {' '.join(words)}")


def make(folder: Path) -> None:
    """Make datasets, a run on each of two, and a training that was stopped."""
    make_datasets(folder)
    common = ["--batch-size", "8", "--log-every", "2", "--set", "hidden_dim=8"]
    for dataset, agent in RUNS.items():
        words = ["--dataset", dataset, "--agent", agent, "--out", str(folder / agent)]
        _command("train", *words, "--steps", "4", *common)
    out = folder / UNFINISHED
    kept = folder / "kept"
    words = ["--dataset", "bandit-v0", "--agent", UNFINISHED, "--out", str(out), "--steps", "6"]
    remove = Unfinished.remove

    def keep(unfinished: Unfinished) -> None:
        shutil.copytree(unfinished.folder, kept)
        remove(unfinished)

    Unfinished.remove = keep  # type: ignore[method-assign]
    try:
        _command("train", *words, "--checkpoint-every", "2", *common)
    finally:
        Unfinished.remove = remove  # type: ignore[method-assign]
    shutil.rmtree(out)
    shutil.copytree(kept, out / "unfinished")
    shutil.rmtree(kept)


def _act(run: Path) -> Any:
    config = load_config(run)
    return load_agent(run).act(torch.zeros(2, config["observation_dim"])).tolist()


def _recommend(run: Path) -> Any:
    recommender = load_recommender(run)
    scores, rows = recommender.top(torch.zeros(2, recommender.observation_dim), 2)
    return scores.tolist(), rows.tolist()


def _start(run: Path, agent: str) -> Any:
    config = load_config(run)
    dims = config["observation_dim"], config["action_dim"]
    tensors, _ = initial_parameters(run, agent, dims, config["source"])
    return {name: tensor.tolist() for name, tensor in tensors.items()}


def _source(run: Path) -> Any:
    source = load_config(run)["source"]
    spec = WorldSpec.of(source.get("env_spec"))
    return resolve_items(source).checksum, spec is not None and spec.world() is not None


def _evaluate(run: Path) -> Any:
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        evaluate([run], num_users=5)
    return printed.getvalue().replace(str(run), "")


def _resume(out: Path) -> Any:
    """As ``train --resume``, without training."""
    unfinished, kept = Unfinished.open(out)
    plan = Plan.resumed(kept, Plan(None, None))
    log = load_transitions("bandit-v0")
    unfinished.check_log(log, "bandit-v0")
    dims = {"observation_dim": log.observation_dim, "action_dim": log.action_dim}
    fleet = Fleet(UNFINISHED, seeds=[0], overrides=[{"hidden_dim": 8}], **dims)
    found: list[Any] = [plan.config.steps, unfinished.every]
    journal = Journal(fleet, [[]], Checkpoint(unfinished, KEPT))
    return [*found, journal.restored(0, log.device), journal.histories]


def _doors(folder: Path, name: str) -> dict[str, Callable[[], Any]]:
    run = folder / name / "seed-0"
    if name == UNFINISHED:
        return {f"{name} resume": lambda: _resume(folder / name)}
    return {
        f"{name} load_agent": lambda: _act(run),
        f"{name} load_recommender": lambda: _recommend(run),
        f"{name} initial_parameters": lambda: _start(run, name),
        f"{name} source": lambda: _source(run),
        **({f"{name} evaluate": lambda: _evaluate(run)} if name == "drpo" else {}),
    }


def expected(samples: Path) -> dict[str, Any]:
    """What each door returns before the damage."""
    os.environ["MINARI_DATASETS_PATH"] = str(samples / "minari")
    names = (*RUNS.values(), UNFINISHED)
    return {door: read() for name in names for door, read in _doors(samples, name).items()}


def damaged(folder: Path, random: Random) -> Input:
    """Damage a file of a run, or of a training on its way."""
    os.environ["MINARI_DATASETS_PATH"] = str(folder / "minari")
    name = random.choice((*RUNS.values(), UNFINISHED))
    paths = [
        path
        for path in sorted((folder / name).rglob("*"))
        if path.suffix in (".json", ".safetensors")
    ]
    path = random.choice(paths)
    if random.random() < 0.25:
        what = damage_bytes(path, random)
    elif path.suffix == ".json":
        what = damage_json(path, random)
    else:
        what = damage_safetensors(path, random)
    return Input(f"{name} {what}", _doors(folder, name), False)
