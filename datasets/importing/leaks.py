"""What a context should not tell: the reward itself, or merely how late it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

_MIN_ROUNDS = 30  # fewer are in some order by chance
_COLUMNS_AT_A_TIME = 64  # a context may have thousands, and float64 is twice as large
_CERTAIN = 1.0 - 1e-6  # of a squared correlation: float32 is not exact


class LeakCheck:
    """Columns of the context that equal the reward, or that only grow or only fall with time.

    Args:
        names: of the dimensions of the context, (o,).
        num_numbers: how many of them, the first, are numbers, which may follow time.
        by_time: whether rounds come in the order of time.
    """

    def __init__(self, names: Sequence[str], num_numbers: int, by_time: bool) -> None:
        self._names = names
        self._num_rounds = 0
        self._origin: NDArray[np.float64] | None = None
        self._sums = np.zeros(len(names))
        self._squares = np.zeros(len(names))
        self._products = np.zeros(len(names))
        self._reward, self._reward_square = 0.0, 0.0
        num_followed = num_numbers if by_time else 0
        self._last: NDArray[Any] = np.empty((0, num_followed))
        self._rises = np.ones(num_followed, dtype=np.bool_)
        self._falls = np.ones(num_followed, dtype=np.bool_)

    def add(self, contexts: NDArray[np.floating], rewards: NDArray[np.floating]) -> None:
        """Add contexts (n, o), n ≥ 1, and rewards (n,) of rounds after those before."""
        rewards = rewards.astype(np.float64)
        if self._origin is None:
            self._origin = np.nan_to_num(contexts[0].astype(np.float64))
        self._num_rounds += len(rewards)
        for first in range(0, contexts.shape[1], _COLUMNS_AT_A_TIME):
            here = slice(first, first + _COLUMNS_AT_A_TIME)
            from_origin = np.nan_to_num(contexts[:, here] - self._origin[here])
            self._sums[here] += from_origin.sum(axis=0)
            self._squares[here] += np.einsum("ij,ij->j", from_origin, from_origin)
            self._products[here] += rewards @ from_origin
        self._reward += float(rewards.sum())
        self._reward_square += float(rewards @ rewards)
        followed = contexts[:, : len(self._rises)]
        steps = np.diff(np.concatenate([self._last, followed]), axis=0)
        self._rises &= (steps >= 0).all(axis=0)
        self._falls &= (steps <= 0).all(axis=0)
        self._last = followed[-1:].copy()

    @property
    def notes(self) -> list[str]:
        """Warnings about the columns, each by its name."""
        if self._num_rounds < _MIN_ROUNDS:
            return []
        count = self._num_rounds
        varied = self._squares - self._sums**2 / count
        paid = self._reward_square - self._reward**2 / count
        together = self._products - self._sums * self._reward / count
        equal = (together**2 >= _CERTAIN * varied * paid) & (varied > 0) & (paid > 0)
        follows = np.zeros(len(self._names), dtype=np.bool_)
        follows[: len(self._rises)] = self._rises ^ self._falls  # a constant does both
        return [
            f"{self._names[at]} of the context is the reward, up to its scale: nobody knows it "
            "before an item is shown. Leave it out."
            for at in np.flatnonzero(equal).tolist()
        ] + [
            f"{self._names[at]} of the context only grows or only falls with time: in a later log "
            "it has values that no agent has seen. Leave it out, or take the hour or the weekday."
            for at in np.flatnonzero(follows).tolist()
        ]
