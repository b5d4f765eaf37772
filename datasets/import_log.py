"""Import logged interactions that no simulator made into a packed Minari dataset.

The result has the schema of :mod:`recsim_drpo.datasets.generate` as far as a log from outside can
fill it: no environment, no latent and no oracle reward, and no component that chose.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import minari
import numpy as np
from minari import MinariDataset
from minari.data_collector import EpisodeBuffer
from minari.dataset.minari_storage import MinariStorage
from numpy.typing import NDArray

from recsim_drpo.core.executor import Engine
from recsim_drpo.core.validation import check_number
from recsim_drpo.datasets.imported import COLUMNS, imported_context, imported_items, is_imported
from recsim_drpo.datasets.importing.coding import ContextCoder
from recsim_drpo.datasets.importing.columns import Columns, expanded
from recsim_drpo.datasets.importing.counts import ImportStats, check_refused
from recsim_drpo.datasets.importing.fitting import coded_rounds
from recsim_drpo.datasets.importing.kept import KeptColumns
from recsim_drpo.datasets.importing.leaks import LeakCheck
from recsim_drpo.datasets.importing.limits import MAX_REFUSED
from recsim_drpo.datasets.importing.requests import SlateCheck
from recsim_drpo.datasets.importing.rounds import REFUSED, RejectedRows, Rounds
from recsim_drpo.datasets.importing.storage import PackWriter
from recsim_drpo.datasets.importing.summary import summary, write_card
from recsim_drpo.datasets.importing.table import Log, LogTable, open_log_table
from recsim_drpo.datasets.importing.times import NAMES
from recsim_drpo.datasets.items import ITEMS_FILE
from recsim_drpo.datasets.packing import PACKING, ROUNDS_PER_EPISODE, info_column
from recsim_drpo.datasets.soundness import metadata_of
from recsim_drpo.datasets.staging import check_id, new_dataset
from recsim_drpo.simulator.catalogue import Catalogue
from recsim_drpo.simulator.embeddings import Embeddings, load_embeddings, load_item_ids

__all__ = [
    "Columns",
    "import_log",
    "import_summary",
    "imported_context",
    "imported_items",
    "is_imported",
]

_EXAMPLES = 3
_ROWS = 4096  # hashed at a time, to bound memory
_PERMALINK = "recsim-drpo=={version}: recsim_drpo/datasets/import_log.py"


def import_log(
    dataset_id: str,
    log: Log | Sequence[Log],
    items: str | Path | Embeddings,
    columns: Columns,
    *,
    normalize: bool = False,
    item_ids: str | Path | None = None,
    id_column: str | None = None,
    vector_columns: str | None = None,
    input_format: str | None = None,
    escape: str | None = None,
    max_refused: float = MAX_REFUSED,
    replace: bool = False,
    notes: Sequence[str] = (),
    excel_safe: bool = False,
    progress: bool = True,
    engine: Engine | None = None,
) -> MinariDataset:
    """Import a table of logged interactions as a packed Minari dataset: each row is a round.

    The table is read in blocks: memory does not grow with its length. The dataset appears whole or
    not at all, with a card, ``items.npz``, ``columns.json`` (the same coding for another log) and
    ``refused.csv``, in which every row that was refused stands with its reason.

    Args:
        dataset_id: Minari id, ``(namespace/)name-v0``.
        log: see :func:`recsim_drpo.datasets.importing.table.open_log_table`.
        items: a file for :func:`.embeddings.load_embeddings`, or vectors (N, d) and
            ids (N,).
        columns: what the columns mean.
        normalize: scale item vectors to unit length; ``False`` refuses others.
        item_ids: file of the items' ids, for :func:`.embeddings.load_item_ids`; without
            it those in ``items``, and of an array that has none the rows' numbers.
        id_column: of a table of ``items``, see :func:`.embeddings.load_embeddings`.
        vector_columns: likewise.
        input_format: of the log's files, see
            :func:`recsim_drpo.datasets.importing.table.open_log_table`.
        escape: of a log as CSV, likewise.
        max_refused: share of the rows, in [0, 1], that may be refused; with more of them there is
            an error and no dataset, for what is left may be another log than the one meant.
        replace: take the place of a dataset of that id, in one step: whoever opens it finds the
            former one or the new one, and an error leaves the former one.
        notes: what else the card should say of this log.
        excel_safe: let no spreadsheet run a value in ``refused.csv`` as a formula, see
            :func:`recsim_drpo.core.spreadsheets.plain_cell`.
        progress: show rate and time left on a terminal.
        engine: what parses several files, each as a task to which it is sent; this process does the
            rest, and the dataset is the same to the byte.

    Returns:
        the dataset. Contexts are float32; rewards are too, 0 to 1 over their range (see
        :func:`.imported.reward_unit`); infos are ``item_id`` (int64, row of ``items.npz``),
        ``propensity``, ``time``, ``position`` (float64) and ``request`` (int64) where they are
        known, and the columns kept, of text as codes (:func:`.imported.kept_texts` gives the
        texts). Its metadata has the counts under ``"import"``.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: an id that Minari refuses or that exists, a column that is not there or has two
            meanings, a damaged file, damaged vectors, or more refused rows than that.
        OSError: the folder cannot be written or the disk is full; nothing is left.
        RuntimeError: another process is making this dataset.
    """
    check_id(dataset_id, replace=replace)
    check_number("max_refused", max_refused, 0.0, 1.0)
    table = open_log_table(log, format=input_format, escape=escape, engine=engine)
    columns = expanded(columns, table)
    if isinstance(items, (str, Path)):
        items = load_embeddings(items, id_column=id_column, vector_columns=vector_columns)
    vectors, ids = items if item_ids is None else (items[0], load_item_ids(item_ids))
    catalogue = Catalogue.of_vectors(vectors, ids, normalize=normalize)
    vectors, ids = catalogue.embeddings, catalogue.item_ids
    what = f"about {table.num_rows:,} rounds"
    stats = ImportStats(len(vectors), columns.reward_unit, [*notes, *_equal_vectors(vectors, ids)])
    needed = estimated_bytes(table, columns, vectors)
    with new_dataset(dataset_id, what, needed, replace=replace) as staging:

        def open_writer(coder: ContextCoder) -> PackWriter:
            return PackWriter(staging / "data", coder, vectors.shape[1])

        options = ImportOptions(max_refused, progress, excel_safe=excel_safe)
        refused = staging / REFUSED
        added = add_rounds(table, columns, catalogue, open_writer, refused, stats, options)
        coder, storage = added.coder, added.storage
        about = import_counts(table, columns, stats, added.rejected)
        metadata = _metadata(dataset_id, about, stats)
        storage.update_metadata(metadata | {"catalogue_checksum": catalogue.checksum})
        np.savez(staging / ITEMS_FILE, embeddings=vectors, item_ids=ids)
        columns = with_coding(columns, coder, added.texts)
        text = json.dumps(asdict(columns), indent=1, ensure_ascii=False) + "\n"
        (staging / COLUMNS).write_text(text, encoding="utf-8")
        write_card(staging, storage.metadata, columns, coder, ids, stats, added.rejected)
    return minari.load_dataset(dataset_id)


class ImportOptions(NamedTuple):
    """How rows are read.

    Attributes:
        max_refused: largest share that may be refused.
        progress: whether it is shown.
        log: number of the log in the dataset, from 1.
        excel_safe: whether no refused value is to be a formula.
    """

    max_refused: float = MAX_REFUSED
    progress: bool = True
    log: int = 1
    excel_safe: bool = False


class AddedRounds(NamedTuple):
    """Rows that were refused, the coder of contexts, where the rounds are, kept columns of text."""

    rejected: RejectedRows
    coder: ContextCoder
    storage: MinariStorage
    texts: list[str]


def add_rounds(
    table: LogTable,
    columns: Columns,
    catalogue: Catalogue,
    open_writer: Callable[[ContextCoder], PackWriter],
    refused: Path,
    stats: ImportStats,
    options: ImportOptions,
) -> AddedRounds:
    """Add the usable rows of a log to a dataset, and list the others in the file ``refused``.

    Args:
        table: the log.
        columns: resolved.
        catalogue: the items.
        open_writer: gives what writes rounds whose contexts are coded so.
        refused: a file to be made, in a folder where there is room for rounds to wait.
        stats: receives the rounds, and warnings about the log.
        options: see :class:`ImportOptions`.

    Raises:
        ValueError: the file is damaged, too many rows were refused, or rows of a request are one
            slate.
    """
    before, name, ids = stats.num_rounds, table.path.name, catalogue.item_ids
    leaks = LeakCheck(columns.context, len(columns.numbers), columns.time is not None)
    slates, kept = SlateCheck(), KeptColumns(columns, table, refused.parent, options.log)
    with refused.open("w", newline="", encoding="utf-8") as file:
        rejected = RejectedRows(file, table.several, excel_safe=options.excel_safe)
        options_of = kept, rejected, refused.parent, leaks, options.progress
        with closing(kept), coded_rounds(table, columns, ids, *options_of) as coded:
            coder, rounds, column_notes = coded
            if coder.dim == 0:
                check_refused(name, 0, rejected, ids, options.max_refused)
            writer = open_writer(coder)
            for pack in _packs(rounds):
                writer.write(_episode(pack, catalogue.embeddings))
                stats.add(pack)
                if "request" in pack:
                    slates.add(pack["request"], pack["reward"])
    check_refused(name, stats.num_rounds - before, rejected, ids, options.max_refused)
    slates.check(stats.rewards[0] < stats.rewards[1])
    stats.notes += [*table.notes, *column_notes, *kept.notes, *leaks.notes]
    stats.notes += _untimed(table, columns)
    return AddedRounds(rejected, coder, writer.storage, kept.texts)


def with_coding(columns: Columns, coder: ContextCoder, texts: Sequence[str]) -> Columns:
    """The columns, with the categories and the measures of a coder, and the kept ones of text."""
    return replace(columns, categories=coder.categories, coding=coder.coding, texts=tuple(texts))


def _untimed(table: LogTable, columns: Columns) -> list[str]:
    """A note where a log seems to have a time that nobody told of; or none."""
    times = [name for name in table.columns if name.lower() in NAMES]
    if columns.time is not None or not times:
        return []
    return [
        f"Column {times[0]!r} may be the time, but rows are in the order of the file: those held "
        f"out, the last, may be earlier than those learnt from. Say --time {times[0]}."
    ]


def _packs(blocks: Iterator[Rounds]) -> Iterator[Rounds]:
    """Rounds regrouped into packs of 10,000, of which the last may be smaller."""
    waiting: list[Rounds] = []
    count = 0
    for block in blocks:
        waiting.append(block)
        count += len(block)
        while count >= ROUNDS_PER_EPISODE:
            whole = _joined(waiting)
            yield Rounds({name: values[:ROUNDS_PER_EPISODE] for name, values in whole.items()})
            waiting = [Rounds({n: values[ROUNDS_PER_EPISODE:] for n, values in whole.items()})]
            count -= ROUNDS_PER_EPISODE
    if count:
        yield _joined(waiting)


def _joined(blocks: Sequence[Rounds]) -> Rounds:
    return Rounds({name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]})


def _episode(pack: Rounds, vectors: NDArray[np.float32]) -> EpisodeBuffer:
    """A pack as one episode; its last round's observation is repeated after it."""
    size = len(pack)
    rows = np.arange(1, size + 1)
    return EpisodeBuffer(
        observations=np.concatenate([pack["context"], pack["context"][-1:]]),
        actions=vectors[pack["item_id"]],
        rewards=pack["reward"],
        terminations=np.ones(size, dtype=np.bool_),
        truncations=np.zeros(size, dtype=np.bool_),
        infos={
            name: info_column(values, rows, size + 1)
            for name, values in pack.items()
            if name not in ("context", "reward")
        },
    )


def _equal_vectors(vectors: NDArray[np.float32], ids: NDArray[Any]) -> list[str]:
    """A note about items with equal vectors, of which decoding returns the first only; or none."""
    groups: dict[bytes, list[int]] = {}
    hashed = _row_hashes(vectors)
    values, counts = np.unique(hashed, return_counts=True)
    for row in np.flatnonzero(np.isin(hashed, values[counts > 1])).tolist():
        groups.setdefault((vectors[row] + 0.0).tobytes(), []).append(row)
    same = [rows for rows in groups.values() if len(rows) > 1]
    if not same:
        return []
    shown = "; ".join(" = ".join(str(ids[row]) for row in rows[:5]) for rows in same[:_EXAMPLES])
    return [
        f"{sum(map(len, same)):,} items share their vector with another ({shown}"
        f"{'; …' if len(same) > _EXAMPLES else ''}): decoding tells them apart by their order "
        "only, and shows the first of them."
    ]


def _row_hashes(vectors: NDArray[np.float32]) -> NDArray[np.uint64]:
    """A number of each row (N,), the same for equal ones: its bits by weights, modulo 2⁶⁴."""
    weights = np.random.default_rng(0).integers(2**63, size=vectors.shape[1], dtype=np.uint64)
    hashed = np.empty(len(vectors), dtype=np.uint64)
    for start in range(0, len(vectors), _ROWS):
        rows = slice(start, start + _ROWS)
        bits = (vectors[rows] + np.float32(0.0)).view(np.uint32)  # + 0: which -0 equals
        hashed[rows] = bits.astype(np.uint64) @ (weights * np.uint64(2) + np.uint64(1))
    return hashed


def estimated_bytes(table: LogTable, columns: Columns, vectors: NDArray[np.float32]) -> int:
    """Estimated size of the dataset and of what waits to be coded, on the disk, in bytes."""
    width = len(columns.context)  # zeros and ones are compressed
    row = 4 * (3 * width + vectors.shape[1] + 1) + 2 + 2 * 8 * (2 + len(columns.keep))
    return int(1.02 * table.num_rows * row) + vectors.nbytes + 16 * 2**20


def import_counts(
    table: LogTable, columns: Columns, stats: ImportStats, rejected: RejectedRows
) -> dict[str, Any]:
    """``"import"`` of the metadata of a dataset into which one log was imported."""
    return {
        "file": table.path.name,
        "rows": stats.num_rounds + rejected.total,
        "imported": stats.num_rounds,
        "refused": dict(rejected.counts),
        "clipped": rejected.num_clipped,
        "reward_range": list(columns.reward_range),
        "rewards_found": list(rejected.rewards),
        "notes": stats.notes,
        "items": len(stats.counts),
        **measured(columns, stats),
    }


def measured(columns: Columns, stats: ImportStats) -> dict[str, Any]:
    """What ``"import"`` of the metadata has of all rounds together."""
    return {
        "items_shown": int((stats.counts > 0).sum()),
        "rewards": list(stats.rewards),
        "request": columns.request,
        "time": None if columns.time is None else list(stats.times),
        "propensities": None if columns.propensity is None else list(stats.propensities),
    }


def described(file: str, stats: ImportStats) -> dict[str, Any]:
    """The metadata that change with the rounds: what they are, and their mean reward."""
    return {
        "algorithm_name": f"logged elsewhere, imported from {file}",
        "description": f"{stats.num_rounds:,} rounds imported from {file!r}. {PACKING}",
        "logged_mean_reward": stats.mean_reward,
    }


def _metadata(dataset_id: str, about: Mapping[str, Any], stats: ImportStats) -> dict[str, Any]:
    return {
        "dataset_id": dataset_id,
        "minari_version": version("minari"),
        "author": {"whoever logged it"},
        "code_permalink": _PERMALINK.format(version=version("recsim-drpo")),
        **described(about["file"], stats),
        "requirements": [f"recsim-drpo>={version('recsim-drpo')}"],
        "packing": {"rounds_per_episode": ROUNDS_PER_EPISODE, "rule": PACKING},
        "import": about,
        "created_with": {
            "recsim_drpo": version("recsim-drpo"),
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
    }


def import_summary(dataset: MinariDataset) -> str:
    """Counts of the imported and of the rejected rows of the log, as Markdown."""
    return summary(metadata_of(dataset)["import"])
