"""Training steps compiled by torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

_MOST_PROGRAMS = 256


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function compiled by ``torch.compile``, whose limit on programs is raised while it runs.

    To the compiler all engines' steps are one piece of code, which it gives up after eight.
    """
    program = torch.compile(function, fullgraph=True, dynamic=False)
    compiler = torch._dynamo.config
    limits = {
        name: max(getattr(compiler, name), _MOST_PROGRAMS)
        for name in ("recompile_limit", "cache_size_limit")
        if hasattr(compiler, name)
    }

    def run(*arguments: Any) -> Any:
        with compiler.patch(limits):
            return program(*arguments)

    return run
