"""JSON from outside, which may be nested so deeply that Python gives up on it, and as words."""

from __future__ import annotations

import json
from collections.abc import Mapping
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


def assigned(values: Mapping[str, Any]) -> list[str]:
    """Words of a command line, NAME=VALUE, that ``--set`` reads as these values again.

    A value is JSON; a text is as it is, and in quotes only where it would be JSON itself.

    Args:
        values: by name; such as JSON can hold.
    """
    return [f"{name}={_written(value)}" for name, value in values.items()]


def _written(value: Any) -> str:
    if isinstance(value, str):
        try:
            json_value(value)
        except ValueError:
            return value
    return json.dumps(value)
