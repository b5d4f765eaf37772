"""Run folders: trained agents with everything that explains them."""

from recsim_drpo.runs.folder import (
    CHECKPOINT,
    CONFIG,
    HISTORY,
    load_agent,
    load_config,
    save_run,
    save_trained,
    source_of,
)

__all__ = [
    "CHECKPOINT",
    "CONFIG",
    "HISTORY",
    "load_agent",
    "load_config",
    "save_run",
    "save_trained",
    "source_of",
]
