"""From the rows of a log to rounds: each cell is checked, each row kept or rejected."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from recsim_drpo.core.spreadsheets import plain_cells
from recsim_drpo.core.tables import Block, Malformed
from recsim_drpo.datasets.importing.cells import NO_NUMBER, number_values
from recsim_drpo.datasets.importing.coding import CategoryCodes, Fault
from recsim_drpo.datasets.importing.columns import Columns
from recsim_drpo.datasets.importing.requests import check_one_item, request_codes
from recsim_drpo.datasets.importing.table import LogTable, missing, progress_bar
from recsim_drpo.datasets.importing.times import seconds

REFUSED = "refused.csv"
"""The file, beside an imported dataset, that lists the rows that were refused."""

_SHOWN = 200
_EXAMPLES = 3
_UNKNOWN_ITEM = "no embedding of that id"


class Rounds(dict[str, NDArray[Any]]):
    """Columns of rounds by name: ``context``, ``item_id``, ``reward``, and infos by theirs.

    The context is its columns' values, float64 (n, columns), see :mod:`.importing.coding`.
    """

    def __len__(self) -> int:
        return len(self["reward"])


class ContextReader(Protocol):
    """What reads the columns of a context: a coder, or what measures them to make one."""

    def values(self, cells: Mapping[str, Any]) -> NDArray[np.float64]:
        """The values of columns of cells, float64 (n, columns)."""

    def faults(self, values: NDArray[np.float64]) -> list[Fault]:
        """Cells that cannot be coded."""


class KeptReader(Protocol):
    """What reads the columns to keep."""

    def read(self, cells: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
        """Arrays of columns of cells, by name."""


class RejectedRows:
    """Rejected rows of a log: listed in a CSV file, counted by reason, with examples of each.

    Args:
        file: where they are listed, as CSV.
        several: whether the log is of several files, which are then listed too.
        excel_safe: see :func:`recsim_drpo.core.spreadsheets.plain_cell`.

    Attributes:
        counts: rows by reason.
        examples: the first few by reason, in words.
        num_clipped: rows that are used, with a reward brought into its range.
        num_outside: such rows, used or not, whose reward is outside its range.
        rewards: the smallest and the largest reward of rows with a known item, as in the log.
    """

    def __init__(self, file: IO[str], several: bool = False, *, excel_safe: bool = False) -> None:
        self._writer = csv.writer(file)
        self._excel_safe = excel_safe
        self._several = several
        self._writer.writerow([*(["file"] if several else []), "row", "reason", "value"])
        self.counts: dict[str, int] = {}
        self.examples: dict[str, list[str]] = {}
        self.num_clipped = 0
        self.num_outside = 0
        self.rewards = (np.inf, -np.inf)

    @property
    def total(self) -> int:
        """Number of rejected rows."""
        return sum(self.counts.values())

    @property
    def num_unknown(self) -> int:
        """Number of rows whose item has no embedding."""
        return sum(n for why, n in self.counts.items() if why.endswith(_UNKNOWN_ITEM))

    def add_rewards(self, rewards: NDArray[np.float64], outside: NDArray[np.bool_]) -> None:
        """Note the rewards (n,) of a block, as they are in the log, and which are outside (n,)."""
        self.num_outside += int(outside.sum())
        if len(rewards):
            low, high = self.rewards
            self.rewards = min(low, float(rewards.min())), max(high, float(rewards.max()))

    def add_all(self, rows: Sequence[Malformed], file: str = "") -> None:
        """Reject rows of a file: number, reason and value of each."""
        for row in rows:
            self.add(*row, file)

    def add(self, row: int, reason: str, value: str, file: str = "") -> None:
        """Reject a row of a file, numbered from 1 after the header."""
        value = value if len(value) <= _SHOWN else value[:_SHOWN] + "…"
        cells = [*([file] if self._several else []), row, reason, value]
        self._writer.writerow(plain_cells(cells) if self._excel_safe else cells)
        self.counts[reason] = self.counts.get(reason, 0) + 1
        examples = self.examples.setdefault(reason, [])
        if len(examples) < _EXAMPLES:
            where = f"{file}, row {row:,}" if file else f"row {row:,}"
            examples.append(where + (f": {value!r}" if value else ""))


class _RowFilter:
    """The rows of a block that pass every check so far, and why the others were rejected.

    Attributes:
        kept: bool (n,), the rows that pass.
    """

    def __init__(self, block: Block) -> None:
        self._block = block
        self.kept = np.ones(len(block.rows), dtype=np.bool_)
        self._rejected = list(block.malformed)

    def reject(self, bad: NDArray[np.bool_], column: str, why: str) -> None:
        """Reject rows for their cell in a column, unless they were rejected before."""
        now = np.flatnonzero(bad & self.kept)
        self.kept[now] = False
        values = self._block.cells[column].take(now).to_pylist() if len(now) else []
        for row, value in zip(self._block.rows[now], values, strict=True):
            self._rejected.append(
                (int(row), f"{column}: {why}", "" if value is None else str(value))
            )

    def numbers(self, column: str) -> NDArray[np.float64]:
        """A column as finite numbers; rows without one are rejected, and have 0."""
        values = number_values(self._block.cells[column])
        self.reject(np.isnan(values), column, "missing")
        self.reject(values == NO_NUMBER, column, "no finite number")
        return np.where(np.isfinite(values), values, 0.0)

    def times(self, column: str) -> NDArray[np.float64]:
        """A column as seconds; rows without a time are rejected, and have 0."""
        cells = self._block.cells[column]
        values = seconds(cells)
        self.reject(missing(cells), column, "missing")
        self.reject(~np.isfinite(values), column, "no time")
        return np.where(np.isfinite(values), values, 0.0)

    def infos(self, columns: Columns, file: str) -> dict[str, NDArray[Any]]:
        """The info columns with a meaning; rows without a time are rejected."""
        infos: dict[str, NDArray[Any]] = {}
        if columns.time is not None:
            infos["time"] = self.times(columns.time)
        if columns.request is not None:
            cells = self._block.cells[columns.request]
            infos["request"] = request_codes(cells, self._block.rows, file)
        if columns.position is not None:
            values = number_values(self._block.cells[columns.position])
            infos["position"] = np.where(np.isfinite(values), values, np.nan)
        return infos

    def used_cells(self, columns: Sequence[str]) -> dict[str, Any]:
        """The cells of columns of the rows that pass, as pyarrow arrays."""
        import pyarrow

        mask = pyarrow.array(self.kept)
        return {name: self._block.cells[name].filter(mask) for name in columns}

    def positions(self, column: str, known: CategoryCodes, why: str) -> NDArray[np.int64]:
        """Positions of the cells among ``known`` texts; rows without one are rejected, with -1."""
        codes = known.codes(self._block.cells[column])
        self.reject(np.isnan(codes), column, "missing")
        self.reject(codes < 0, column, why)
        return np.where(np.isnan(codes), -1, codes).astype(np.int64)

    def context(self, reader: ContextReader) -> NDArray[np.float64]:
        """Values of the context's columns; rows that cannot be coded are rejected."""
        values = reader.values(self._block.cells)
        for column, why, bad in reader.faults(values):
            self.reject(bad, column, why)
        return values

    def report(self, rejected: RejectedRows) -> None:
        """Add the rejected rows to ``rejected``, in their order."""
        for row, reason, value in sorted(self._rejected):
            rejected.add(row, reason, value, self._block.file)


def read_rounds(
    table: LogTable,
    columns: Columns,
    reader: ContextReader,
    ids: NDArray[Any],
    kept: KeptReader,
    rejected: RejectedRows,
    progress: bool,
) -> Iterator[Rounds]:
    """The usable rows of a log, block by block, in order.

    Args:
        table: the log.
        columns: resolved.
        reader: of their context.
        ids: (N,) the items' ids.
        kept: of the columns to keep.
        rejected: receives every other row.
        progress: show rate and time left on a terminal.

    Raises:
        ValueError: the file is damaged, or a column can be none of what it is said to be.
    """
    known_ids = CategoryCodes([str(item_id) for item_id in ids.tolist()])
    with progress_bar(table, "import", progress) as bar:
        for block in table.blocks(columns.used):
            check_one_item(block.cells[columns.item], columns.item)
            row_filter = _RowFilter(block)
            rounds: dict[str, NDArray[Any]] = {
                "item_id": row_filter.positions(columns.item, known_ids, _UNKNOWN_ITEM)
            }
            rounds["reward"], outside = _rewards(row_filter, columns, rejected)
            if columns.propensity is not None:
                rounds["propensity"] = _propensities(row_filter, columns.propensity)
            rounds["context"] = row_filter.context(reader)
            rounds |= row_filter.infos(columns, table.path.name)
            row_filter.report(rejected)
            rejected.num_clipped += int(outside[row_filter.kept].sum())
            used = Rounds({name: values[row_filter.kept] for name, values in rounds.items()})
            used.update(kept.read(row_filter.used_cells(columns.keep)))
            yield used
            bar.update(table.done - bar.n)


def _rewards(
    row_filter: _RowFilter, columns: Columns, rejected: RejectedRows
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Rewards (n,) as they are learnt from, and which of them were outside their range.

    Those found are noted in ``rejected``.
    """
    low, high = columns.reward_range
    rewards, known = row_filter.numbers(columns.reward), row_filter.kept
    outside = (rewards < low) | (rewards > high)
    rejected.add_rewards(rewards[known], outside[known])
    if columns.outside == "refuse":
        row_filter.reject(outside, columns.reward, f"outside [{low:g}, {high:g}]")
    learnt = columns.reward_unit.to_learn(np.clip(rewards, low, high))
    return learnt.astype(np.float32), outside


def _propensities(row_filter: _RowFilter, column: str) -> NDArray[np.float64]:
    propensities = row_filter.numbers(column)
    row_filter.reject((propensities <= 0.0) | (propensities > 1.0), column, "outside (0, 1]")
    return propensities
