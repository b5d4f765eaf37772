"""The meaning of a log's columns: context, item, reward and propensity."""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from recsim_drpo.core.config import build_config
from recsim_drpo.core.reward_unit import RewardUnit
from recsim_drpo.core.validation import check_number, unknown_name
from recsim_drpo.datasets.importing.table import LogTable, progress_bar, texts

COLUMNS = "columns.json"
"""The file, beside an imported dataset, that has its columns."""

OUTSIDE = ("refuse", "clip")
"""Known ways to treat a row whose reward is out of range."""

_MAX_CATEGORIES = 1_000


@dataclass(frozen=True)
class Columns:
    """The meaning of the columns of a log.

    Column names of the context may be shell patterns, ``"user_*"``; they are then those columns in
    the table's order. A context is the numbers, then each category as 0 and 1.

    Attributes:
        numbers: columns of the context that are numbers.
        categories: columns of the context that are one-hot coded, with their categories as text;
            with none given they are found in the log, in the order of their text, at most 1,000.
        item: the id, in the embeddings, of the item that was shown.
        reward: the observed reward, such as a click.
        propensity: probability with which the item was shown, given the context; ``None`` where it
            is not known.
        keep: columns of numbers to keep as info columns, float64.
        time: when a round was, a number or a timestamp: rounds are sorted by it, and it is kept as
            the info column ``time``, float64 in seconds; ``None`` leaves rows in their order.
        request: by which rows belong together, such as those of one page; kept as the info column
            ``request``, int64 codes of its text; ``None``: each round stands alone.
        position: where on the page the item was; kept as the info column ``position``, float64, NaN
            where it is empty.
        reward_range: smallest and largest reward that there can be; they are 0 and 1 to learning.
        outside: treatment of a row with another reward: ``"refuse"``, or ``"clip"`` to bring it
            to the nearer end; both are counted.

    Raises:
        ValueError: a range or a policy that is none; no context.
    """

    numbers: Sequence[str] = ()
    categories: Mapping[str, Sequence[str]] = field(default_factory=dict)
    item: str = "item_id"
    reward: str = "reward"
    propensity: str | None = "propensity"
    keep: Sequence[str] = ()
    reward_range: Sequence[float] = (0.0, 1.0)
    outside: str = "refuse"
    time: str | None = None
    request: str | None = None
    position: str | None = None

    def __post_init__(self) -> None:
        for name in ("numbers", "keep"):
            if isinstance(getattr(self, name), str):
                raise ValueError(f"{name}={getattr(self, name)!r} is text; give a list of columns.")
        categories: Any = self.categories
        if not isinstance(categories, Mapping):  # names alone
            object.__setattr__(self, "categories", dict.fromkeys(categories, ()))
        if not self.numbers and not self.categories:
            raise ValueError(
                "A context is needed: columns that are numbers (--numbers), or categories "
                "(--categories)."
            )
        if len(self.reward_range) != 2:
            raise ValueError(f"reward_range={self.reward_range!r} is not a smallest and a largest.")
        low, high = self.reward_range
        check_number("reward_range's smallest", low, -float(np.finfo(np.float32).max))
        check_number("reward_range's largest", high, low, include_low=False)
        if self.outside not in OUTSIDE:
            raise unknown_name("policy for rewards outside", self.outside, OUTSIDE)

    @property
    def dim(self) -> int:
        """Dimension of the context, once its categories are known."""
        return len(self.numbers) + sum(map(len, self.categories.values()))

    @property
    def reward_unit(self) -> RewardUnit:
        """The unit of the log's rewards."""
        return RewardUnit(*self.reward_range)

    @property
    def used(self) -> list[str]:
        """Every column that is read, once."""
        single = [self.item, self.reward, *([] if self.propensity is None else [self.propensity])]
        single += [name for name in self.infos.values() if name is not None]
        return list(dict.fromkeys([*single, *self.numbers, *self.categories, *self.keep]))

    @property
    def infos(self) -> dict[str, str | None]:
        """Info columns with a meaning, by the names that they get, and those of the log."""
        return {"time": self.time, "request": self.request, "position": self.position}


def read_columns(path: str | Path) -> dict[str, Any]:
    """Fields of :class:`Columns` from a JSON file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it holds something else.
    """
    path = Path(path)
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path.name!r} is not JSON ({error}).") from error
    if not isinstance(values, dict):
        raise ValueError(f'{path.name!r} holds no object of fields, such as {{"item": "id"}}.')
    build_config(Columns, values, f"field of {path.name!r}")
    return values


def expanded(columns: Columns, table: LogTable) -> Columns:
    """The columns with their patterns resolved, checked to exist and to have one meaning each."""
    numbers = [name for pattern in columns.numbers for name in _matching(pattern, table)]
    categories = {
        name: tuple(map(str, values))
        for pattern, values in columns.categories.items()
        for name in _matching(pattern, table)
    }
    keep = [name for pattern in columns.keep for name in _matching(pattern, table)]
    outcome = {"item": columns.item, "reward": columns.reward, "propensity": columns.propensity}
    meanings: dict[str, str] = {}
    context = [*dict.fromkeys(numbers), *categories]
    for meaning, names in (
        *((meaning, [name]) for meaning, name in outcome.items() if name is not None),
        ("part of the context", context),
    ):
        for name in names:
            if name not in table.columns:
                mend = " Or say --no-propensity." if meaning == "propensity" else ""
                what = f"column of {table.path.name!r} for the {meaning}"
                raise ValueError(f"{unknown_name(what, name, table.columns)}{mend}")
            if name in meanings:
                raise ValueError(
                    f"Column {name!r} is the {meanings[name]} and {meaning}; give each one meaning."
                )
            meanings[name] = meaning
    for meaning, info in columns.infos.items():
        if info is not None and info not in table.columns:
            what = f"column of {table.path.name!r} for the {meaning}"
            raise unknown_name(what, info, table.columns)
    taken = {name for name, info in columns.infos.items() if info is not None}
    for name in keep:
        if name in {"item_id", "propensity", *taken}:
            raise ValueError(
                f"{name!r} cannot be kept: the dataset has an info column of that name."
            )
    return replace(
        columns,
        numbers=tuple(dict.fromkeys(numbers)),
        categories=categories,
        keep=tuple(dict.fromkeys(keep)),
        reward_range=tuple(map(float, columns.reward_range)),
    )


def _matching(pattern: str, table: LogTable) -> list[str]:
    if pattern in table.columns:
        return [pattern]
    matching = [name for name in table.columns if fnmatch.fnmatchcase(name, pattern)]
    if not matching:
        raise unknown_name(f"column of {table.path.name!r}", pattern, table.columns)
    return matching


def with_categories(columns: Columns, table: LogTable, progress: bool) -> Columns:
    """The columns, with the categories that the log has where none are given, sorted."""
    unknown = [name for name, values in columns.categories.items() if not values]
    if not unknown:
        return columns
    values_of: dict[str, set[str]] = {name: set() for name in unknown}
    with progress_bar(table, "categories", progress) as bar:
        for block in table.blocks(unknown):
            for name in unknown:
                values_of[name] |= set(texts(block.cells[name]).unique().to_pylist()) - {None}
                if len(values_of[name]) > _MAX_CATEGORIES:
                    raise ValueError(
                        f"Column {name!r} of {table.path.name!r} has more than {_MAX_CATEGORIES:,} "
                        "different values; as categories each would be a dimension of the context. "
                        "Leave it out, or give it fewer."
                    )
            bar.update(table.done - bar.n)
    return replace(
        columns,
        categories={
            name: values or tuple(sorted(values_of[name]))
            for name, values in columns.categories.items()
        },
    )
