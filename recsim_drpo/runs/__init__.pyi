from .folder import (
    CHECKPOINT as CHECKPOINT,
    CONFIG as CONFIG,
    HISTORY as HISTORY,
    load_agent as load_agent,
    load_config as load_config,
    save_run as save_run,
    save_trained as save_trained,
    source_of as source_of,
)
