"""Append a log to a dataset that was imported before: the same items, columns and coding."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import minari
import numpy as np
from minari import MinariDataset
from minari.dataset.minari_storage import MinariStorage

from recsim_drpo.core.executor import Engine
from recsim_drpo.core.reward_unit import RewardUnit
from recsim_drpo.core.validation import check_number
from recsim_drpo.datasets.import_log import (
    ImportOptions,
    add_rounds,
    described,
    estimated_bytes,
    import_counts,
    measured,
)
from recsim_drpo.datasets.imported import (
    COLUMNS,
    imported_items,
    is_imported,
    recorded_infos,
    reward_unit,
)
from recsim_drpo.datasets.importing.coding import ContextCoder
from recsim_drpo.datasets.importing.columns import Columns, expanded, read_columns
from recsim_drpo.datasets.importing.counts import ImportStats, widened
from recsim_drpo.datasets.importing.limits import MAX_REFUSED
from recsim_drpo.datasets.importing.rounds import RejectedRows, Rounds
from recsim_drpo.datasets.importing.storage import PackWriter
from recsim_drpo.datasets.importing.summary import write_card
from recsim_drpo.datasets.importing.table import Log, LogTable, open_log_table
from recsim_drpo.datasets.load import open_dataset
from recsim_drpo.datasets.root import dataset_folder
from recsim_drpo.datasets.soundness import episodes_of, info_column, metadata_of
from recsim_drpo.datasets.staging import new_dataset
from recsim_drpo.simulator.catalogue import Catalogue

_INFOS = ("item_id", "propensity", "time")


def append_log(
    dataset_id: str,
    log: Log,
    *,
    input_format: str | None = None,
    escape: str | None = None,
    max_refused: float = MAX_REFUSED,
    notes: Sequence[str] = (),
    excel_safe: bool = False,
    progress: bool = True,
    engine: Engine | None = None,
) -> MinariDataset:
    """Append a log to an imported dataset: its rounds come after those that are there.

    Columns, coding and items are the dataset's own. It changes in one step, and not at all where
    something fails; meanwhile the disk holds it twice. Rows that are refused are listed in
    ``refused-2.csv``, and so on.

    Args:
        dataset_id: of a dataset made by :func:`recsim_drpo.datasets.import_log.import_log`.
        log: see :func:`recsim_drpo.datasets.importing.table.open_log_table`, as for the next two.
        input_format: of the log's files.
        escape: of a log as CSV.
        max_refused: share of this log's rows, in [0, 1], that may be refused.
        notes: what else the card should say of this log.
        excel_safe: let no spreadsheet run a refused value as a formula.
        progress: show rate and time left on a terminal.
        engine: see :func:`recsim_drpo.datasets.import_log.import_log`.

    Returns:
        the dataset.

    Raises:
        FileNotFoundError: there is no such dataset, or no such log.
        ValueError: the dataset was not imported, or before rewards had a unit; else as of
            :func:`recsim_drpo.datasets.import_log.import_log`.
        OSError, RuntimeError: likewise; the dataset is as it was.
    """
    check_number("max_refused", max_refused, 0.0, 1.0)
    folder = dataset_folder(dataset_id)
    columns, catalogue = _of_dataset(open_dataset(dataset_id))
    table = open_log_table(log, format=input_format, escape=escape, engine=engine)
    columns = expanded(columns, table)
    needed = estimated_bytes(table, columns, catalogue.embeddings)
    needed += sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    what = f"the dataset and about {table.num_rows:,} rounds more"
    with new_dataset(dataset_id, what, needed, replace=True) as staging:
        shutil.copytree(folder, staging, dirs_exist_ok=True)
        storage = MinariStorage.read(staging / "data")
        appended = MinariDataset(storage)
        former = metadata_of(appended)["import"]
        stats = ImportStats(len(catalogue.item_ids), columns.reward_unit, notes)
        _count(appended, stats)
        before, stats.times = stats.times, (np.inf, -np.inf)
        number = 2 + len(former.get("appended", ()))

        def open_writer(coder: ContextCoder) -> PackWriter:
            return PackWriter(staging / "data", coder, catalogue.embeddings.shape[1])

        options = ImportOptions(max_refused, progress, number, excel_safe)
        refused = staging / f"refused-{number}.csv"
        added = add_rounds(table, columns, catalogue, open_writer, refused, stats, options)
        rejected, storage = added.rejected, added.storage
        stats.notes += _overlap(table, stats.times[0], before[1])
        stats.times = widened(before, np.array(stats.times))
        about = _together(former, table, columns, stats, rejected)
        storage.update_metadata({**described(about["file"], stats), "import": about})
        ids = catalogue.item_ids
        write_card(staging, storage.metadata, columns, added.coder, ids, stats, rejected)
    return minari.load_dataset(dataset_id)


def _of_dataset(dataset: MinariDataset) -> tuple[Columns, Catalogue]:
    """Columns and items of a dataset to which rounds can be appended."""
    if not is_imported(dataset):
        raise ValueError(f"Dataset {dataset.id!r} was not made by recsim-drpo import.")
    columns = Columns(**read_columns(Path(dataset.spec.data_path).parent / COLUMNS))
    columns = replace(columns, texts=columns.texts or [])  # all numbers where nothing is said
    if reward_unit(dataset) != RewardUnit(*map(float, columns.reward_range)):
        raise ValueError(
            f"Dataset {dataset.id!r} is from before --reward-range was the unit of rewards: import "
            "its log anew, with --replace, and append to that."
        )
    vectors, ids = imported_items(dataset)
    return columns, Catalogue.of_vectors(vectors, ids)


def _count(dataset: MinariDataset, stats: ImportStats) -> None:
    """Add the rounds that are there to the counts."""
    known = [name for name in recorded_infos(dataset) if name in _INFOS]
    for episode in episodes_of(dataset):
        infos = {name: info_column(dataset.id, episode, name) for name in known}
        stats.add(Rounds({"reward": np.asarray(episode.rewards), **infos}))


def _overlap(table: LogTable, first: float, latest: float) -> list[str]:
    """A note where the rounds of a log begin before the end of those that are there; or none."""
    if not first < latest:
        return []
    return [
        f"The rounds of {table.path.name!r} begin before the last of those that were there. "
        "What is held out is the latest of all; but see that no row came twice."
    ]


def _together(
    former: Mapping[str, Any],
    table: LogTable,
    columns: Columns,
    stats: ImportStats,
    rejected: RejectedRows,
) -> dict[str, Any]:
    """``"import"`` of the metadata, of the logs before and this one."""
    this = import_counts(table, columns, stats, rejected)
    num_rounds = stats.num_rounds - former["imported"]
    refused = dict(former["refused"])
    for reason, count in rejected.counts.items():
        refused[reason] = refused.get(reason, 0) + count
    found = tuple(former.get("rewards_found", rejected.rewards))
    return {
        **former,
        **measured(columns, stats),
        "file": f"{former['file']}, {table.path.name}",
        "rows": former["rows"] + num_rounds + rejected.total,
        "imported": stats.num_rounds,
        "refused": refused,
        "clipped": former["clipped"] + rejected.num_clipped,
        "reward_range": this["reward_range"],
        "rewards_found": list(widened(found, np.array(rejected.rewards))),
        "notes": list(dict.fromkeys([*former["notes"], *stats.notes])),
        "appended": [
            *former.get("appended", ()),
            {"file": table.path.name, "imported": num_rounds, "refused": rejected.total},
        ],
    }
