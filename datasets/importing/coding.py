"""From columns of a table to contexts: the one coder of importing, recommending and exporting.

A table's cells become *values*, float64 (n, columns): a number as it is, a category as its place
among the known ones, a hashed text as its bucket, NaN where a cell is empty. Values become
*contexts*, float32 (n, o), in this order: the numbers, transformed; each column of categories,
one-hot, and then whether it is another or missing where the log had such cells; likewise the
hashed columns; whether each number is missing that the log lacked. What has no dimension of its
own is zeros. Serving needs no pyarrow for cells that are lists.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsim_drpo.core.config import build_config
from recsim_drpo.core.schemas import check_shape
from recsim_drpo.datasets.importing.cells import (
    NO_NUMBER,
    category_text,
    number_values,
    of_distinct,
)
from recsim_drpo.datasets.importing.descriptions import ContextDescription
from recsim_drpo.datasets.importing.transforms import NumberCoding

OTHER, MISSING = "other", "missing"
_OTHER_CODE = -1.0

Fault = tuple[str, str, NDArray[np.bool_]]
"""A column, what is wrong with cells of it, and with which, bool (n,)."""


def hash_bucket(text: str, size: int) -> int:
    """The bucket of a text, from 0 to ``size`` - 1: CRC-32 (as of zlib) of its UTF-8, modulo."""
    return zlib.crc32(text.encode("utf-8", "surrogatepass")) % size


class CategoryCodes:
    """The places of categories among known ones.

    Args:
        known: the categories, as text.
    """

    def __init__(self, known: Sequence[str]) -> None:
        self._codes = {value.strip(): float(code) for code, value in enumerate(known)}
        for code, value in enumerate(known):
            if not value.isdecimal():  # which is its own category's text
                self._codes.setdefault(category_text(value) or value.strip(), float(code))

    def code(self, cell: Any) -> float:
        """The place of a cell's category; NaN where it is empty, -1 where it is none of them."""
        if isinstance(cell, str) and (found := self._codes.get(cell.strip())) is not None:
            return found
        text = category_text(cell)
        return np.nan if text is None else self._codes.get(text, _OTHER_CODE)

    def codes(self, cells: Any) -> NDArray[np.float64]:
        """:meth:`code` of each cell of a list or a pyarrow array, float64 (n,)."""
        return coded(cells, self.code) if isinstance(cells, list) else self._array_codes(cells)

    def _array_codes(self, cells: Any) -> NDArray[np.float64]:
        """As :meth:`codes`, of a pyarrow array: text and integers that are known are looked up."""
        import pyarrow
        from pyarrow import compute, types

        if not (types.is_string(cells.type) or types.is_integer(cells.type)):
            return coded(cells, self.code)
        # Not by Arrow's ``index_in``, which would read all that are known anew for these few cells.
        texts = compute.utf8_trim_whitespace(cells.cast(pyarrow.string())).dictionary_encode()
        distinct = texts.dictionary.to_pylist()
        found = np.array([*(self._codes.get(text, np.nan) for text in distinct), np.nan])
        places = texts.indices.fill_null(len(distinct))
        codes: NDArray[np.float64] = found[places.to_numpy(zero_copy_only=False)]
        others = np.flatnonzero(np.isnan(codes))
        if len(others) > cells.null_count:
            codes[others] = coded(cells.take(pyarrow.array(others)), self.code)
        return codes


def coded(cells: Any, code: Callable[[Any], float]) -> NDArray[np.float64]:
    """A number for each cell of a list or a pyarrow array, float64 (n,); NaN for empty ones."""
    if not isinstance(cells, list):
        return of_distinct(cells, code, np.nan).astype(np.float64)
    found: dict[str, float] = {}
    values = []
    for cell in cells:
        if not isinstance(cell, str):
            values.append(code(cell))
            continue
        if cell not in found:
            found[cell] = code(cell)
        values.append(found[cell])
    return np.array(values, dtype=np.float64)


def bucket_code(size: int) -> Callable[[Any], float]:
    """The function that gives a cell's bucket; NaN where it is empty."""

    def code(cell: Any) -> float:
        text = category_text(cell)
        return np.nan if text is None else float(hash_bucket(text, size))

    return code


class ContextCoder:
    """Codes columns of a table as the contexts of an imported log.

    Args:
        numbers: how each column of numbers is coded.
        categories: the categories of each column, as text.
        hashes: number of buckets of each hashed column.
        extra: of columns of categories and of hashed ones, which of :data:`OTHER` and
            :data:`MISSING` have a dimension.
        strict: whether an empty cell, or another category, cannot be coded.

    Attributes:
        numbers, categories, hashes, extra, strict: as given.
        names: the columns that are read.
        dim: dimension o of a context.
    """

    def __init__(
        self,
        numbers: Mapping[str, NumberCoding],
        categories: Mapping[str, Sequence[str]],
        hashes: Mapping[str, int],
        extra: Mapping[str, Sequence[str]],
        *,
        strict: bool,
    ) -> None:
        self.numbers = dict(numbers)
        self.categories = {name: list(known) for name, known in categories.items()}
        self.hashes, self.extra, self.strict = dict(hashes), dict(extra), strict
        self.names = [*self.numbers, *self.categories, *self.hashes]
        sizes = {name: len(known) for name, known in self.categories.items()} | self.hashes
        self._sizes = {name: size + len(self.extra.get(name, ())) for name, size in sizes.items()}
        self._known = {name: CategoryCodes(known) for name, known in self.categories.items()}
        self._indicators = [name for name, coding in self.numbers.items() if coding.missing]
        self.dim = len(self.numbers) + sum(self._sizes.values()) + len(self._indicators)

    @classmethod
    def of_description(cls, description: Mapping[str, Any]) -> ContextCoder:
        """The coder that :meth:`description` describes, read from JSON.

        A description without ``coding``, of a log that was imported before columns were measured,
        has numbers as they are, and cannot code an empty cell or another category.

        Raises:
            ValueError: the coding is of other columns of numbers, or damaged.
        """
        try:
            check_shape(ContextDescription, description)
        except ValueError as error:
            raise ValueError(f"The coding of contexts is damaged: {error}.") from error
        coding = description.get("coding") or {}
        names = list(description["numbers"])
        known = coding.get("numbers", {name: {} for name in names})
        if list(known) != names:
            raise ValueError(
                f"The coding is of the numbers {list(known)}, not of {names}; leave 'coding' out "
                "of the file of columns, and they are measured anew."
            )
        return cls(
            {
                name: build_config(NumberCoding, fields, "measure of a number")
                for name, fields in known.items()
            },
            description["categories"],
            description.get("hashes") or {},
            coding.get("extra", {}),
            strict=coding.get("strict", True),
        )

    @property
    def coding(self) -> dict[str, Any]:
        """What was measured, as JSON has it; empty where nothing was."""
        unmeasured = all(coding == NumberCoding() for coding in self.numbers.values())
        if self.strict and not self.extra and unmeasured:
            return {}
        numbers = {name: _plain(coding) for name, coding in self.numbers.items()}
        extra = {name: list(kinds) for name, kinds in self.extra.items()}
        return {"numbers": numbers, "extra": extra, "strict": self.strict}

    @property
    def description(self) -> dict[str, Any]:
        """Everything that codes a context, as JSON has it."""
        description: dict[str, Any] = {
            "numbers": list(self.numbers),
            "categories": self.categories,
        }
        if self.hashes:
            description["hashes"] = self.hashes
        return description | ({"coding": self.coding} if self.coding else {})

    def values(self, cells: Mapping[str, Any]) -> NDArray[np.float64]:
        """The values of columns of cells, lists or pyarrow arrays, float64 (n, columns)."""
        columns = [number_values(cells[name]) for name in self.numbers]
        columns += [self._known[name].codes(cells[name]) for name in self.categories]
        columns += [coded(cells[name], bucket_code(self.hashes[name])) for name in self.hashes]
        return np.stack(columns, axis=1)

    def faults(self, values: NDArray[np.float64]) -> list[Fault]:
        """Cells that cannot be coded."""
        return faults_of(values, self.names, len(self.numbers), strict=self.strict)

    def contexts(self, values: NDArray[np.float64]) -> NDArray[np.float32]:
        """The contexts of values without a fault, float32 (n, o)."""
        contexts = np.zeros((len(values), self.dim), dtype=np.float32)
        self._set_numbers(contexts, values)
        start = len(self.numbers)
        for column, (name, size) in enumerate(self._sizes.items(), start=start):
            places = self._places(name, values[:, column])
            rows = np.flatnonzero(places >= 0)
            contexts[rows, start + places[rows]] = 1.0
            start += size
        return contexts

    def _places(self, name: str, codes: NDArray[np.float64]) -> NDArray[np.int64]:
        """Places of codes among a column's dimensions; -1 for those that are zeros."""
        extra = list(self.extra.get(name, ()))
        first = self._sizes[name] - len(extra)
        place = {kind: first + extra.index(kind) if kind in extra else -1 for kind in _KINDS}
        codes = np.where(np.isnan(codes), place[MISSING], codes)
        return np.where(codes == _OTHER_CODE, place[OTHER], codes).astype(np.int64)

    @property
    def layout(self) -> list[dict[str, Any]]:
        """Where each column stands in :meth:`transformed`'s input: its first place and its size.

        A place of a column of categories says the category of that place, in order, and then what
        ``further`` says; one of a hashed column the bucket.
        """
        layout: list[dict[str, Any]] = []
        start = 0
        for name, size in [*((name, 1) for name in self.numbers), *self._sizes.items()]:
            further = list(self.extra.get(name, ()))
            layout.append({"column": name, "first": start, "size": size, "further": further})
            start += size
        return layout

    @property
    def dimensions(self) -> list[str]:
        """What each dimension of a context says: ``age``, ``device=phone``, ``user=#7``."""
        names = list(self.numbers)
        for name in self._sizes:
            known = self.categories.get(name)
            known = [f"#{k}" for k in range(self.hashes[name])] if known is None else known
            names += [f"{name}={value}" for value in [*known, *self.extra.get(name, ())]]
        return names + [f"{name}={MISSING}" for name in self._indicators]

    def transformed(self, rows: NDArray[np.float64]) -> NDArray[np.float32]:
        """Contexts of rows in which all but the numbers is coded, float32 (n, o).

        Args:
            rows: float64 (n, o less the dimensions for missing numbers), as :attr:`layout` says;
                numbers as they are in the log, NaN where one is missing.
        """
        contexts = np.zeros((len(rows), self.dim), dtype=np.float32)
        contexts[:, : rows.shape[1]] = rows
        self._set_numbers(contexts, rows)
        return contexts

    def _set_numbers(self, contexts: NDArray[np.float32], values: NDArray[np.float64]) -> None:
        """Set the dimensions for numbers, and for missing ones; ``values`` begin with them."""
        place = self.dim - len(self._indicators)
        for column, coding in enumerate(self.numbers.values()):
            contexts[:, column] = coding.apply(values[:, column])
            if coding.missing:
                contexts[:, place] = np.isnan(values[:, column])
                place += 1


_KINDS = (OTHER, MISSING)


def faults_of(
    values: NDArray[np.float64], names: Sequence[str], num_numbers: int, *, strict: bool
) -> list[Fault]:
    """Cells of values that cannot be coded; the first columns are numbers."""
    faults: list[Fault] = []
    for column, name in enumerate(names):
        cells = values[:, column]
        if strict:
            faults.append((name, "missing", np.isnan(cells)))
            if column >= num_numbers:
                faults.append((name, "none of its categories", cells == _OTHER_CODE))
        if column < num_numbers:
            faults.append((name, "no finite number", cells == NO_NUMBER))
    return [fault for fault in faults if fault[2].any()]


def _plain(coding: NumberCoding) -> dict[str, Any]:
    """A column's coding as JSON has it."""
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in asdict(coding).items()
    }
