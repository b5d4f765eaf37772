from .config import TrainingConfig as TrainingConfig
from .loop import (
    DivergedError as DivergedError,
    Row as Row,
    check_row as check_row,
    idle_updates as idle_updates,
    train as train,
    train_fleet as train_fleet,
)
from .online import OnlineAgent as OnlineAgent, train_online as train_online
from .order import draw_indices as draw_indices, drawn_ahead as drawn_ahead
from .sweep import Run as Run, Trained as Trained, train_many as train_many
