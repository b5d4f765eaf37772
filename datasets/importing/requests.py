"""The request to which a round belongs, and whether its rows are rounds or one slate."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsim_drpo.core.messages import shown
from recsim_drpo.datasets.importing.table import host, missing, texts

_MIN_SLATES = 10  # fewer requests pay all their rows alike by chance
_MASK = 2**63 - 1


def request_codes(cells: Any, rows: NDArray[np.integer], file: str) -> NDArray[np.int64]:
    """Codes of requests by their text, int64 (n,) ≥ 0: equal for equal ones, in every log.

    They are 63 bits of a hash, so that nothing has to be remembered: of a hundred million requests
    two share one with a probability of 1 in 1,800. A row without a request is one by itself.

    Args:
        cells: of the column.
        rows: (n,), their numbers in the file.
        file: its name.
    """
    encoded = texts(cells).dictionary_encode()
    known = text_codes(encoded.dictionary.to_pylist())
    codes = np.empty(len(rows), dtype=np.int64)
    empty = missing(cells)
    codes[~empty] = np.array(known, dtype=np.int64)[host(encoded.indices.drop_null())]
    codes[empty] = text_codes([f"{file}\0{row}" for row in rows[empty]])
    return codes


def text_codes(texts: Sequence[str]) -> list[int]:
    """63 bits of a hash of each text: one code for one text, in every log."""
    return [_code(text) for text in texts]


def _code(text: str) -> int:
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little") & _MASK


def check_one_item(cells: Any, column: str) -> None:
    """Raise ``ValueError`` where the cells of the item's column are lists: slates."""
    from pyarrow import types

    kind = cells.type
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        raise ValueError(
            f"Column {shown(column)} has several items in a row, a slate. A round is one item: "
            "write a row for each, with that item's own reward and propensity, and give the "
            "slate's id as --request and the place as --position. A reward of the slate as a "
            "whole cannot be learnt from here."
        )


class SlateCheck:
    """Whether all rows of a request have its one reward, as of a slate that was shown at once."""

    def __init__(self) -> None:
        self._paid_alike, self._apart = 0, 0

    def add(self, requests: NDArray[np.int64], rewards: NDArray[np.floating]) -> None:
        """Add codes and rewards (n,), n ≥ 1, rows of a request mostly beside each other."""
        order = np.argsort(requests, kind="stable")
        requests, rewards = requests[order], rewards[order]
        starts = np.flatnonzero(np.diff(requests, prepend=requests[0] - 1))
        sizes = np.diff(starts, append=len(requests))
        least = np.minimum.reduceat(rewards, starts)
        most = np.maximum.reduceat(rewards, starts)
        several = (sizes > 1) & (most > 0.0)
        self._paid_alike += int((several & (least == most)).sum())
        self._apart += int((several & (least != most)).sum())

    def check(self, rewards_differ: bool) -> None:
        """Raise ``ValueError`` where rows of one request always have one reward, and others not.

        Args:
            rewards_differ: whether the log has more than one reward at all.
        """
        if rewards_differ and self._apart == 0 and self._paid_alike >= _MIN_SLATES:
            raise ValueError(
                f"In all {self._paid_alike:,} requests of several rows that were paid, every row "
                "has the same reward: that is the reward of a slate, which would be counted once "
                "for each of its items. Give each row the reward of its own item (0 to those that "
                "were not taken), or keep the one row of a request that the reward is for."
            )
