"""What became of the rows of a log: counts of the imported rounds, and when too few are left."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsim_drpo.core.messages import shown
from recsim_drpo.core.reward_unit import RewardUnit
from recsim_drpo.datasets.importing.rounds import RejectedRows, Rounds

_EXAMPLES = 3


class ImportStats:
    """Counts of the imported rounds, for the card and the metadata.

    Args:
        num_items: N.
        unit: of the log's rewards, in which they are counted.
        notes: warnings about the log.

    Attributes:
        num_rounds: rounds added.
        notes: warnings about the log, for the card.
        counts: int64 (N,), how often each item was shown.
        reward: sum of the rewards.
        rewards: the smallest and the largest.
        propensities: likewise.
        times: likewise.
    """

    def __init__(self, num_items: int, unit: RewardUnit, notes: Sequence[str]) -> None:
        self._unit = unit
        self.num_rounds = 0
        self.notes = list(notes)
        self.counts = np.zeros(num_items, dtype=np.int64)
        self.reward = 0.0
        self.rewards = (np.inf, -np.inf)
        self.propensities = (np.inf, -np.inf)
        self.times = (np.inf, -np.inf)

    def add(self, pack: Rounds) -> None:
        """Add the rounds of a pack."""
        self.num_rounds += len(pack)
        self.counts += np.bincount(pack["item_id"], minlength=len(self.counts))
        rewards = self._unit.to_tell(pack["reward"].astype(np.float64))
        self.reward += float(rewards.sum())
        self.rewards = widened(self.rewards, rewards)
        if "propensity" in pack:
            self.propensities = widened(self.propensities, pack["propensity"])
        if "time" in pack:
            self.times = widened(self.times, pack["time"])

    @property
    def mean_reward(self) -> float:
        """Mean reward of the rounds."""
        return self.reward / self.num_rounds


def widened(ends: tuple[float, float], values: NDArray[Any]) -> tuple[float, float]:
    """The smallest and the largest of ``ends`` and the values (n,)."""
    if len(values) == 0:
        return ends
    return min(ends[0], float(values.min())), max(ends[1], float(values.max()))


def exactly(value: float) -> str:
    """A number in as few digits as say it exactly, so that it may be given back as an option."""
    short = f"{value:g}"
    return short if float(short) == value else repr(value)


def check_refused(
    file: str, imported: int, rejected: RejectedRows, ids: NDArray[Any], max_refused: float
) -> None:
    """Raise ``ValueError`` where too many rows of a log were refused, or none is left.

    Args:
        file: name of the log.
        imported: number of rows that were not.
        rejected: the others.
        ids: (N,) of the items.
        max_refused: the largest share of rows that may be refused, in [0, 1].
    """
    rows = imported + rejected.total
    if rows == 0:
        raise ValueError(f"{shown(file)} has a header and no row.")
    if imported > 0 and rejected.total <= max_refused * rows:
        return
    reasons = "; ".join(
        f"{count:,} × {reason} ({rejected.examples[reason][0]})"
        for reason, count in rejected.counts.items()
    )
    if imported == 0:
        text = f"Not one row of {shown(file)} can be used: {reasons}."
    else:
        text = (
            f"{rejected.total:,} of {rows:,} rows of {shown(file)} cannot be used, a share of "
            f"{rejected.total / rows:.3g} where --max-refused allows {max_refused:g}: {reasons}."
        )
    raise ValueError(text + _mends(rejected, ids))


def _mends(rejected: RejectedRows, ids: NDArray[Any]) -> str:
    """What can be done about refused rows, as sentences that each start with a blank."""
    text = ""
    if rejected.num_outside:
        low, high = map(exactly, rejected.rewards)
        text += (
            f" The rewards are from {low} to {high}; if these are the least and the most that "
            f"there can be, say --reward-range {low} {high}."
        )
    if rejected.num_unknown:
        shown = ", ".join(repr(str(item_id)) for item_id in ids[:_EXAMPLES])
        text += f" The items' ids are like {shown}."
    return text
