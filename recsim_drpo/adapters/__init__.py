"""Other people's libraries: our logs in their form, and their agents in ours.

A module for each, which imports its library only when it is used. Nothing else imports them, but
for an agent asked for as ``library:Algorithm`` (:data:`recsim_drpo.agents.plugins.LIBRARIES`).
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
