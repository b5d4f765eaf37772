"""How agents are trained, with the defaults."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge

from recsim_drpo.core.config import Config, Count

HELD_OUT_SHARE = 0.1
"""The share of an imported log, its last rounds, that is held out of training by default."""


@dataclass(frozen=True)
class TrainingConfig(Config):
    """How an agent is trained (Table 5).

    Attributes:
        steps: updates, ≥ 1.
        batch_size: transitions an update, ≥ 2, drawn uniformly with replacement.
        log_every: steps between rows of the history, ≥ 1; the only times at which the host waits
            for the device.
        evaluate_every: steps between evaluations, where an evaluator is given, ≥ 1.
    """

    steps: Count = 5_000
    batch_size: Annotated[int, Ge(2)] = 320
    log_every: Count = 100
    evaluate_every: Count = 250
