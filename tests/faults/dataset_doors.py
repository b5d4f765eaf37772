"""What reads a dataset, tried on datasets that are damaged."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import gymnasium as gym
import minari
import numpy as np
from minari.data_collector import EpisodeBuffer

from recsim_drpo import generate_dataset, load_transitions
from recsim_drpo.benchmarks.reproduce.advice.log_features import features_of_log
from recsim_drpo.datasets.append_log import append_log
from recsim_drpo.datasets.import_log import import_log, import_summary
from recsim_drpo.datasets.imported import imported_context, imported_items, is_imported, reward_unit
from recsim_drpo.datasets.importing.columns import Columns
from recsim_drpo.datasets.items import resolve_items
from recsim_drpo.datasets.load import open_dataset
from recsim_drpo.evaluation.evaluate import evaluator_for
from recsim_drpo.ope.drift_logs import read_compared_log
from recsim_drpo.ope.held_out import load_and_hold_out
from recsim_drpo.ope.logs import read_item_log
from recsim_drpo.ope.split import held_out_part
from recsim_drpo.runs.folder import source_of
from tests.faults.campaign import Input
from tests.faults.damage import damage_bytes, damage_hdf5, damage_json, damage_npz

WORLD = {"num_items": 12, "embedding_dim": 4, "num_topics": 3, "context_dim": 3}
NAMES = ("bandit-v0", "sessions-v0", "imported-v0", "foreign-v0", "arrow-v0")
LOG = "sku,click,propensity,age,device,day,page\n" + "".join(
    f"{10 + n % 4},{n % 2},0.5,{n / 7},{'phone' if n % 3 else 'tablet'},{n},{n // 2}\n"
    for n in range(40)
)


def make(folder: Path) -> None:
    """Make the datasets, each quick to read."""
    os.environ["MINARI_DATASETS_PATH"] = str(folder / "minari")
    quick: dict[str, Any] = {"card": False, "progress": False, "env_kwargs": WORLD}
    generate_dataset("bandit-v0", num_rounds=40, **quick)
    generate_dataset("sessions-v0", env="RecSimZipfSession-v0", num_rounds=12, **quick)
    (folder / "log.csv").write_text(LOG)
    items = np.eye(4, dtype=np.float32), np.array([10, 11, 12, 13])
    columns = Columns(
        numbers=["age"],
        categories=["device"],
        hashes={"page": 4},
        item="sku",
        reward="click",
        keep=["day"],
        time="day",
        request="page",
    )
    import_log("imported-v0", folder / "log.csv", items, columns, progress=False)
    random = np.random.default_rng(0)
    buffers = [
        EpisodeBuffer(
            observations=random.random((n + 1, 2, 2)),
            actions=random.random((n, 3)),
            rewards=random.random(n),
            terminations=np.arange(n) == n - 1,
            truncations=np.zeros(n, bool),
            infos={"item_id": np.arange(n + 1), "label": ["a"] * (n + 1)},
        )
        for n in (3, 5)
    ]
    for name, form in (("foreign-v0", "hdf5"), ("arrow-v0", "arrow")):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _create(name, buffers, form)


def _create(name: str, buffers: list[EpisodeBuffer], form: str) -> None:
    minari.create_dataset_from_buffers(
        dataset_id=name,
        buffer=buffers,
        observation_space=gym.spaces.Box(-9, 9, (2, 2), np.float64),
        action_space=gym.spaces.Box(-9, 9, (3,), np.float64),
        data_format=form,
        algorithm_name="x",
        author="y",
        author_email="z@example.org",
        code_permalink="p",
    )


def _numbers(*arrays: Any) -> list[Any]:
    return [np.asarray(array).tolist() for array in arrays if array is not None]


def _transitions(name: str) -> Any:
    batch = load_transitions(open_dataset(name), infos=["item_id"]).as_batch()
    return _numbers(*batch[:-1], batch.infos["item_id"])


def _item_log(name: str) -> Any:
    log = read_item_log(name)
    return _numbers(log.contexts, log.items, log.rewards, log.propensities, log.embeddings)


def _compared(name: str) -> Any:
    log = read_compared_log(name)
    return [log.names, *_numbers(log.contexts, log.items, log.rewards, log.requests)]


def _held_out(name: str) -> Any:
    dataset = open_dataset(name)
    first, _ = load_and_hold_out(dataset, 0.2)
    part = held_out_part(read_item_log(dataset), dataset, 0.2)
    return _numbers(first.as_batch().rewards, part.rewards)


def _about(name: str) -> Any:
    dataset = open_dataset(name)
    found: list[Any] = [source_of(dataset), resolve_items(dataset).checksum]
    if is_imported(dataset):
        found += [imported_context(dataset), imported_items(dataset)[1].tolist()]
        found += [reward_unit(dataset).span, import_summary(dataset)]
    return found


def _world(name: str) -> Any:
    return evaluator_for(open_dataset(name).spec.env_spec, 5) is not None


def _features(name: str) -> Any:
    return features_of_log(load_transitions(open_dataset(name), infos=["item_id"]))


def _append(name: str, log: Path) -> Any:
    append_log(name, log, progress=False)
    return None


def _doors(name: str) -> dict[str, Callable[[], Any]]:
    doors: dict[str, Callable[[str], Any]] = {
        "load_transitions": _transitions,
        "read_item_log": _item_log,
        "read_compared_log": _compared,
        "load_and_hold_out": _held_out,
        "source_of": _about,
        "evaluator_for": _world,
        "features_of_log": _features,
    }
    return {f"{name} {door}": lambda read=read: read(name) for door, read in doors.items()}  # type: ignore[misc]


def expected(samples: Path) -> dict[str, Any]:
    """What each door returns of each dataset before it is damaged, where it reads it."""
    os.environ["MINARI_DATASETS_PATH"] = str(samples / "minari")
    found = {}
    for name in NAMES:
        for door, read in _doors(name).items():
            try:
                found[door] = read()
            except ValueError:
                continue
    return found


def damaged(folder: Path, random: Random) -> Input:
    """Damage one of the datasets."""
    os.environ["MINARI_DATASETS_PATH"] = str(folder / "minari")
    name = random.choice(NAMES)
    root = folder / "minari" / name
    kind, exact = random.random(), False
    hdf5 = root / "data" / "main_data.hdf5"
    if kind < 0.35:
        what = damage_json(root / "data" / "metadata.json", random)
    elif kind < 0.65 and hdf5.is_file():
        what, exact = damage_hdf5(hdf5, random), True
    elif kind < 0.75 and (root / "items.npz").is_file():
        what = damage_npz(root / "items.npz", random)
    elif kind < 0.85 and (root / "columns.json").is_file():
        what = damage_json(root / "columns.json", random)
    elif kind < 0.87:
        path = random.choice([path for path in root.rglob("*") if path.is_file()])
        path.unlink()
        what = f"{path.name} gone"
    else:
        parts = [path for path in root.rglob("*") if path.is_file() and path.suffix != ".md"]
        what = damage_bytes(random.choice(parts), random)
    doors = _doors(name)
    return Input(
        f"{name} {what}", {door: doors[door] for door in random.sample([*doors], 3)}, exact
    )
