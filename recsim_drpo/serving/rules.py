"""Business rules: which items a context may be shown, by lists in files and in its own row."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recsim_drpo.core.json_text import json_value
from recsim_drpo.core.table_headers import no_column
from recsim_drpo.core.validation import check_integer
from recsim_drpo.datasets.importing.table import open_log_table
from recsim_drpo.serving.ranking import Cap
from recsim_drpo.simulator.embeddings import load_item_ids

ITEM_ID = "item_id"

_SHOWN = 5


@dataclass(frozen=True)
class Rules:
    """What restricts the items of a context; ``None``: nothing does.

    Attributes:
        allow: file of the item ids that may be shown, ``.npy`` or one on a line.
        deny: likewise of those that may not.
        seen: table, of whatever format logs have, with the column of the contexts' ids and
            ``item_id``: these pairs are not shown. Items that the catalogue no longer has are
            passed over.
        candidates: column of the contexts with a list of item ids each: no others are shown.
        categories: table with ``item_id`` and one more column, the item's category; an item that is
            not in it is limited by nothing.
        max_per: at most so many of a category, ≥ 1.
    """

    allow: Path | None = None
    deny: Path | None = None
    seen: Path | None = None
    candidates: str | None = None
    categories: Path | None = None
    max_per: int | None = None

    def __post_init__(self) -> None:
        if (self.categories is None) != (self.max_per is None):
            raise ValueError("max_per and categories go together: FILE=K.")
        if self.max_per is not None:
            check_integer("max_per", self.max_per, 1)


class Lists(NamedTuple):
    """Lists of items: the i-th is ``items[offsets[i]:offsets[i + 1]]``.

    Attributes:
        offsets: int64 (L + 1,), from 0, rising.
        items: int64, rows of the catalogue.
    """

    offsets: Tensor
    items: Tensor

    def put(self, mask: Tensor, numbers: Tensor, value: bool) -> None:
        """Set in each row of a mask (n, N) the items of the list of this number, int64 (n,)."""
        begins = self.offsets[numbers]
        lengths = self.offsets[numbers + 1] - begins
        rows = torch.arange(len(numbers), device=mask.device).repeat_interleave(lengths)
        shift = (begins - (lengths.cumsum(0) - lengths)).repeat_interleave(lengths)
        mask[rows, self.items[torch.arange(len(rows), device=mask.device) + shift]] = value


class AllowedItems(NamedTuple):
    """Which items each context of a piece of a table may be shown.

    Attributes:
        everywhere: bool (N,), items that any context may be shown.
        only: a list a context, or ``None``.
        seen: lists of items that are not shown, or ``None``.
        seen_numbers: int64 (B,), which of them is a context's.
    """

    everywhere: Tensor
    only: Lists | None
    seen: Lists | None
    seen_numbers: Tensor | None

    def mask(self, rows: Tensor) -> Tensor:
        """For the contexts of these numbers, int64 (n,): bool (n, N), true where it may."""
        mask = self.everywhere.expand(len(rows), -1).clone()
        if self.only is not None:
            only = torch.zeros_like(mask)
            self.only.put(only, rows, True)
            mask &= only
        if self.seen is not None and self.seen_numbers is not None:
            self.seen.put(mask, self.seen_numbers[rows], False)
        return mask


class ItemRules:
    """Rules about the items of one catalogue, their files read.

    Args:
        rules: what they are.
        item_ids: (N,), of the catalogue.
        id_column: the column that names the contexts; ``None`` where they are numbered.
        device: where items are ranked.

    Attributes:
        rules: as given.
        cap: at most so many of a category, or ``None``.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a file is not what it should be, or names items that the catalogue lacks.
    """

    def __init__(
        self,
        rules: Rules,
        item_ids: NDArray[Any],
        *,
        id_column: str | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        self.rules, self.device = rules, torch.device(device)
        self._rows = {str(name): row for row, name in enumerate(item_ids.tolist())}
        everywhere = torch.ones(len(item_ids), dtype=torch.bool)
        if rules.allow is not None:
            everywhere[:] = False
            everywhere[self._listed(rules.allow)] = True
        if rules.deny is not None:
            everywhere[self._listed(rules.deny)] = False
        self._everywhere = everywhere.to(self.device)
        self._open = bool(everywhere.all())
        self._seen, self._seen_numbers = None, dict[str, int]()
        if rules.seen is not None:
            if id_column is None:
                raise ValueError(
                    f"{rules.seen.name!r} names the contexts that have seen an item; say by "
                    "--id-column which column names them."
                )
            self._seen = self._read_seen(rules.seen, id_column)
        self.cap = None if rules.categories is None else self._read_categories(rules.categories)

    def allowed(
        self,
        ids: Sequence[Any],
        candidates: Sequence[Any] | None,
        excluded: Sequence[Any] | None = None,
    ) -> AllowedItems | None:
        """What the contexts of these ids may be shown; ``None``: everything.

        Args:
            ids: (B,).
            candidates: (B,) cells with lists of item ids: lists, or text, of JSON or separated by
                spaces, commas, semicolons or ``|``; an empty one allows nothing.
            excluded: (B,) such cells of what is not shown, in place of the file of what was seen.

        Raises:
            ValueError: a candidate that the catalogue lacks.
        """
        if self._open and self._seen is None and candidates is None and excluded is None:
            return None
        only, seen, numbers = None, self._seen, None
        if candidates is not None:
            column = self.rules.candidates or "candidates"
            only = self._lists(candidates, f"the column {column!r}")
        if excluded is not None:
            seen = self._lists(excluded, None)
            numbers = torch.arange(len(excluded), device=self.device)
        elif seen is not None:
            nobody = len(self._seen_numbers)  # the number of an empty list
            found = [self._seen_numbers.get(str(name), nobody) for name in ids]
            numbers = self._tensor(np.array(found, dtype=np.int64))
        return AllowedItems(self._everywhere, only, seen, numbers)

    def _lists(self, cells: Sequence[Any], where: str | None) -> Lists:
        """A list a cell; items that the catalogue lacks are an error, or without ``where`` gone."""
        listed = [_parsed(cell) for cell in cells]
        if where is None:
            listed = [[name for name in cell if name in self._rows] for cell in listed]
        names = [name for cell in listed for name in cell]
        lengths = np.array([0, *map(len, listed)], dtype=np.int64)
        rows = self._find(names, where or "what is excluded")
        return Lists(self._tensor(lengths.cumsum()), self._tensor(rows))

    def _tensor(self, array: NDArray[np.int64]) -> Tensor:
        return torch.from_numpy(array).to(self.device)

    def _listed(self, path: Path) -> Tensor:
        return torch.from_numpy(self._find(map(str, load_item_ids(path).tolist()), repr(path.name)))

    def _find(self, names: Iterable[str], where: str) -> NDArray[np.int64]:
        """The rows of items, int64; ``ValueError`` names those that the catalogue lacks."""
        names = list(names)
        rows = np.array([self._rows.get(name, -1) for name in names], dtype=np.int64)
        if (rows < 0).any():
            unknown = list(dict.fromkeys(names[i] for i in np.flatnonzero(rows < 0).tolist()))
            more = f", … ({len(unknown)})" if len(unknown) > _SHOWN else ""
            first = ", ".join(map(repr, unknown[:_SHOWN]))
            raise ValueError(f"Of {where}, the catalogue has no item {first}{more}.")
        return rows

    def _read_seen(self, path: Path, id_column: str) -> Lists:
        pieces, known, total = [], 0, 0
        numbers = self._seen_numbers
        for ids, names in _pairs(path, lambda columns: id_column):
            codes = np.array(
                [numbers.setdefault(str(i), len(numbers)) for i in ids], dtype=np.int64
            )
            rows = np.array([self._rows.get(name, -1) for name in names], dtype=np.int64)
            there = rows >= 0
            known, total = known + int(there.sum()), total + len(rows)
            pieces.append((codes[there], rows[there]))
        if total and not known:
            raise ValueError(f"{path.name!r}: none of its items is in the catalogue.")
        codes, rows = (
            np.concatenate([piece[i] for piece in pieces] or [np.empty(0, dtype=np.int64)])
            for i in (0, 1)
        )
        counts = np.bincount(codes, minlength=len(numbers) + 1)
        order = np.argsort(codes, kind="stable")
        offsets = np.concatenate(([0], counts.cumsum()))
        return Lists(self._tensor(offsets), self._tensor(rows[order]))

    def _read_categories(self, path: Path) -> Cap:
        def other(columns: list[str]) -> str:
            others = [name for name in columns if name != ITEM_ID]
            if len(others) != 1:
                raise ValueError(
                    f"{path.name!r} has columns {', '.join(columns)}; categories take "
                    f"{ITEM_ID} and one more."
                )
            return others[0]

        groups = np.full(len(self._rows), -1, dtype=np.int64)
        numbers: dict[str, int] = {}
        for categories, names in _pairs(path, other):
            rows = self._find(names, repr(path.name))
            if len(np.unique(rows)) < len(rows) or (groups[rows] >= 0).any():
                raise ValueError(f"{path.name!r} names an item twice; it has one category.")
            groups[rows] = [numbers.setdefault(str(c), len(numbers)) for c in categories]
        assert self.rules.max_per is not None
        return Cap(self._tensor(groups), self.rules.max_per)


def _pairs(path: Path, other: Callable[[list[str]], str]) -> Iterator[tuple[list[Any], list[str]]]:
    """A table's column besides ``item_id``, and the item ids as text, in blocks."""
    table = open_log_table(path)
    first = other(table.columns)
    missing = [name for name in (first, ITEM_ID) if name not in table.columns]
    if missing:
        raise no_column(str(table.path), missing, table.columns)
    for block in table.blocks([first, ITEM_ID]):
        if block.malformed:
            row, fault, _ = block.malformed[0]
            raise ValueError(f"{block.file or str(table.path)!r}, row {row}: {fault}.")
        cells = block.lists()
        yield cells[first], [str(name).strip() for name in cells[ITEM_ID]]


def _parsed(cell: Any) -> list[str]:
    """The item ids of a cell, as text."""
    if isinstance(cell, str) and cell.lstrip().startswith("["):
        try:
            cell = json_value(cell)
        except ValueError:
            cell = cell.strip().strip("[]")
    if isinstance(cell, str):
        return [name for name in re.split(r"[\s,;|]+", cell) if name]
    if cell is None:
        return []
    return [str(name) for name in (cell if isinstance(cell, list | tuple) else [cell])]
