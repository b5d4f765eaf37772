"""From the rows of a log to rounds: each cell is checked, and each row is kept or refused."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from recsim_drpo.datasets.importing.columns import Columns
from recsim_drpo.datasets.importing.table import (
    Block,
    LogTable,
    host,
    missing,
    numbers,
    progress_bar,
    texts,
)

_SHOWN = 200
_EXAMPLES = 3


class Rounds(dict[str, NDArray[Any]]):
    """Columns of rounds by name: ``context``, ``item_id``, ``reward``, and infos by theirs."""

    def __len__(self) -> int:
        return len(self["reward"])


class Refusals:
    """Rows that cannot be used: listed in a file, counted by reason, with the first of each.

    Args:
        file: where they are listed, as CSV.

    Attributes:
        counts: rows by reason.
        examples: the first few by reason, in words.
        num_clipped: rows that are used, with a reward brought into its range.
    """

    def __init__(self, file: IO[str]) -> None:
        self._writer = csv.writer(file)
        self._writer.writerow(["row", "reason", "value"])
        self.counts: dict[str, int] = {}
        self.examples: dict[str, list[str]] = {}
        self.num_clipped = 0

    @property
    def total(self) -> int:
        """Rows refused."""
        return sum(self.counts.values())

    def add(self, row: int, reason: str, value: str) -> None:
        """Refuse a row, numbered from 1 after the header."""
        value = value if len(value) <= _SHOWN else value[:_SHOWN] + "…"
        self._writer.writerow([row, reason, value])
        self.counts[reason] = self.counts.get(reason, 0) + 1
        examples = self.examples.setdefault(reason, [])
        if len(examples) < _EXAMPLES:
            examples.append(f"row {row:,}" + (f": {value!r}" if value else ""))


class _Sieve:
    """Which rows of a block are still in, and why the others are not."""

    def __init__(self, block: Block) -> None:
        self._block = block
        self.kept = np.ones(len(block.rows), dtype=np.bool_)
        self._refused = list(block.malformed)

    def refuse(self, bad: NDArray[np.bool_], column: str, why: str) -> None:
        """Refuse rows for what they have in a column, unless they were refused before."""
        now = np.flatnonzero(bad & self.kept)
        self.kept[now] = False
        values = self._block.cells[column].take(now).to_pylist() if len(now) else []
        for row, value in zip(self._block.rows[now], values, strict=True):
            self._refused.append(
                (int(row), f"{column}: {why}", "" if value is None else str(value))
            )

    def numbers(self, column: str) -> NDArray[np.float64]:
        """A column as finite numbers; rows without one are refused, and have 0."""
        cells = self._block.cells[column]
        values = numbers(cells)
        self.refuse(missing(cells), column, "missing")
        finite = np.isfinite(values) & (np.abs(values) <= np.finfo(np.float32).max)
        self.refuse(~finite, column, "no finite number")
        return np.where(finite, values, 0.0)

    def positions(self, column: str, known: Any, why: str) -> NDArray[np.int64]:
        """Where each cell is among ``known`` texts; rows that are nowhere are refused, with -1."""
        from pyarrow import compute

        cells = self._block.cells[column]
        self.refuse(missing(cells), column, "missing")
        found = compute.index_in(texts(cells), value_set=known, skip_nulls=True)
        positions = host(found.fill_null(-1)).astype(np.int64)
        self.refuse(positions < 0, column, why)
        return positions

    def tell(self, refusals: Refusals) -> None:
        """Hand on what was refused, in the order of the rows."""
        for one in sorted(self._refused):
            refusals.add(*one)


def read_rounds(
    table: LogTable, columns: Columns, ids: NDArray[Any], refusals: Refusals, progress: bool
) -> Iterator[Rounds]:
    """The rows of a log that can be used, block by block, in order.

    Args:
        table: the log.
        columns: resolved, with their categories.
        ids: (N,) the items' ids.
        refusals: told of every other row.
        progress: show rate and time left on a terminal.

    Raises:
        ValueError: the file is damaged.
    """
    import pyarrow

    known_ids = pyarrow.array([str(one).strip() for one in ids.tolist()], pyarrow.string())
    known_values = {
        name: pyarrow.array(values, pyarrow.string()) for name, values in columns.categories.items()
    }
    with progress_bar(table, "import", progress) as bar:
        for block in table.blocks(columns.used):
            sieve = _Sieve(block)
            rounds: dict[str, NDArray[Any]] = {
                "item_id": sieve.positions(columns.item, known_ids, "no embedding of that id")
            }
            rounds["reward"], clipped = _rewards(sieve, columns)
            if columns.propensity is not None:
                rounds["propensity"] = _propensities(sieve, columns.propensity)
            parts = [sieve.numbers(name)[:, None] for name in columns.numbers]
            for name, values in known_values.items():
                codes = sieve.positions(name, values, "none of its categories")
                parts.append(codes[:, None] == np.arange(len(values)))
            rounds["context"] = np.concatenate(parts, axis=1, dtype=np.float32)
            rounds |= {name: sieve.numbers(name) for name in columns.keep}
            sieve.tell(refusals)
            refusals.num_clipped += int(clipped[sieve.kept].sum())
            yield Rounds({name: values[sieve.kept] for name, values in rounds.items()})
            bar.update(table.done - bar.n)


def _rewards(sieve: _Sieve, columns: Columns) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Rewards, and which of them had to be clipped."""
    low, high = columns.reward_range
    rewards = sieve.numbers(columns.reward)
    outside = (rewards < low) | (rewards > high)
    if columns.outside == "refuse":
        sieve.refuse(outside, columns.reward, f"outside [{low:g}, {high:g}]")
    return np.clip(rewards, low, high).astype(np.float32), outside


def _propensities(sieve: _Sieve, column: str) -> NDArray[np.float64]:
    propensities = sieve.numbers(column)
    sieve.refuse((propensities <= 0.0) | (propensities > 1.0), column, "outside (0, 1]")
    return propensities
