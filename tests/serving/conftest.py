"""What the tests of serving share: a run of a small world, contexts, and files of both."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from numpy.typing import NDArray

import recsim_drpo  # noqa: F401 - registers the environment
from recsim_drpo.agents.registry import AgentSpec
from recsim_drpo.runs.folder import save_run


class Service:
    """Runs of a small world, contexts for them, and what was recommended."""

    DIM = 4
    WORLD = MappingProxyType(
        {"num_items": 60, "embedding_dim": 8, "num_topics": 3, "context_dim": DIM}
    )
    NAMES = tuple(f"context_{i}" for i in range(DIM))
    HEADER = ",".join(NAMES)
    ROW = "0.1,0.2,0.3,0.4"
    TRAINING = MappingProxyType({"steps": 1, "batch_size": 2, "seed": 0})

    @classmethod
    def make_run(
        cls,
        folder: Path,
        name: str = "bc",
        *,
        env: bool = True,
        change: Callable[[Any], None] | None = None,
        **hyperparameters: Any,
    ) -> Path:
        """Save an agent that has learnt nothing; ``change`` may alter it first."""
        spec = AgentSpec(name, cls.DIM, 8, 0, hyperparameters)
        agent = spec.make()
        if change is not None:
            change(agent)
        source = {"dataset": "try/small-v0"}
        if env:
            source["env_spec"] = gym.make("RecSimZipf-v0", **cls.WORLD).spec.to_json()
        save_run(folder, agent, [], cls.TRAINING, source, spec)
        return folder

    @classmethod
    def write_contexts(
        cls, path: Path, contexts: NDArray[np.float32], ids: Sequence[Any] | None = None
    ) -> Path:
        """Write contexts in the format that the suffix says, ids as the column ``user``."""
        columns = {"user": ids} if ids is not None else {}
        columns |= {name: contexts[:, i].tolist() for i, name in enumerate(cls.NAMES)}
        rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        if path.suffix == ".parquet":
            parquet = pytest.importorskip("pyarrow.parquet")
            parquet.write_table(sys.modules["pyarrow"].table(columns), path)
        elif path.suffix == ".jsonl":
            path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        else:
            with path.open("w", newline="") as file:
                writer = csv.DictWriter(file, list(columns))
                writer.writeheader()
                writer.writerows(rows)
        return path

    @staticmethod
    def read_results(path: Path) -> list[dict[str, Any]]:
        """Recommendations, a dictionary a row."""
        if path.suffix == ".parquet":
            return sys.modules["pyarrow"].parquet.read_table(path).to_pylist()
        if path.suffix == ".jsonl":
            return [json.loads(line) for line in path.read_text().splitlines()]
        with path.open(newline="") as file:
            return list(csv.DictReader(file))

    @staticmethod
    def plain(rows: Sequence[dict[str, Any]], key: str) -> list[tuple[str, int, str, float]]:
        """Recommendations without the types of their format."""
        return [
            (str(r[key]), int(r["rank"]), str(r["item_id"]), np.float32(r["score"]).item())
            for r in rows
        ]


@pytest.fixture
def service() -> type[Service]:
    return Service


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return Service.make_run(tmp_path / "run")


@pytest.fixture
def contexts() -> NDArray[np.float32]:
    return np.random.default_rng(0).uniform(-1, 1, (25, Service.DIM)).astype(np.float32)
