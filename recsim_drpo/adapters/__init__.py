"""Other people's libraries: our logs in their form, and their agents in ours.

There is a module for each, which imports its library only when it is used. It is imported itself
only where an agent is asked for as ``library:Algorithm``
(:data:`recsim_drpo.agents.plugins.LIBRARIES`).
"""

from __future__ import annotations

import importlib
import sys
from typing import Any


def import_library(name: str, extra: str) -> Any:
    """Import a module of an optional library.

    Args:
        name: of the module.
        extra: of this package that installs the library.

    Raises:
        ImportError: it cannot be imported; names the extra, the cause is attached.
    """
    _leave_gym_silent()
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ImportError(
            f'{name} cannot be imported ({error}); pip install "recsim-drpo[{extra}]".'
        ) from error


def _leave_gym_silent() -> None:
    """Take back what the old gym, which d3rlpy and others import, prints when it is imported.

    Five lines on standard error about a library that nobody here asked for would hide the one line
    of an error. Warnings are left as they are.
    """
    if "gym" in sys.modules:
        return
    try:
        notices = importlib.import_module("gym_notices.notices")
        notices.notices.clear()
    except (ImportError, AttributeError):  # no old gym, or another one
        pass
