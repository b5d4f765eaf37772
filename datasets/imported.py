"""Items and coding of the context that an imported dataset has beside its rounds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from minari import MinariDataset
from numpy.typing import NDArray

from recsim_drpo.core.messages import shown
from recsim_drpo.core.reward_unit import RewardUnit
from recsim_drpo.core.tables import open_table
from recsim_drpo.core.validation import unknown_name
from recsim_drpo.datasets.importing.columns import COLUMNS as COLUMNS, read_columns
from recsim_drpo.datasets.importing.kept import NO_TEXT, texts_file
from recsim_drpo.datasets.items import resolve_items
from recsim_drpo.datasets.soundness import metadata_of
from recsim_drpo.simulator.embeddings import Embeddings

_ROWS = 65_536


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


def kept_texts(
    dataset: MinariDataset, column: str, codes: NDArray[np.integer]
) -> NDArray[np.object_]:
    """The texts of a column of text that was kept when a log was imported.

    Args:
        dataset: made by :func:`recsim_drpo.datasets.import_log.import_log`.
        column: its name in the log and among the info columns.
        codes: of any shape, values of that info column; -1 is an empty cell.

    Returns:
        the text of each code, ``None`` for -1, as an array of that shape.

    Raises:
        ValueError: the column was not kept or is of numbers; a code is none of the column's.
    """
    folder = Path(dataset.spec.data_path).parent
    columns = read_columns(folder / COLUMNS)
    known = list(columns.get("texts") or ())
    if column not in known:
        raise unknown_name(f"kept column of text of {dataset.id!r}", column, known)
    needed = np.unique(codes[codes != NO_TEXT])
    found = np.full(len(needed), None, dtype=np.object_)
    logs = 1 + len(dataset.storage.metadata["import"].get("appended", ()))
    for log in range(1, logs + 1):
        path = texts_file(folder, log, column)
        if path.exists():  # an appended log may have none
            _look_up(path, needed, found)
    without = [code for code, text in zip(needed.tolist(), found, strict=True) if text is None]
    if without:
        raise ValueError(
            f"Column {shown(column)} of {dataset.id!r} has no text of code {without[0]}."
        )
    texts = np.array([*found, None], dtype=np.object_)
    return np.asarray(texts[np.where(codes == NO_TEXT, -1, np.searchsorted(needed, codes))])


def _look_up(path: Path, needed: NDArray[np.integer], found: NDArray[np.object_]) -> None:
    """Set the texts of codes, sorted, that a file has; memory holds a block of it."""
    with open_table(path, "parquet", path.name) as table:
        for block in table.blocks(["code", "text"], _ROWS):
            codes = block.cells["code"].to_numpy()
            places = np.searchsorted(needed, codes).clip(max=max(0, len(needed) - 1))
            here = np.flatnonzero(needed[places] == codes) if len(needed) else places[:0]
            found[places[here]] = block.cells["text"].take(here).to_pylist()


def imported_items(dataset: MinariDataset) -> Embeddings:
    """Item vectors, float32 (N, d), and their ids (N,), of an imported dataset.

    Raises:
        ValueError: the dataset was not imported.
    """
    if not is_imported(dataset):
        raise ValueError(f"Dataset {dataset.id!r} was not made by recsim-drpo import.")
    items = resolve_items(dataset)
    return items.embeddings, items.item_ids
