"""Items and coding of the context that an imported dataset has beside its rounds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from minari import MinariDataset

from recsim_drpo.datasets.importing.columns import read_columns
from recsim_drpo.datasets.items import resolve_items
from recsim_drpo.simulator.embeddings import Embeddings

COLUMNS = "columns.json"


def is_imported(dataset: MinariDataset) -> bool:
    """Whether a dataset was made by :func:`recsim_drpo.datasets.import_log.import_log`."""
    return "import" in dataset.storage.metadata


def imported_context(dataset: MinariDataset) -> dict[str, Any]:
    """Columns of an imported dataset's context: its ``numbers`` and its ``categories``.

    Raises:
        FileNotFoundError, ValueError: its ``columns.json`` is not there or damaged.
    """
    columns = read_columns(Path(dataset.spec.data_path).parent / COLUMNS)
    return {name: columns[name] for name in ("numbers", "categories")}


def imported_items(dataset: MinariDataset) -> Embeddings:
    """Item vectors, float32 (N, d), and their ids (N,), of an imported dataset.

    Raises:
        ValueError: the dataset was not imported.
    """
    if not is_imported(dataset):
        raise ValueError(f"Dataset {dataset.id!r} was not made by recsim-drpo import.")
    items = resolve_items(dataset)
    return items.embeddings, items.item_ids
