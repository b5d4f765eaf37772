"""Training agents on logs, and online."""

from recsim_drpo.training.config import TrainingConfig
from recsim_drpo.training.loop import (
    DivergedError,
    Row,
    check_row,
    draw_indices,
    drawn_ahead,
    train,
    train_fleet,
)
from recsim_drpo.training.sweep import Run, Trained, train_many

__all__ = [
    "DivergedError",
    "Row",
    "Run",
    "Trained",
    "TrainingConfig",
    "check_row",
    "draw_indices",
    "drawn_ahead",
    "train",
    "train_fleet",
    "train_many",
]
