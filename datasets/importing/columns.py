"""The meaning of a log's columns: context, item, reward and propensity."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from recsim_drpo.core.config import build_config
from recsim_drpo.core.messages import shown
from recsim_drpo.core.reward_unit import RewardUnit
from recsim_drpo.core.schemas import check_shape, read_json
from recsim_drpo.core.validation import check_integer, check_number, unknown_name
from recsim_drpo.datasets.importing.descriptions import ColumnsFile
from recsim_drpo.datasets.importing.limits import MAX_BUCKETS, MISSING_POLICIES
from recsim_drpo.datasets.importing.table import LogTable
from recsim_drpo.datasets.importing.transforms import TRANSFORMS

COLUMNS = "columns.json"
"""The file, beside an imported dataset, that has its columns."""

OUTSIDE = ("refuse", "clip")
"""Known ways to treat a row whose reward is out of range."""

CONTEXT_FIELDS = frozenset({"numbers", "categories", "hashes", "transforms", "missing"})
"""Fields of :class:`Columns` that a coding is made of: with others a log is measured anew."""

_FORMER = {
    "numbers", "categories", "item", "reward", "propensity", "keep", "reward_range", "outside",
}  # fmt: skip


@dataclass(frozen=True)
class Columns:
    """The meaning of the columns of a log.

    Column names of the context may be shell patterns, ``"user_*"``; they are then those columns in
    the table's order. How a context comes of them says :mod:`.importing.coding`.

    Attributes:
        numbers: columns of the context that are numbers.
        categories: columns of the context that are one-hot coded, with their categories as text;
            with none given they are found in the log, in the order of their text, at most 1,000.
        hashes: columns of the context whose text is hashed, with the number of buckets of each,
            1 to 16,384, of which each is a dimension.
        transforms: by column of numbers, or pattern of several, one of :data:`.TRANSFORMS`; a
            later pattern goes before an earlier one, and a name before all. Else standardised.
        missing: treatment of a row with an empty cell in its context, or a category that is none
            of those given: ``"code"``, as missing or other, or ``"refuse"``.
        coding: what was measured of another log, whose contexts these are to be like: ``coding``
            in its ``columns.json``; ``None`` measures this one. Empty: numbers are as they are.
        item: the id, in the embeddings, of the item that was shown.
        reward: the observed reward, such as a click.
        propensity: probability with which the item was shown, given the context; ``None`` where it
            is not known.
        keep: columns to keep as info columns: of numbers, float64, NaN where a cell is empty; of
            text, int64 codes, -1 where one is (:func:`.imported.kept_texts` gives the texts).
        texts: which of those are text; ``None`` finds it in the log: one that has anything but
            numbers and empty cells.
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
    hashes: Mapping[str, int] = field(default_factory=dict)
    transforms: Mapping[str, str] = field(default_factory=dict)
    missing: str = "code"
    coding: Mapping[str, Any] | None = None
    texts: Sequence[str] | None = None

    def __post_init__(self) -> None:
        for name in ("numbers", "keep", "texts"):
            if isinstance(getattr(self, name), str):
                raise ValueError(
                    f"{name}={shown(getattr(self, name))} is text; give a list of columns."
                )
        categories: Any = self.categories
        if not isinstance(categories, Mapping):  # names alone
            object.__setattr__(self, "categories", dict.fromkeys(categories, ()))
        if not self.numbers and not self.categories and not self.hashes:
            raise ValueError(
                "A context is needed: columns that are numbers (--numbers), or categories "
                "(--categories, --hash)."
            )
        self._check_coding()
        if len(self.reward_range) != 2:
            raise ValueError(
                f"reward_range={shown(self.reward_range)} is not a smallest and a largest."
            )
        low, high = self.reward_range
        check_number("reward_range's smallest", low, -float(np.finfo(np.float32).max))
        check_number("reward_range's largest", high, low, include_low=False)
        if self.outside not in OUTSIDE:
            raise unknown_name("policy for rewards outside", self.outside, OUTSIDE)

    def _check_coding(self) -> None:
        for name, size in self.hashes.items():
            check_integer(f"number of buckets of {name!r}", size, 1, MAX_BUCKETS)
        for kind in self.transforms.values():
            if kind not in TRANSFORMS:
                raise unknown_name("transform", kind, TRANSFORMS)
        if self.missing not in MISSING_POLICIES:
            raise unknown_name("policy for missing cells", self.missing, MISSING_POLICIES)

    @property
    def reward_unit(self) -> RewardUnit:
        """The unit of the log's rewards."""
        return RewardUnit(*self.reward_range)

    @property
    def used(self) -> list[str]:
        """Every column that is read, once."""
        single = [self.item, self.reward, *([] if self.propensity is None else [self.propensity])]
        single += [name for name in self.infos.values() if name is not None]
        return list(dict.fromkeys([*single, *self.context, *self.keep]))

    @property
    def context(self) -> list[str]:
        """The columns of the context."""
        return [*self.numbers, *self.categories, *self.hashes]

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
        values = read_json(path)
    except ValueError as error:
        raise ValueError(f"{path.name!r} is not JSON ({error}).") from error
    if not isinstance(values, dict):
        raise ValueError(f'{path.name!r} holds no object of fields, such as {{"item": "id"}}.')
    try:
        check_shape(ColumnsFile, values)
    except ValueError as error:
        raise ValueError(f"{path.name!r} does not describe columns: {error}.") from error
    if values.keys() == _FORMER:  # of a log that was imported before columns were measured
        values |= {"missing": "refuse", "coding": {}}
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
    hashes = {
        name: size for pattern, size in columns.hashes.items() for name in _matching(pattern, table)
    }
    outcome = {"item": columns.item, "reward": columns.reward, "propensity": columns.propensity}
    meanings: dict[str, str] = {}
    context = [*dict.fromkeys(numbers), *categories, *hashes]
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
        hashes=hashes,
        transforms=_transforms(columns.transforms, list(dict.fromkeys(numbers))),
        keep=tuple(dict.fromkeys(keep)),
        reward_range=tuple(map(float, columns.reward_range)),
    )


def _transforms(given: Mapping[str, str], numbers: Sequence[str]) -> dict[str, str]:
    """The transform of each column of numbers."""
    transforms = dict.fromkeys(numbers, TRANSFORMS[0])
    for pattern, kind in sorted(given.items(), key=lambda item: item[0] in numbers):
        names = [pattern] if pattern in numbers else fnmatch.filter(numbers, pattern)
        if not names:
            raise unknown_name("column of numbers to be transformed", pattern, numbers)
        transforms |= dict.fromkeys(names, kind)
    return transforms


def _matching(pattern: str, table: LogTable) -> list[str]:
    if pattern in table.columns:
        return [pattern]
    matching = [name for name in table.columns if fnmatch.fnmatchcase(name, pattern)]
    if not matching:
        raise unknown_name(f"column of {table.path.name!r}", pattern, table.columns)
    return matching
