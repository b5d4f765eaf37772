"""Rounds in the order of a column, of a log of any length: they wait on the disk."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from recsim_drpo.datasets.importing.rounds import Rounds


@contextmanager
def sorted_rounds(
    blocks: Iterable[Rounds], by: str, folder: Path, rounds_at_a_time: int
) -> Iterator[Iterator[Rounds]]:
    """Within the block, the rounds of the blocks, sorted by a column; equal ones in their order.

    All have been read when it begins. Every column goes to a file of its own, and pieces are
    gathered from there. Memory holds one block, one piece, and about 24 bytes a round: the column,
    its order, and what sorting takes.

    Args:
        blocks: read once, to the end.
        by: name of a column of one number a round.
        folder: has room for all rounds; what is written into it is removed.
        rounds_at_a_time: length of the pieces, ≥ 1; the last may be shorter.
    """
    with tempfile.TemporaryDirectory(dir=folder) as name:
        columns, keys = _spilled(blocks, by, Path(name))
        order = np.argsort(keys, kind="stable")
        yield (
            Rounds({column: np.array(values[here]) for column, values in columns.items()})
            for here in np.split(order, range(rounds_at_a_time, len(order), rounds_at_a_time))
            if len(here)
        )


def _spilled(
    blocks: Iterable[Rounds], by: str, folder: Path
) -> tuple[dict[str, NDArray[Any]], NDArray[Any]]:
    """The columns of all blocks as arrays on the disk, and that to sort by in memory."""
    keys: list[NDArray[Any]] = []
    likeness: Rounds | None = None
    with ExitStack() as stack:
        files: dict[str, IO[bytes]] = {}
        for block in blocks:
            if len(block) == 0:
                continue
            if likeness is None:
                likeness = block
                files = {
                    column: stack.enter_context((folder / str(number)).open("wb"))
                    for number, column in enumerate(block)
                }
            for column, file in files.items():
                file.write(np.ascontiguousarray(block[column]).data)
            keys.append(block[by].copy())
    if likeness is None:
        return {}, np.empty(0)
    whole = np.concatenate(keys)
    return {
        column: np.memmap(
            folder / str(number), values.dtype, "r", shape=(len(whole), *values.shape[1:])
        )
        for number, (column, values) in enumerate(likeness.items())
    }, whole
