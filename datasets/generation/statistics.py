"""Running statistics of logged rounds, for the dataset card."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsim_drpo.reporting import paper
from recsim_drpo.simulator.config import POLICIES

_BINS = 10_000


class LogStatistics:
    """Running statistics of logged rounds: of fixed size, however many rounds are added.

    Args:
        num_items: size N of the catalogue.

    Attributes:
        num_rounds: rounds added.
        counts: int64 (3, N), how often each component showed each item.
    """

    def __init__(self, num_items: int) -> None:
        self.num_rounds = 0
        self.counts = np.zeros((len(POLICIES), num_items), dtype=np.int64)
        self._latent = np.zeros(len(POLICIES))
        self._observed = np.zeros(len(POLICIES))
        self._oracle = 0.0
        self._histogram = np.zeros(_BINS, dtype=np.int64)

    def add(self, rewards: NDArray[np.float32], infos: Mapping[str, NDArray[Any]]) -> None:
        """Add rounds: observed rewards (n,) and info columns (n,)."""
        policy = infos["policy"].astype(np.int64)
        self.num_rounds += len(rewards)
        np.add.at(self.counts, (policy, infos["item_id"]), 1)
        kinds = len(POLICIES)
        self._latent += np.bincount(policy, weights=infos["latent_reward"], minlength=kinds)
        self._observed += np.bincount(policy, weights=rewards, minlength=kinds)
        self._oracle += float(infos["oracle_reward"].sum(dtype=np.float64))
        bins = np.minimum((infos["latent_reward"] * _BINS).astype(np.int64), _BINS - 1)
        self._histogram += np.bincount(bins, minlength=_BINS)

    @property
    def mean_reward(self) -> float:
        """Mean observed reward."""
        return float(self._observed.sum() / self.num_rounds)

    @property
    def mean_latent_reward(self) -> float:
        """Mean latent reward."""
        return float(self._latent.sum() / self.num_rounds)

    @property
    def mean_oracle_reward(self) -> float:
        """Mean latent reward of the best items, the oracle's."""
        return self._oracle / self.num_rounds

    def by_policy(self) -> dict[str, dict[str, float]]:
        """Rounds, mean latent and mean observed reward of each component that was used."""
        rounds = self.counts.sum(axis=1)
        return {
            name: {
                "rounds": int(rounds[k]),
                "latent": float(self._latent[k] / rounds[k]),
                "observed": float(self._observed[k] / rounds[k]),
            }
            for k, name in enumerate(POLICIES)
            if rounds[k]
        }

    def deciles(self) -> NDArray[np.float64]:
        """Latent reward at 10, 20, …, 90 % of the rounds, best first; exact to 1 / 10,000."""
        below = np.cumsum(self._histogram) / self.num_rounds
        positions = np.searchsorted(below, 1.0 - paper.FIGURE_1_SHARES)
        return (positions + 0.5) / _BINS
