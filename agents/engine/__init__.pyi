from .engine import (
    Engine as Engine,
    numeric_fields as numeric_fields,
)
from .initial import init_parameters as init_parameters
from .options import EXECUTIONS as EXECUTIONS, EngineOptions as EngineOptions
