"""Other people's libraries: our logs in their form, and their agents in ours.

There is a module for each, which imports its library only when it is used. It is imported itself
only where an agent is asked for as ``library:Algorithm``
(:data:`recsim_drpo.agents.plugins.LIBRARIES`).
"""

from __future__ import annotations

import importlib
from typing import Any


def import_library(name: str, extra: str) -> Any:
    """Import a module of an optional library.

    Args:
        name: of the module.
        extra: of this package that installs the library.

    Raises:
        ImportError: it cannot be imported; names the extra, the cause is attached.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ImportError(
            f'{name} cannot be imported ({error}); pip install "recsim-drpo[{extra}]".'
        ) from error
