"""Columns of a log, one row a round, computed a block at a time where there are many."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from recsim_drpo.core import scratch


def of_rows(function: Callable[..., Tensor], *columns: Tensor) -> Tensor:
    """What a function makes of rows of columns, (n, …), row by row; not in memory where n is large.

    Args:
        function: of as many tensors of m rows as there are columns, to a tensor of m rows.
        columns: (n, …) each.
    """
    elsewhere = any(column.device.type != "cpu" for column in columns)
    if elsewhere or len(columns[0]) <= scratch.BLOCK:
        return function(*columns)
    arrays = (column.detach().numpy() for column in columns)
    found = scratch.elementwise(
        lambda *parts: function(*map(torch.from_numpy, parts)).numpy(), *arrays
    )
    return torch.from_numpy(found)


def where(test: Callable[..., Tensor], *columns: Tensor) -> Iterator[Tensor]:
    """The rows, int64 and rising, for which a test of rows of columns, bool (m,), is true.

    They come block by block, some of which may have none.
    """
    for rows in scratch.blocks(len(columns[0])):
        found = test(*(column[rows] for column in columns)).nonzero().squeeze(1)
        yield found + rows.start if rows.start else found


def count_where(test: Callable[..., Tensor], *columns: Tensor) -> tuple[int, int]:
    """For how many rows a test is true, and the first of them; -1 where there is none."""
    number, first = 0, -1
    for rows in where(test, *columns):
        first = int(rows[0]) if first < 0 and len(rows) else first
        number += len(rows)
    return number, first


def rows_where(test: Callable[..., Tensor], *columns: Tensor) -> Tensor:
    """All the rows of :func:`where`, int64 (m,), on the columns' device."""
    if len(columns[0]) <= scratch.BLOCK:
        return torch.cat(list(where(test, *columns)))
    number, _ = count_where(test, *columns)
    found, done = torch.from_numpy(scratch.room((number,), "int64")), 0
    for rows in where(test, *columns):
        found[done : done + len(rows)] = rows
        done += len(rows)
    return found.to(columns[0].device)


def numbers(count: int) -> Tensor:
    """int64 (count,) from 0 on the CPU."""
    if count <= scratch.BLOCK:
        return torch.arange(count)
    found = torch.from_numpy(scratch.room((count,), "int64"))
    for rows in scratch.blocks(count):
        found[rows] = torch.arange(rows.start, rows.stop)
    return found
