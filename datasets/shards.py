"""Shards: parts of a log in order, each a dataset, that together are the log bit for bit."""

from __future__ import annotations

import re
from typing import NamedTuple

from recsim_drpo.core.validation import as_integer, check_integer


class Shard(NamedTuple):
    """One of the parts of a log.

    A log of R rounds has the shards 1 to K. Its rounds are numbered from 0, and an episode lies in
    the shard ⌊K r / R⌋ + 1, where r is the number of its first round: so shards are of whole
    episodes and of nearly the same size.

    Attributes:
        number: from 1.
        of: number of shards K.
    """

    number: int
    of: int

    def place(self, first_round: int, num_rounds: int) -> int:
        """-1, 0 or 1: an episode with this first round comes before the shard, in it or after."""
        found = first_round * self.of // num_rounds + 1
        return (found > self.number) - (found < self.number)


WHOLE = Shard(1, 1)


def check_shard(shard: Shard, num_rounds: int, longest: int) -> None:
    """Raise ``ValueError`` unless there is such a shard, and an episode in each of them.

    Args:
        shard: number and number of all.
        num_rounds: of the log.
        longest: rounds that an episode may have.
    """
    check_integer("shards", shard.of, 1)
    check_integer("shard number", shard.number, 1, shard.of)
    most = max(1, num_rounds // longest)
    if shard.of > most:
        raise ValueError(
            f"shards={shard.of}: {num_rounds:,} rounds make at most {most}, since an episode has "
            f"up to {longest:,} rounds and lies in one shard; take fewer shards or more rounds."
        )


def shard_ids(dataset_id: str, shards: int) -> list[str]:
    """The ids of a log's shards in order: of ``ns/log-v0`` in 2, ``ns/log-1-of-2-v0`` and so on.

    Numbers are padded with zeros to one width, so that ids sort in order.

    Raises:
        ValueError: there is no such number of shards.
    """
    check_integer("shards", shards, 1)
    count = as_integer(shards) or 1
    name, version = re.fullmatch(r"(.*?)(-v\d+)?", dataset_id, re.DOTALL).groups("")  # type: ignore[union-attr]
    width = len(str(count))
    return [f"{name}-{k:0{width}}-of-{count}{version}" for k in range(1, count + 1)]
