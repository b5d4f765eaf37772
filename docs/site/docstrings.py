"""Docstrings as the site shows them: Sphinx's roles become what they are about, as code."""

from __future__ import annotations

import re
from typing import Any

import griffe

_ROLE = re.compile(r":(?:func|class|data|meth|mod|attr|exc|obj):`~?\.*([^`]+)`")


def plain(text: str) -> str:
    """Return a docstring with ``:func:`name``` as ```name```."""
    return _ROLE.sub(r"`\1`", text)


class Roles(griffe.Extension):
    """Rewrites each docstring that is loaded."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Rewrite that of an object."""
        if obj.docstring is not None:
            obj.docstring.value = plain(obj.docstring.value)
