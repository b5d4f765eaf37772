"""The unit in which a log's rewards are told, and that in which agents learn from them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

NumberT = TypeVar("NumberT", float, NDArray[np.float64])


@dataclass(frozen=True)
class RewardUnit:
    """The smallest and the largest reward that a log can have, which learning sees as 0 and 1.

    Agents have temperatures, step sizes and clips that fit rewards of about 1: the same log in
    another currency would train another agent. The default changes nothing.

    Attributes:
        low: the reward that is 0 to learning.
        high: the reward that is 1 to learning, above ``low``.
    """

    low: float = 0.0
    high: float = 1.0

    @property
    def span(self) -> float:
        """How many of the log's own units one of learning is."""
        return self.high - self.low

    @property
    def decimals(self) -> int:
        """Decimals that tell a value to four places of the range."""
        return max(0, 4 - math.floor(math.log10(self.span)))

    def to_learn(self, rewards: NumberT) -> NumberT:
        """Rewards in the log's own unit, as they are learnt from; in [0, 1] if within range."""
        learnt: NumberT = (rewards - self.low) / self.span
        return learnt

    def to_tell(self, rewards: NumberT) -> NumberT:
        """Rewards, or means of them, as they are learnt from, in the log's own unit."""
        told: NumberT = self.low + self.span * rewards
        return told
