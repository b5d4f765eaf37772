"""Read JSON from outside, which may be nested so deeply that Python gives up on it."""

from __future__ import annotations

import json
from typing import Any


def json_value(text: str | bytes) -> Any:
    """Return the value that a text of JSON is.

    Args:
        text: of any length; bytes are UTF-8, UTF-16 or UTF-32.

    Raises:
        ValueError: it is none, or lists and objects are nested more deeply than a thousand.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("lists or objects are nested too deeply") from error
