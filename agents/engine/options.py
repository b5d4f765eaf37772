"""How learners may compute: the names that options choose from. Needs no torch."""

from __future__ import annotations

EXECUTIONS = ("auto", "eager", "compile", "graph")
"""How a training step is run: see :class:`recsim_drpo.agents.engine.engine.Engine`."""

PRECISIONS = ("float32", "tf32", "bf16")
"""How matrices are multiplied: see :func:`recsim_drpo.core.torch_settings.matrix_precision`."""
