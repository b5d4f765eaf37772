"""A folder in which commands have something to do, and what of it anybody can see."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import warnings
from pathlib import Path
from typing import Any

import minari
import numpy as np
import torch

from recsim_drpo.benchmarks.reproduce.publishing.claims import BEGIN, END
from recsim_drpo.core.files import is_staged
from recsim_drpo.datasets.staging import minari_root
from recsim_drpo.runs.checkpoints import load_state
from tests.benchmarks.reproduce.published import README

WORLD = ["--world", "num_items=200", "embedding_dim=8", "num_topics=4"]
SMALL = ["--steps", "24", "--batch-size", "16", "--log-every", "8", "--evaluate-every", "12"]
SMALL += ["--set", "hidden_dim=8"]
COLUMNS = ["--item", "sku", "--reward", "clicked", "--propensity", "p", "--numbers", "age"]

_TIMES = frozenset(("wall_time_s", "seconds", "seconds_in_all"))
"""Keys whose values are never the same twice."""


def write_inputs(folder: Path) -> None:
    """Logs, items and contexts for the commands that read files."""
    generator = np.random.default_rng(0)
    np.savez(folder / "items.npz", embeddings=np.eye(4, dtype=np.float32), item_ids=list("abcd"))
    for name in ("first", "second"):
        rows = ["sku,clicked,p,age"]
        for age in generator.normal(size=300):
            rows.append(f"{'abcd'[generator.integers(4)]},{generator.integers(2)},0.25,{age:.4f}")
        rows.append("z,1,0.25,0.1")  # an item that is not there: refused
        (folder / f"{name}.csv").write_text("\n".join(rows) + "\n")
    ages = [f"{age:.4f}" for age in generator.normal(size=50)] + ["old"]
    (folder / "contexts.csv").write_text("age\n" + "\n".join(ages) + "\n")


def write_checkout(folder: Path) -> None:
    """Full results, made of the quick ones in ``results``, and a checkout to publish them in."""
    shutil.copytree(folder / "results", folder / "full")
    for path in (folder / "full").glob("*/result.json"):
        result = json.loads(path.read_text(encoding="utf-8"))
        path.write_text(json.dumps(result | {"quick": False}), encoding="utf-8")
    page = f"# How\n\n{BEGIN}\n{END}\n"
    (folder / "checkout" / "docs").mkdir(parents=True)
    (folder / "checkout" / "README.md").write_text(README)
    for name in ("reproduction", "when_to_filter"):
        (folder / "checkout" / "docs" / f"{name}.md").write_text(page)


class Sandbox:
    """A folder that is put back to what it was, again and again, under one name."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "here"
        self.template = folder / "template"

    def reset(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.copytree(self.template, self.folder)

    def seen(self, *, of: Path | None = None) -> dict[str, str]:
        """What a user sees: digests of the files by path, and ``folder/`` for those that are."""
        folder = self.folder if of is None else of
        paths = (path.relative_to(folder) for path in sorted(folder.rglob("*")))
        visible = [path for path in paths if not is_staged(path)]
        return {
            f"{path}/" if (folder / path).is_dir() else str(path): digest(folder / path)
            for path in visible
        }

    def staged(self) -> list[str]:
        """What lies in places of what is being written."""
        paths = (path.relative_to(self.folder) for path in sorted(self.folder.rglob("*")))
        return [str(path) for path in paths if is_staged(path)]

    def datasets(self) -> list[str]:
        """What Minari lists; an error where it warns of something damaged."""
        with minari_root(self.folder / "minari"), warnings.catch_warnings():
            warnings.simplefilter("error")
            return sorted(minari.list_local_datasets())


def digest(path: Path) -> str:
    """A digest of what is in a file, without how long it took and the order of tensors."""
    if path.is_dir():
        return ""
    if path.suffix == ".safetensors":
        content = repr(_plain(load_state(path))).encode()
    elif path.suffix == ".json":
        content = json.dumps(_timeless(json.loads(path.read_text(encoding="utf-8")))).encode()
    else:
        content = path.read_bytes()
    return hashlib.sha256(content).hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return str(value.dtype), tuple(value.shape), value.numpy(force=True).tobytes()
    if isinstance(value, dict):
        return sorted((name, _plain(one)) for name, one in value.items())
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _timeless(one) for name, one in value.items() if name not in _TIMES}
    return [_timeless(one) for one in value] if isinstance(value, list) else value


def is_below(path: str, folders: tuple[str, ...]) -> bool:
    """Whether a path is one of these, or in one of them."""
    return any(path.rstrip("/") == one or path.startswith(one + os.sep) for one in folders)
