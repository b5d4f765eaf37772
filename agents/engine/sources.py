"""What an update computes, in a text, as far as the code that it is of is this package's own."""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from types import FunctionType
from typing import Any

from recsim_drpo.agents.engine.algorithm import Algorithm, PolicyConfig

_PACKAGE = Path(__file__).parents[2]
_PARTS = ("agents", "core")  # what an update's code may be of: agents import no more than core
_IMPORTED = time.time()


def described(
    algorithm: Algorithm,
    config: PolicyConfig,
    batched: bool,
    varied: Sequence[str],
    columns: Sequence[str],
    terminal: bool = False,
) -> str | None:
    """A text that tells an update of learners from all that compute another, but for shapes.

    Args:
        algorithm: whose loss is descended.
        config: hyper-parameters.
        batched: whether there is a leading axis of learners.
        varied: names of hyper-parameters that take several values.
        columns: names of the batch's info columns.
        terminal: whether every transition is known to end its episode.

    Returns:
        the text, or ``None``: the algorithm is of code that is not in this package, or that was
        edited since this process began, so that nothing is known of it.
    """
    code = _digest_of_code() if _is_own(algorithm) else None
    if code is None:
        return None
    values = {
        field.name: getattr(config, field.name)
        for field in fields(config)
        if field.name not in varied
    }
    facts = (
        algorithm.name,
        type(config).__qualname__,
        values,
        batched,
        terminal,
        [*varied],
        [*columns],
    )
    return f"{code} {facts!r}"


def _is_own(algorithm: Algorithm) -> bool:
    """Whether all of an algorithm's functions are this package's, as they are written there."""
    values = [getattr(algorithm, field.name) for field in fields(algorithm)]
    functions = [value for value in values if callable(value)]
    return all(map(_is_written, functions))


def _is_written(function: Callable[..., Any]) -> bool:
    """Whether a function or class is one of a module of this package, under its own name."""
    if not isinstance(function, FunctionType | type):
        return False
    name = function.__module__
    module = sys.modules.get(name) if name.startswith("recsim_drpo.") else None
    return module is not None and getattr(module, function.__qualname__, None) is function


def _digest_of_code() -> str | None:
    """A digest of the code; ``None`` where a file is newer than this process, which has another."""
    digest = hashlib.sha256()
    for part in _PARTS:
        for file in sorted((_PACKAGE / part).rglob("*.py")):
            if file.stat().st_mtime >= _IMPORTED:
                return None
            digest.update(f"{file.relative_to(_PACKAGE)} {file.stat().st_size} ".encode())
            digest.update(file.read_bytes())
    return digest.hexdigest()
