"""What reads files of embeddings, ids and contexts, tried on files that are damaged."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
from safetensors.numpy import save_file

from recsim_drpo.datasets.items import resolve_items
from recsim_drpo.serving.readers import open_contexts
from recsim_drpo.simulator.embeddings import load_embeddings, load_item_ids
from tests.faults.campaign import Input
from tests.faults.damage import damage_bytes, damage_npy, damage_npz, damage_safetensors

DIM = 4
ITEMS = ("items.npy", "items.npz", "packed.npz", "items.safetensors", "items.parquet", "items.csv")
IDS = ("ids.npy", "ids.txt")
CONTEXTS = ("contexts.csv", "contexts.parquet", "contexts.jsonl")


def make(folder: Path) -> None:
    """Make a file of each kind."""
    random = np.random.default_rng(0)
    vectors = random.standard_normal((40, DIM)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    ids = np.arange(40) * 7
    np.save(folder / "items.npy", vectors)
    np.savez(folder / "items.npz", embeddings=vectors, item_ids=ids)
    np.savez_compressed(folder / "packed.npz", embeddings=vectors, item_ids=ids.astype(str))
    save_file({"embeddings": vectors, "item_ids": ids}, folder / "items.safetensors")
    columns = {"item_id": ids, **{f"e_{n}": vectors[:, n] for n in range(DIM)}}
    pyarrow.parquet.write_table(pyarrow.table(columns), folder / "items.parquet")
    np.save(folder / "ids.npy", ids)
    (folder / "ids.txt").write_text("\n".join(map(str, ids)))
    table = {"user": ids, **{f"context_{n}": vectors[:, n] for n in range(DIM)}}
    pyarrow.parquet.write_table(pyarrow.table(table), folder / "contexts.parquet")
    rows = zip(*(column.tolist() for column in table.values()), strict=True)
    lines = [",".join(map(str, row)) for row in rows]
    (folder / "contexts.csv").write_text("\n".join([",".join(table), *lines]) + "\n")
    (folder / "items.csv").write_text("\n".join([",".join(columns), *lines]) + "\n")
    objects = pyarrow.table(table).to_pylist()
    (folder / "contexts.jsonl").write_text("\n".join(str(row).replace("'", '"') for row in objects))


def _embeddings(path: Path) -> Any:
    vectors, ids = load_embeddings(path)
    resolve_items(path, normalize=True)
    return vectors.tolist(), ids.tolist()


def _contexts(path: Path) -> Any:
    table = open_contexts(path, DIM, id_column="user")
    return [(piece.ids, piece.contexts.tolist()) for piece in table.pieces]


def _doors(folder: Path, name: str) -> dict[str, Callable[[], Any]]:
    read: Callable[[Path], Any] = _embeddings
    if name in IDS:
        read = lambda path: load_item_ids(path).tolist()  # noqa: E731
    elif name in CONTEXTS:
        read = _contexts
    return {name: lambda: read(folder / name)}


def expected(samples: Path) -> dict[str, Any]:
    """What each file is read as before it is damaged."""
    return {
        name: door()
        for file in (*ITEMS, *IDS, *CONTEXTS)
        for name, door in _doors(samples, file).items()
    }


def damaged(folder: Path, random: Random) -> Input:
    """Damage one of the files."""
    name = random.choice((*ITEMS, *IDS, *CONTEXTS))
    path = folder / name
    if random.random() < 0.4:
        return Input(damage_bytes(path, random), _doors(folder, name), False)
    if path.suffix == ".npy":
        data, what = damage_npy(path.read_bytes(), random)
        path.write_bytes(data)
    elif path.suffix == ".npz":
        what = damage_npz(path, random)
    elif path.suffix == ".safetensors":
        what = damage_safetensors(path, random)
    else:
        what = damage_bytes(path, random)
    return Input(f"{name} {what}", _doors(folder, name), False)
