"""How agents are trained, with the defaults."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge, Le

from recsim_drpo.core.config import Config, Count

HELD_OUT_SHARE = 0.1
"""The share of an imported log, its last rounds, that is held out of training by default."""

SHUFFLE_RADIUS = 1_000_000
"""The most transitions that batches are mixed from where a log is read as it is learnt from."""

_MAX_ROWS = 10_000_000


@dataclass(frozen=True)
class TrainingConfig(Config):
    """How an agent is trained (Table 5).

    Attributes:
        steps: updates, from 1 to 1,000,000,000.
        batch_size: transitions an update, from 2 to 16,777,216, drawn uniformly with replacement.
        log_every: steps between rows of the history, ≥ 1; the only times at which the host waits
            for the device.
        evaluate_every: steps between evaluations, where an evaluator is given, ≥ 1.

    Raises:
        ValueError: a value is out of its range; the history would have above 10,000,000 rows.
    """

    steps: Annotated[int, Ge(1), Le(10**9)] = 5_000
    batch_size: Annotated[int, Ge(2), Le(2**24)] = 320
    log_every: Count = 100
    evaluate_every: Count = 250

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("log_every", "evaluate_every"):
            every = getattr(self, name)
            if self.steps > _MAX_ROWS * every:
                raise ValueError(
                    f"{name}={every} makes {self.steps // every:,} rows of the history in "
                    f"steps={self.steps}; take at least {-(-self.steps // _MAX_ROWS)}."
                )
