"""Read logs that are larger than memory in shuffled chunks, ahead of those who learn from them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from minari import MinariDataset
from numpy.typing import NDArray

from recsim_drpo.core import rng
from recsim_drpo.core.torch_settings import resolve_device
from recsim_drpo.core.transitions import Transitions
from recsim_drpo.core.validation import check_integer
from recsim_drpo.datasets.compact import item_table
from recsim_drpo.datasets.load import LogArrays, check_combined, flat_widths
from recsim_drpo.datasets.soundness import episode_lengths, episodes_of
from recsim_drpo.datasets.together import Datasets, opened
from recsim_drpo.training.config import SHUFFLE_RADIUS
from recsim_drpo.training.streaming import Chunk

_FOREVER = 2**62


class StreamedLog:
    """A log that is read in shuffled chunks; ``train`` and ``train_many`` take it in place of one.

    In every epoch the episodes are put in another order and cut into chunks of equal size, as few
    as have not more than ``radius`` transitions each, give or take an episode. Learners draw
    uniformly from a chunk, as they do from a log in memory, as many transitions as it has; a thread
    reads the next one meanwhile. The order depends on the epoch alone, so which transitions a
    learner meets depends on its seed, the step, the size of batches and the radius. A log of one
    chunk is read once, and learnt from as if it were in memory, to the bit.

    Args:
        datasets: as of :func:`.load.load_transitions`.
        radius: shuffle radius, the most transitions that batches are mixed from, ≥ 1. Memory holds
            three chunks at most.
        infos: info columns to bring along.
        device: where learners find the chunk that they draw from.
        compact: as of :func:`.load.load_transitions`.
        items: likewise.

    Raises:
        FileNotFoundError, ValueError: as :func:`.load.load_transitions`; what is wrong with an
            episode shows when it is read, and so does a dataset that has changed since.
    """

    def __init__(
        self,
        datasets: Datasets,
        *,
        radius: int = SHUFFLE_RADIUS,
        infos: Sequence[str] = (),
        device: str | torch.device = "cpu",
        compact: bool = True,
        items: bool = False,
    ) -> None:
        check_integer("shuffle_radius", radius, 1)
        self.device = resolve_device(device)
        self._logs, self._infos = opened(datasets), list(infos)
        for log in self._logs:
            check_combined(log)
        self._widths = flat_widths(self._logs[0])
        self._lengths = [episode_lengths(log) for log in self._logs]
        for log, lengths in zip(self._logs, self._lengths, strict=True):
            if lengths.sum() == 0:
                raise ValueError(f"Dataset {log.id!r} has no transitions.")
        self._all = np.concatenate(self._lengths)
        self._num_chunks = -(-len(self) // radius)
        width = self._widths["action"]
        wanted = compact or items
        self._table = item_table(self._logs, len(self), width, always=items) if wanted else None
        self._states = [_state_of(log) for log in self._logs]

    def __len__(self) -> int:
        """Number of transitions of the whole log."""
        return int(self._all.sum())

    @property
    def observation_dim(self) -> int:
        """Dimension of an observation."""
        return self._widths["observation"]

    @property
    def action_dim(self) -> int:
        """Dimension of an action."""
        return self._widths["action"]

    @property
    def infos(self) -> tuple[str, ...]:
        """Names of the info columns that are brought along."""
        return tuple(self._infos)

    def chunks(self, batch_size: int, first_step: int) -> Iterator[Chunk]:
        """The chunks from that of update ``first_step`` on, without end, each read ahead."""
        room = -(-len(self) // self._num_chunks) + int(self._all.max())
        if self._num_chunks == 1:
            yield Chunk(self._read(np.arange(len(self._all))), _FOREVER, len(self))
            return
        pool = ThreadPoolExecutor(1, "stream")
        try:
            ahead = (
                (pool.submit(self._read, episodes), stop)
                for episodes, stop in self._schedule(batch_size, first_step)
            )
            upcoming = next(ahead)
            while True:
                reading, stop = upcoming
                chunk = [Chunk(reading.result(), stop, room)]
                del reading, upcoming  # what is read is then the learners' alone
                upcoming = next(ahead)
                yield chunk.pop()
        finally:
            pool.shutdown(cancel_futures=True)

    def parts(self) -> Iterator[Transitions]:
        """All transitions once, in the order of the log."""
        for episodes in self._cut(np.arange(len(self._all))):
            yield self._read(episodes)

    def _schedule(
        self, batch_size: int, first_step: int
    ) -> Iterator[tuple[NDArray[np.int64], int]]:
        """Episodes of chunks, and the number of the first update after each."""
        stop = 0
        for epoch in itertools.count():
            for episodes in self._cut(_order(epoch, len(self._all))):
                stop += -(-int(self._all[episodes].sum()) // batch_size)
                if stop > first_step:
                    yield episodes, stop

    def _cut(self, order: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        """The chunks of an epoch, of episodes in the order of the log within each."""
        lengths = self._all[order]
        place = (np.cumsum(lengths) - lengths) * self._num_chunks // len(self)
        cuts = np.flatnonzero(np.diff(place)) + 1
        return [np.sort(chunk) for chunk in np.split(order, cuts)]

    def _read(self, episodes: NDArray[np.int64]) -> Transitions:
        """Some episodes, by their numbers in the whole log, on the CPU."""
        total = int(self._all[episodes].sum())
        arrays = LogArrays(total, len(episodes), self._widths, self._infos, self._table)
        first = 0
        for log, lengths, state in zip(self._logs, self._lengths, self._states, strict=True):
            here = episodes[(episodes >= first) & (episodes < first + len(lengths))] - first
            first += len(lengths)
            if len(here) == 0:
                continue
            numbers = np.asarray(log.episode_indices)[here]
            _check_unchanged(log, state)
            arrays.fill(log.id, int(lengths[here].sum()), episodes_of(log, numbers.tolist()))
            _check_unchanged(log, state)
        return arrays.transitions(torch.device("cpu"))


def _order(epoch: int, count: int) -> NDArray[np.int64]:
    """The order of so many episodes in an epoch: those of random words, a function of it alone."""
    counters = torch.arange(count) | (epoch << 32)
    words = rng.philox_4x32(torch.zeros(1, dtype=torch.int64), rng.Stream.CHUNKS, counters, 2)
    keys = (words[:, 0] << 31) | (words[:, 1] >> 1)
    return np.argsort(keys.numpy(), kind="stable")


def _state_of(log: MinariDataset) -> list[tuple[str, int, int]]:
    """Names, sizes and times of the files of a dataset."""
    folder = Path(log.spec.data_path)
    stats = [(path, path.stat()) for path in sorted(folder.iterdir())]
    return [(path.name, stat.st_size, stat.st_mtime_ns) for path, stat in stats]


def _check_unchanged(log: MinariDataset, state: list[tuple[str, int, int]]) -> None:
    if not Path(log.spec.data_path).is_dir() or _state_of(log) != state:
        raise ValueError(
            f"Dataset {log.id!r} has changed while it was learnt from; train anew on what it is "
            "now."
        )
