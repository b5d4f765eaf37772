"""Items and coding of the context that an imported dataset has beside its rounds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from minari import MinariDataset

from recsim_drpo.core.reward_unit import RewardUnit
from recsim_drpo.datasets.importing.columns import COLUMNS as COLUMNS, read_columns
from recsim_drpo.datasets.items import resolve_items
from recsim_drpo.datasets.soundness import metadata_of
from recsim_drpo.simulator.embeddings import Embeddings


def is_imported(dataset: MinariDataset) -> bool:
    """Whether a dataset was made by :func:`recsim_drpo.datasets.import_log.import_log`."""
    return metadata_of(dataset).get("import") is not None


def recorded_infos(dataset: MinariDataset) -> list[str]:
    """Info columns that a dataset has by its metadata, where it was generated or imported here."""
    metadata = metadata_of(dataset)
    about = metadata.get("import")
    if about is None:
        return ["item_id", "propensity"] if metadata.get("logging_config") else []
    told = {"propensity": "propensities", "time": "time", "request": "request"}
    return ["item_id", *(name for name, key in told.items() if about.get(key) is not None)]


def imported_context(dataset: MinariDataset) -> dict[str, Any]:
    """How an imported dataset's contexts are coded, see :class:`.importing.coding.ContextCoder`.

    It has the columns that are ``numbers``, and the ``categories`` of others; ``hashes`` where
    columns are hashed, and ``coding`` where they were measured.

    Raises:
        FileNotFoundError, ValueError: its ``columns.json`` is not there or damaged.
    """
    columns = read_columns(Path(dataset.spec.data_path).parent / COLUMNS)
    context = {name: columns[name] for name in ("numbers", "categories")}
    further = {name: columns.get(name) for name in ("hashes", "coding")}
    return context | {name: value for name, value in further.items() if value}


def reward_unit(dataset: MinariDataset) -> RewardUnit:
    """The unit of a dataset's rewards: what 0 and 1 stand for in the log that it was imported from.

    Where nothing is said of it, as in generated datasets and in those imported before there were
    units, rewards are in their own.
    """
    low, high = (metadata_of(dataset).get("import") or {}).get("reward_range") or (0.0, 1.0)
    return RewardUnit(low, high)


def stored_range(dataset: MinariDataset) -> tuple[float, float]:
    """The smallest and the largest reward that an imported dataset can hold, as they are stored.

    That is 0 to 1, but of datasets imported before rewards had a unit: theirs is the log's own.
    """
    if metadata_of(dataset)["import"].get("reward_range") is not None:
        return 0.0, 1.0
    columns = read_columns(Path(dataset.spec.data_path).parent / COLUMNS)
    low, high = columns.get("reward_range", (0.0, 1.0))
    return float(low), float(high)


def imported_items(dataset: MinariDataset) -> Embeddings:
    """Item vectors, float32 (N, d), and their ids (N,), of an imported dataset.

    Raises:
        ValueError: the dataset was not imported.
    """
    if not is_imported(dataset):
        raise ValueError(f"Dataset {dataset.id!r} was not made by recsim-drpo import.")
    items = resolve_items(dataset)
    return items.embeddings, items.item_ids
