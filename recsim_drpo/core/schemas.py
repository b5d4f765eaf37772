"""Check what JSON from a file says against the shape that it should have, in one line."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from recsim_drpo.core.files import read_text
from recsim_drpo.core.messages import one_line, shown

_MOST_BYTES = 2**28
_PLACE_WIDTH = 60
_DEEPEST = 64


class Described(BaseModel):
    """A JSON object whose named values have the types that they are declared with.

    Nothing is converted: text that reads like a number is none. Further names may have any value.
    """

    model_config = ConfigDict(strict=True, extra="allow")


def _rising(bounds: Sequence[float]) -> Sequence[float]:
    if bounds[0] > bounds[1]:
        raise ValueError("the first is larger than the second")
    return bounds


Finite = Annotated[float, Field(allow_inf_nan=False)]
Bounds = Annotated[Sequence[float], Field(min_length=2, max_length=2)]
"""Two numbers, of which any may be infinite or NaN."""
Range = Annotated[Sequence[Finite], Field(min_length=2, max_length=2), AfterValidator(_rising)]
"""Two finite numbers, of which the second is not smaller."""
NonNegativeCount = Annotated[int, Field(ge=0, lt=2**63)]


def read_json(path: Path) -> Any:
    """The value of a JSON file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no JSON, is nested too deeply, or is larger than 256 MiB; says why.
    """
    size = path.stat().st_size
    if size > _MOST_BYTES:
        raise ValueError(f"it is {size:,} bytes long")
    try:
        values = json.loads(read_text(path))
        _check_depth(values)
        return values
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    except ValueError as error:
        raise ValueError(f"it is not JSON: {one_line(error)}") from error


def _check_depth(values: Any) -> None:
    """Raise ``RecursionError`` where values nest deeper than what copies or writes them can go."""
    level = [values]
    for _ in range(_DEEPEST):
        within = [each for each in level if isinstance(each, dict | list)]
        level = [
            value
            for each in within
            for value in (each.values() if isinstance(each, dict) else each)
        ]
        if not level:
            return
    raise RecursionError


def check_shape(schema: type[Described], values: object) -> None:
    """Raise ``ValueError``, that says where and why, unless a JSON value is of a schema.

    Args:
        schema: a :class:`Described`.
        values: what ``json.loads`` returned.
    """
    try:
        schema.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        place = one_line(".".join(map(str, first["loc"])))[:_PLACE_WIDTH]
        what = f"{place}={shown(first['input'])}" if first["type"] != "missing" else place
        raise ValueError(f"{what}: {one_line(first['msg'])}") from error
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def object_of(path: Path, schema: type[Described]) -> dict[str, Any]:
    """The object of a JSON file, of a schema.

    Raises:
        FileNotFoundError, ValueError: as of :func:`read_json` and :func:`check_shape`.
    """
    values = read_json(path)
    check_shape(schema, values)
    return dict(values)
