"""The interface of logs that :mod:`recsim_drpo.datasets.generate` writes as Minari datasets."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from minari.data_collector import EpisodeBuffer
from torch import Tensor

from recsim_drpo.datasets.generation.statistics import LogStatistics
from recsim_drpo.datasets.shards import Shard
from recsim_drpo.simulator.logging_agent import LoggingAgent

_MANY_ITEMS = 100_000
_FEW_USERS = 50


def sampled_users(usual: int, num_items: int) -> int:
    """Users that a mean over simulated users is of: fewer where each meets very many items.

    As many as ``usual`` up to 100,000 items; above, so many that users × items stay the same, but
    50 at least. So what a card tells takes about as long for a million items as for 100,000.
    """
    return max(min(usual, _FEW_USERS), usual * _MANY_ITEMS // max(num_items, _MANY_ITEMS))


class References(NamedTuple):
    """Reference scores, by which Minari normalises an agent's mean score.

    Attributes:
        score: what is scored, in words.
        low_name, low: a policy that knows nothing, and its mean score.
        high_name, high: a policy that knows the world, and its mean score.
        num_users: test users that they are means over.
        is_sample: whether these are fewer than usual, see :func:`sampled_users`.
    """

    score: str
    low_name: str
    low: float
    high_name: str
    high: float
    num_users: int
    is_sample: bool = False


class Log(ABC):
    """Rounds of a logging agent, computed block by block, each a function of its number.

    Args:
        agent: the logging agent.

    Attributes:
        agent: as given.
        statistics: of the episodes that were counted.
        packing: what an episode is, for the metadata; ``packing["rule"]`` says it in words.
        unit: what is logged, for the description.
    """

    packing: dict[str, Any]
    unit: str

    def __init__(self, agent: LoggingAgent) -> None:
        self.agent = agent
        self.statistics = LogStatistics(agent.world.num_items)

    @property
    @abstractmethod
    def spaces(self) -> tuple[Any, Any]:
        """Observation and action space."""

    @abstractmethod
    def references(self) -> References:
        """Reference scores of random items and of a policy that knows the world."""

    @abstractmethod
    def bytes_per_round(self) -> float:
        """Estimated size of a round on the disk, in bytes."""

    @abstractmethod
    def starts(self, num_rounds: int) -> Iterator[int]:
        """Starts of the blocks that hold ``num_rounds`` rounds, and maybe of further ones."""

    def starts_of(self, shard: Shard, num_rounds: int) -> tuple[int, Iterator[int]]:
        """The number of the first round of a block, and starts from there on that hold a shard."""
        return 0, self.starts(num_rounds)

    @property
    @abstractmethod
    def longest(self) -> int:
        """Rounds that an episode may have."""

    @abstractmethod
    def block(self, seed: int, start: int, num_rounds: int) -> list[EpisodeBuffer]:
        """The episodes of one block; ``num_rounds`` is how many rounds the log is to have."""

    @abstractmethod
    def tastes(self) -> Tensor:
        """Tastes, float32 (B, K), of some users as the logging agent met them."""

    def card_sections(self) -> list[str]:
        """Sections of the dataset card, in Markdown, that only this kind of log has."""
        return []

    def count(self, episodes: Sequence[EpisodeBuffer]) -> None:
        """Add episodes that were written to the statistics."""
        columns = [episode.infos or {} for episode in episodes]
        infos = {
            name: np.concatenate([column[name][1:] for column in columns]) for name in columns[0]
        }
        self.statistics.add(np.concatenate([episode.rewards for episode in episodes]), infos)
