"""What the tests of datasets share: datasets made quickly, and a shop's log to import."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import minari
import numpy as np
import pytest
from minari import MinariDataset
from numpy.typing import NDArray

from recsim_drpo import generate_dataset
from recsim_drpo.datasets.import_log import import_log
from recsim_drpo.datasets.importing.columns import Columns


@pytest.fixture
def generate(minari_root: Path) -> Callable[..., MinariDataset]:
    """Makes a dataset of 500 rounds, without a card."""

    def make(dataset_id: str, kwargs: Mapping[str, Any] | None, **options: Any) -> MinariDataset:
        options = {"card": False, "progress": False, "num_rounds": 500, **options}
        return generate_dataset(dataset_id, env_kwargs=kwargs, **options)

    return make


@pytest.fixture
def arrays() -> Callable[[MinariDataset], dict[str, NDArray[Any]]]:
    """Reads all arrays of a dataset as Minari has them, by name."""

    def read(dataset: MinariDataset) -> dict[str, NDArray[Any]]:
        columns: dict[str, list[NDArray[Any]]] = {}
        for episode in dataset.iterate_episodes():
            for name in ("observations", "actions", "rewards", "terminations", "truncations"):
                columns.setdefault(name, []).append(getattr(episode, name))
            for name, column in episode.infos.items():
                columns.setdefault(name, []).append(column)
        return {name: np.concatenate(parts) for name, parts in columns.items()}

    return read


@pytest.fixture
def nothing_is_left(minari_root: Path) -> Callable[[], bool]:
    """Whether there is no dataset, and no file of one."""

    def look() -> bool:
        minari_root.mkdir(exist_ok=True)
        files = [path.name for path in minari_root.rglob("*") if path.is_file()]
        return not minari.list_local_datasets() and all(name.endswith(".lock") for name in files)

    return look


class Shop:
    """Three good rounds of a shop, and how they are imported."""

    HEADER = "sku,click,propensity,age,device,day\n"
    GOOD = ("11,1,0.5,0.25,phone,1", "13,0,0.125,-2,tablet,2", "10,1,1,3e1,phone,3")
    VECTORS = np.eye(4, dtype=np.float32)
    ITEMS = (VECTORS, np.array([10, 11, 12, 13]))
    COLUMNS = Columns(
        numbers=["age"],
        categories=["device"],
        item="sku",
        reward="click",
        keep=["day"],
        transforms={"age": "none"},
    )

    def __init__(self, root: Path) -> None:
        self.folder = root / "own/log-v0"

    @staticmethod
    def write(path: Path, rows: Sequence[str], header: str = HEADER, end: str = "\n") -> Path:
        """Write a log as text."""
        path.write_text(header + "\n".join(rows) + end)
        return path

    @staticmethod
    def load(
        path: Path, columns: Columns = COLUMNS, items: Any = ITEMS, **options: Any
    ) -> MinariDataset:
        """Import a log as own/log-v0."""
        options = {"max_refused": 1.0, "progress": False, **options}
        return import_log("own/log-v0", path, items, columns, **options)

    def rejected(self) -> list[tuple[str, ...]]:
        """The rows of refused.csv."""
        with (self.folder / "refused.csv").open(newline="") as file:
            return [tuple(row) for row in csv.reader(file)][1:]

    @classmethod
    def as_table(cls, rows: Sequence[str] = GOOD) -> Any:
        """The rows as a pyarrow table."""
        import pyarrow

        cells = [row.split(",") for row in rows]
        types = [int, int, float, float, str, int]
        names = cls.HEADER.strip().split(",")
        return pyarrow.table(
            {
                name: [kind(row[i]) for row in cells]
                for i, (name, kind) in enumerate(zip(names, types, strict=True))
            }
        )


@pytest.fixture
def shop(minari_root: Path) -> Shop:
    """A shop whose log is imported."""
    return Shop(minari_root)
