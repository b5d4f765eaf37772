from .engine import (
    Engine as Engine,
    init_parameters as init_parameters,
    numeric_fields as numeric_fields,
)
from .options import EXECUTIONS as EXECUTIONS, EngineOptions as EngineOptions
