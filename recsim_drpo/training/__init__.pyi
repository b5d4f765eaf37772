from .config import TrainingConfig as TrainingConfig
from .loop import (
    DivergedError as DivergedError,
    Row as Row,
    check_row as check_row,
    draw_indices as draw_indices,
    drawn_ahead as drawn_ahead,
    train as train,
    train_fleet as train_fleet,
)
from .online import OnlineAgent as OnlineAgent, train_online as train_online
from .sweep import Run as Run, Trained as Trained, train_many as train_many
