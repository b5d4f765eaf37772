"""Where the updates of a training come from: a log in memory, or one that is read as it is used."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from recsim_drpo.core.transitions import Transitions
from recsim_drpo.training.order import drawn_ahead

Step = Callable[[Tensor], Mapping[str, Tensor]]
"""An update on the transitions that are named by int64 (L, B), and its metrics."""


class Chunk(NamedTuple):
    """A part of a log, and how long learners draw from it.

    Attributes:
        transitions: in memory, on any device.
        stop: number of the first update that is not of this part.
        room: transitions that no part of the log has more of.
    """

    transitions: Transitions
    stop: int
    room: int


class Stream(Protocol):
    """A log that is read part by part; :class:`recsim_drpo.datasets.stream.StreamedLog` is one.

    Which part an update is of depends on the number of the update and the size of batches alone.
    """

    @property
    def observation_dim(self) -> int:
        """Dimension of an observation."""
        ...

    @property
    def action_dim(self) -> int:
        """Dimension of an action."""
        ...

    @property
    def device(self) -> torch.device:
        """Where learners find the part that they draw from."""
        ...

    @property
    def infos(self) -> Collection[str]:
        """Names of its info columns."""
        ...

    def __len__(self) -> int:
        """Number of transitions of the whole log."""
        ...

    def chunks(self, batch_size: int, first_step: int) -> Iterator[Chunk]:
        """The parts from that of update ``first_step`` on, without end."""
        ...

    def parts(self) -> Iterator[Transitions]:
        """All transitions once, in the order of the log."""
        ...


class Updates(Protocol):
    """What makes updates one after the other."""

    def between(self, start: int, stop: int) -> Iterator[Mapping[str, Tensor]]:
        """Make the updates ``start`` to ``stop - 1``; the metrics of each."""
        ...

    def close(self) -> None:
        """Let go of what is open."""
        ...


class LogUpdates:
    """Updates on transitions drawn uniformly from all of a log.

    Args:
        step: the update.
        seeds: int64 (L,), of the learners' order.
        sizes: int64 (L,), of each learner's log.
        batch_size: B.
    """

    def __init__(self, step: Step, seeds: Tensor, sizes: Tensor, batch_size: int) -> None:
        self._step, self._seeds, self._sizes, self._batch_size = step, seeds, sizes, batch_size

    def between(self, start: int, stop: int) -> Iterator[Mapping[str, Tensor]]:
        """Make the updates ``start`` to ``stop - 1``; the metrics of each."""
        ahead = drawn_ahead(self._seeds, self._sizes, start, stop - start, self._batch_size)
        return map(self._step, ahead)

    def close(self) -> None:
        """Nothing is open."""


class StreamUpdates:
    """Updates on transitions drawn uniformly from one part of a log after the other.

    Every part is copied into the same tensors on the learners' device, so that what was captured
    or compiled stays.

    Args:
        make: makes the update on a log that it will find other transitions in later.
        stream: the log.
        seeds: int64 (L,), of the learners' order.
        batch_size: B.
    """

    def __init__(
        self, make: Callable[[Transitions], Step], stream: Stream, seeds: Tensor, batch_size: int
    ) -> None:
        self._make, self._stream, self._seeds, self._batch_size = make, stream, seeds, batch_size
        self._sizes = torch.zeros_like(seeds)
        self._chunks: Iterator[Chunk] | None = None
        self._held: Transitions | None = None
        self._step: Step | None = None
        self._end = 0

    def between(self, start: int, stop: int) -> Iterator[Mapping[str, Tensor]]:
        """Make the updates ``start`` to ``stop - 1``; the metrics of each."""
        while start < stop:
            if self._chunks is None:
                self._chunks = self._stream.chunks(self._batch_size, start)
            while start >= self._end or self._step is None:
                self._advance(next(self._chunks))
            upto = min(stop, self._end)
            updates = LogUpdates(self._step, self._seeds, self._sizes, self._batch_size)
            yield from updates.between(start, upto)
            start = upto

    def close(self) -> None:
        """Stop reading."""
        stop_reading = getattr(self._chunks, "close", None)
        if stop_reading is not None:
            stop_reading()
        self._chunks = None

    def _advance(self, chunk: Chunk) -> None:
        if self._held is None or not self._held.refill(chunk.transitions):
            self._held = self._step = None  # before there is room for the next
            self._held = chunk.transitions.with_room(chunk.room, self._stream.device)
            self._step = self._make(self._held)
        self._sizes, self._end = torch.full_like(self._sizes, len(chunk.transitions)), chunk.stop
