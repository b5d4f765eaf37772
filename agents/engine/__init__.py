"""What trains learners: networks, the training step, and learners on a device."""

from recsim_drpo.agents.engine.engine import EXECUTIONS, Engine, init_parameters, numeric_fields

__all__ = ["EXECUTIONS", "Engine", "init_parameters", "numeric_fields"]
