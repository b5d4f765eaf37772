from .engine import (
    EXECUTIONS as EXECUTIONS,
    Engine as Engine,
    init_parameters as init_parameters,
    numeric_fields as numeric_fields,
)
