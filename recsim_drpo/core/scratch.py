"""Columns of many rounds in little memory: in unlinked files that are mapped, a block at a time.

Up to :data:`BLOCK` rows all is as NumPy does it, in memory. Longer columns lie in files without a
name, which end with their process, however it ends; what is mapped of them the system may write
back and take for others. Sums of them are of blocks, and exact between blocks.
"""

from __future__ import annotations

import math
import mmap
import os
import tempfile
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from recsim_drpo.core.memory import in_units

BLOCK = 2**20
"""Rows that are computed at a time; columns of more are not held in memory."""

_mapped: weakref.WeakSet[mmap.mmap] = weakref.WeakSet()


def room(shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """An array to be filled, in memory up to :data:`BLOCK` rows, else in a file that is mapped.

    Args:
        shape: rows first.
        dtype: of numbers.

    Raises:
        ValueError: the folder of temporary files has no room for it.
    """
    kind = np.dtype(dtype)
    size = math.prod(shape) * kind.itemsize
    if shape[0] <= BLOCK or size == 0:
        return np.empty(shape, kind)
    with tempfile.TemporaryFile() as file:
        try:
            _allocate(file.fileno(), size)
        except OSError as error:
            raise ValueError(
                f"A column of {shape[0]:,} rounds takes {in_units(size)} in "
                f"{tempfile.gettempdir()}, which has no room for it ({error.strerror}); set TMPDIR "
                "to a folder that has."
            ) from error
        pages = mmap.mmap(file.fileno(), size)
    _mapped.add(pages)
    return np.frombuffer(pages, kind).reshape(shape)


def blocks(num_rows: int) -> Iterator[slice]:
    """Slices of at most :data:`BLOCK` rows, in order; what was mapped of the former is let go."""
    for start in range(0, num_rows, BLOCK):
        yield slice(start, min(start + BLOCK, num_rows))
        if num_rows > BLOCK:
            let_go()


def let_go() -> None:
    """Take all that is mapped out of this process's memory; what was written stays."""
    if hasattr(mmap, "MADV_DONTNEED"):
        for pages in list(_mapped):
            pages.madvise(mmap.MADV_DONTNEED)


def elementwise(function: Callable[..., Any], *columns: NDArray[Any]) -> NDArray[Any]:
    """What a function makes of rows of columns, row by row: (n, …), the same to the bit.

    Args:
        function: of as many arrays of m rows as there are columns, to an array of m rows.
        columns: (n, …) each.
    """
    num_rows = len(columns[0])
    if num_rows <= BLOCK:
        return np.asarray(function(*columns))
    found: NDArray[Any] | None = None
    for block in blocks(num_rows):
        part = np.asarray(function(*(column[block] for column in columns)))
        found = room((num_rows, *part.shape[1:]), part.dtype) if found is None else found
        found[block] = part
    assert found is not None
    return found


def chosen(column: NDArray[Any], mask: NDArray[np.bool_]) -> NDArray[Any]:
    """The rows of a column (n,) that a mask (n,) marks."""
    if len(column) <= BLOCK:
        return np.asarray(column[mask])
    number = int(total(lambda part: part, mask))
    found, done = room((number,), column.dtype), 0
    for block in blocks(len(column)):
        some = column[block][mask[block]]
        found[done : done + len(some)] = some
        done += len(some)
    return found


def total(function: Callable[..., Any], *columns: NDArray[Any]) -> float:
    """The sum over all rows of what a function makes of rows of columns, (m,) of (m, …) each."""
    num_rows = len(columns[0])
    if num_rows <= BLOCK:
        return float(np.sum(function(*columns)))
    return math.fsum(
        float(np.sum(function(*(column[block] for column in columns))))
        for block in blocks(num_rows)
    )


def floats(values: ArrayLike) -> NDArray[np.float64]:
    """Numbers as float64 of the same shape, not copied where they are that already."""
    given = np.asarray(values)
    if given.dtype == np.float64 or given.ndim == 0:
        return np.asarray(given, dtype=np.float64)
    return elementwise(lambda part: part.astype(np.float64), given)


def sums_by_label(values: NDArray[np.float64], labels: NDArray[Any]) -> NDArray[np.float64]:
    """Sums, float64 (G,), of values (n,) that have the same of the G labels, (n,) of any kind."""
    codes, number = numbered(labels)
    if len(values) <= BLOCK:
        return np.bincount(codes, weights=values).astype(np.float64)
    sums = room((number,), np.float64)
    sums[:] = 0.0
    for block in blocks(len(values)):
        np.add.at(sums, codes[block], values[block])
    return sums


def numbered(labels: NDArray[Any]) -> tuple[NDArray[np.int64], int]:
    """The places of labels (n,) among the different ones, int64 (n,), and how many these are.

    In little memory where labels are integers from 0 to 2 n, as those of requests are.
    """
    few = len(labels) <= BLOCK or labels.dtype.kind not in "iu"
    if few or labels.min() < 0 or labels.max() > 2 * len(labels):
        different, codes = np.unique(labels, return_inverse=True)
        return codes, len(different)
    seen = room((int(labels.max()) + 1,), np.bool_)
    seen[:] = False
    for block in blocks(len(labels)):
        seen[labels[block]] = True
    places, before = room(seen.shape, np.int64), 0
    for block in blocks(len(seen)):
        places[block] = np.cumsum(seen[block]) + (before - 1)
        before += int(np.count_nonzero(seen[block]))
    return elementwise(lambda part: places[part], labels), before


def mean(column: NDArray[Any]) -> float:
    """The mean of (n,), n ≥ 1."""
    if len(column) <= BLOCK:
        return float(column.mean())
    return total(lambda part: part, column) / len(column)


def deviation(column: NDArray[Any], around: float) -> float:
    """The standard deviation of (n,), n ≥ 2, with n - 1 in the denominator.

    Args:
        column: (n,).
        around: its mean.
    """
    if len(column) <= BLOCK:
        return float(column.std(ddof=1))
    return math.sqrt(total(lambda part: np.square(part - around), column) / (len(column) - 1))


def _allocate(descriptor: int, size: int) -> None:
    """Make a file so long; where the system can, its room is taken, so that no write fails."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, size)
    else:
        os.truncate(descriptor, size)
