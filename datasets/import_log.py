"""Import logged interactions that no simulator made into a packed Minari dataset.

The result has the schema of :mod:`recsim_drpo.datasets.generate` as far as a log from outside can
fill it: no environment, no latent and no oracle reward, and no component that chose.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import gymnasium as gym
import minari
import numpy as np
from minari import MinariDataset
from minari.data_collector import EpisodeBuffer
from minari.dataset.minari_storage import MinariStorage
from numpy.typing import NDArray

from recsim_drpo.datasets.imported import COLUMNS, imported_context, imported_items, is_imported
from recsim_drpo.datasets.importing.columns import Columns, expanded, with_categories
from recsim_drpo.datasets.importing.rounds import RejectedRows, Rounds, read_rounds
from recsim_drpo.datasets.importing.table import Log, LogTable, open_log_table
from recsim_drpo.datasets.items import ITEMS_FILE
from recsim_drpo.datasets.packing import PACKING, ROUNDS_PER_EPISODE, info_column
from recsim_drpo.datasets.staging import check_id, new_dataset
from recsim_drpo.reporting.tables import markdown_table
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

REFUSED = "refused.csv"
_EXAMPLES = 3
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
    notes: Sequence[str] = (),
    progress: bool = True,
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
        notes: what else the card should say of this log.
        progress: show rate and time left on a terminal.

    Returns:
        the dataset. Contexts are float32, infos are ``item_id`` (int64, row of ``items.npz``),
        ``propensity`` (float64) where it is known, and the columns kept. Its metadata has the
        counts under ``"import"``.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: an id that Minari refuses or that exists, a column that is not there or has two
            meanings, a damaged file, damaged vectors, or not one row that can be used.
        OSError: the folder cannot be written or the disk is full; nothing is left.
        RuntimeError: another process is making this dataset.
    """
    check_id(dataset_id)
    table = open_log_table(log, format=input_format, escape=escape)
    columns = expanded(columns, table)
    if isinstance(items, (str, Path)):
        items = load_embeddings(items, id_column=id_column, vector_columns=vector_columns)
    vectors, ids = items if item_ids is None else (items[0], load_item_ids(item_ids))
    catalogue = Catalogue.of_vectors(vectors, ids, normalize=normalize)
    vectors, ids = catalogue.embeddings, catalogue.item_ids
    columns = with_categories(columns, table, progress)
    if columns.dim == 0:
        raise ValueError(f"{table.path.name!r} has a header and no row with a category.")
    what = f"about {table.num_rows:,} rounds"
    stats = _ImportStats(len(vectors), [*notes, *_equal_vectors(vectors, ids)])
    with new_dataset(dataset_id, what, _bytes(table, columns, vectors)) as staging:
        (staging / "data").mkdir()
        storage = MinariStorage.new(
            staging / "data",
            observation_space=gym.spaces.Box(-np.inf, np.inf, (columns.dim,), np.float32),
            action_space=gym.spaces.Box(-1.0, 1.0, (vectors.shape[1],), np.float32),
            data_format="hdf5",
        )
        with (staging / REFUSED).open("w", newline="", encoding="utf-8") as file:
            rejected = RejectedRows(file, table.several)
            rounds = read_rounds(table, columns, ids, rejected, progress)
            for pack in _packs(rounds):
                storage.update_episodes([_episode(pack, vectors)])
                stats.add(pack)
        stats.notes += table.notes
        if stats.num_rounds == 0:
            raise ValueError(_nothing_left(table, rejected, ids))
        metadata = _metadata(dataset_id, table, columns, stats, rejected)
        storage.update_metadata(metadata | {"catalogue_checksum": catalogue.checksum})
        np.savez(staging / ITEMS_FILE, embeddings=vectors, item_ids=ids)
        coding = json.dumps(asdict(columns), indent=1, ensure_ascii=False) + "\n"
        (staging / COLUMNS).write_text(coding, encoding="utf-8")
        _write_card(staging, storage.metadata, columns, ids, stats, rejected)
    return minari.load_dataset(dataset_id)


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


class _ImportStats:
    """Counts of the imported rounds, for the card and the metadata.

    Attributes:
        num_rounds: rounds added.
        notes: warnings about the log, for the card.
        counts: int64 (N,), how often each item was shown.
        reward: sum of the rewards.
        propensities: the smallest and the largest.
    """

    def __init__(self, num_items: int, notes: Sequence[str]) -> None:
        self.num_rounds = 0
        self.notes = list(notes)
        self.counts = np.zeros(num_items, dtype=np.int64)
        self.reward = 0.0
        self.propensities = [np.inf, -np.inf]

    def add(self, pack: Rounds) -> None:
        """Add the rounds of a pack."""
        self.num_rounds += len(pack)
        self.counts += np.bincount(pack["item_id"], minlength=len(self.counts))
        self.reward += float(pack["reward"].sum(dtype=np.float64))
        if "propensity" in pack:
            low, high = self.propensities
            column = pack["propensity"]
            self.propensities = [min(low, float(column.min())), max(high, float(column.max()))]

    @property
    def mean_reward(self) -> float:
        """Mean reward of the rounds."""
        return self.reward / self.num_rounds


def _equal_vectors(vectors: NDArray[np.float32], ids: NDArray[Any]) -> list[str]:
    """A note about items with equal vectors, of which decoding returns the first only; or none."""
    groups: dict[bytes, list[int]] = {}
    hashed = np.fromiter((hash((row + 0.0).tobytes()) for row in vectors), np.int64, len(vectors))
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


def _bytes(table: LogTable, columns: Columns, vectors: NDArray[np.float32]) -> int:
    """Estimated size of the dataset on the disk, in bytes."""
    row = 4 * (columns.dim + vectors.shape[1] + 1) + 2 + 8 * (2 + len(columns.keep))
    return int(1.02 * table.num_rows * row) + vectors.nbytes + 16 * 2**20


def _nothing_left(table: LogTable, rejected: RejectedRows, ids: NDArray[Any]) -> str:
    if not rejected.counts:
        return f"{table.path.name!r} has a header and no row."
    reasons = "; ".join(
        f"{count:,} × {reason} ({rejected.examples[reason][0]})"
        for reason, count in rejected.counts.items()
    )
    return (
        f"Not one row of {table.path.name!r} can be used: {reasons}. The items' ids are like "
        f"{', '.join(repr(str(item_id)) for item_id in ids[:_EXAMPLES])}."
    )


def _metadata(
    dataset_id: str, table: LogTable, columns: Columns, stats: _ImportStats, rejected: RejectedRows
) -> dict[str, Any]:
    return {
        "dataset_id": dataset_id,
        "minari_version": version("minari"),
        "algorithm_name": f"logged elsewhere, imported from {table.path.name}",
        "author": {"whoever logged it"},
        "code_permalink": _PERMALINK.format(version=version("recsim-drpo")),
        "description": (
            f"{stats.num_rounds:,} rounds imported from {table.path.name!r}. {PACKING}"
        ),
        "requirements": [f"recsim-drpo>={version('recsim-drpo')}"],
        "packing": {"rounds_per_episode": ROUNDS_PER_EPISODE, "rule": PACKING},
        "logged_mean_reward": stats.mean_reward,
        "import": {
            "file": table.path.name,
            "rows": stats.num_rounds + rejected.total,
            "imported": stats.num_rounds,
            "refused": dict(rejected.counts),
            "clipped": rejected.num_clipped,
            "notes": stats.notes,
            "items": len(stats.counts),
            "items_shown": int((stats.counts > 0).sum()),
            "propensities": None if columns.propensity is None else stats.propensities,
        },
        "created_with": {
            "recsim_drpo": version("recsim-drpo"),
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
    }


def import_summary(dataset: MinariDataset) -> str:
    """Counts of the imported and of the rejected rows of the log, as Markdown."""
    return _summary(dataset.storage.metadata["import"])


def _summary(counts: Mapping[str, Any]) -> str:
    rows = [["imported", f"{counts['imported']:,}"]]
    rows += [[f"refused, {why}", f"{count:,}"] for why, count in counts["refused"].items()]
    rows.append(["rows in all", f"{counts['rows']:,}"])
    if counts["clipped"]:
        rows.insert(1, ["of these with the reward clipped", f"{counts['clipped']:,}"])
    return "\n\n".join(
        [markdown_table(["rows of " + counts["file"], "count"], rows), *counts["notes"]]
    )


def _write_card(
    folder: Path,
    metadata: Mapping[str, Any],
    columns: Columns,
    ids: NDArray[Any],
    stats: _ImportStats,
    rejected: RejectedRows,
) -> None:
    """Write ``README.md``, the dataset card: rows imported and rejected, rounds and items."""
    dataset_id = metadata["dataset_id"]
    low, high = columns.reward_range
    policy = {"refuse": "rows with another are refused", "clip": "others are clipped to it"}
    if columns.propensity is None:
        propensity = "Propensities are not known."
    else:
        least, most = stats.propensities
        propensity = f"Propensities (`{columns.propensity}`) are from {least:.3g} to {most:.3g}."
    order = np.argsort(-stats.counts, kind="stable")[:10]
    total = stats.num_rounds
    sections = [
        f"# {dataset_id}",
        str(metadata["description"]),
        "```python\nimport recsim_drpo\n\n"
        f'transitions = recsim_drpo.load_transitions("{dataset_id}", infos=["item_id"])\n```',
        "No simulator is behind this log: it has no environment, no latent and no oracle reward.",
        "## What became of the rows",
        _summary(metadata["import"]),
        *(
            [f"Each refused row is in `{REFUSED}`. The first of each kind:"]
            + ["\n".join(f"- {why}: {'; '.join(few)}" for why, few in rejected.examples.items())]
            if rejected.counts
            else []
        ),
        "## Rounds",
        f"The context has {columns.dim} dimensions, the reward (`{columns.reward}`) lies in "
        f"[{low:g}, {high:g}] ({policy[columns.outside]}) and is {stats.mean_reward:.6g} on "
        f"average. {propensity}",
        "## Items",
        f"{int((stats.counts > 0).sum()):,} of {len(stats.counts):,} items were shown; the most "
        "frequent:",
        markdown_table(
            ["item", "rounds", "share"],
            [
                [str(ids[row]), f"{stats.counts[row]:,}", f"{stats.counts[row] / total:.2%}"]
                for row in order
            ],
        ),
        f"`{ITEMS_FILE}` has `embeddings` and the file's own `item_ids`; `{COLUMNS}` codes another "
        "log alike (`recsim-drpo import … --columns`).",
    ]
    (folder / "README.md").write_text("\n\n".join(sections) + "\n", encoding="utf-8")
