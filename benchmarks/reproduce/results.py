"""Results as files hold them: read, and checked once, by the shape that everything else counts on.

The shape is declared in pydantic's models. What they do not name may be there and is kept: other
versions write more, and readers take what they know.
"""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Annotated, Any, TypeVar

from annotated_types import Ge, Le, MinLen
from pydantic import (
    AfterValidator,
    AllowInfNan,
    BaseModel,
    ConfigDict,
    Discriminator,
    Tag,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from recsim_drpo.benchmarks.reproduce.advice.leads import CLAIMED, LABELS, PAIRS, PHASE_MAP, WORLDS
from recsim_drpo.benchmarks.reproduce.advice.locate import SCALED
from recsim_drpo.benchmarks.reproduce.advice.log_features import FEATURES
from recsim_drpo.benchmarks.reproduce.framework import compact
from recsim_drpo.benchmarks.reproduce.framework.conditions import Condition
from recsim_drpo.benchmarks.reproduce.framework.experiment import Result
from recsim_drpo.benchmarks.reproduce.framework.verdicts import VERDICTS
from recsim_drpo.core.files import read_text
from recsim_drpo.core.messages import one_line, shown, shown_path
from recsim_drpo.core.validation import unknown_name
from recsim_drpo.envs.registration import ENV_ID

_T = TypeVar("_T")
_HALF = re.compile(r"\\u[dD][89a-fA-F]")
_TAGS = ("compact", "each")
_Finite = Annotated[float, AllowInfNan(False)]
_Moderate = Annotated[float, Ge(-1e15), Le(1e15)]


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow")


class _Exact(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")


def _known_verdict(verdict: str) -> str:
    if verdict not in VERDICTS:
        raise unknown_name("verdict", verdict, VERDICTS)
    return verdict


class _Verdict(_Strict):
    claim: str
    statement: str
    paper: str
    ours: str
    verdict: Annotated[str, AfterValidator(_known_verdict)]
    because: str
    command: str


class _Table(_Exact):
    title: str
    header: Annotated[list[str], MinLen(1)]
    rows: list[list[str]]
    note: str = ""

    @model_validator(mode="after")
    def _has_whole_rows(self) -> _Table:
        for number, row in enumerate(self.rows):
            if len(row) != len(self.header):
                raise ValueError(f"row {number} has {len(row)} cells, not {len(self.header)}")
        return self


class _Condition(_Exact):
    label: str
    weights: dict[str, Any]
    world: dict[str, Any]
    logging: dict[str, Any]
    num_rounds: Annotated[int, Ge(1)]
    unclipped: bool = False
    env: str = ENV_ID

    @model_validator(mode="after")
    def _is_one(self) -> _Condition:
        try:
            Condition(**self.model_dump())
        except TypeError as error:  # a world or a logging agent without that field
            raise ValueError(one_line(error)) from error
        return self


class _Training(_Strict):
    steps: int


class _Plan(_Strict):
    name: str
    seeds: list[int]
    full_seeds: int = 0
    num_users: int = 0
    training: _Training = _Training(steps=0)
    conditions: Annotated[list[_Condition], MinLen(1)] = []


class _Record(_Strict):
    condition: str
    agent: str
    variant: int
    overrides: dict[str, Any]
    seed: int
    test: dict[str, float | None]
    validation: float | None
    offline: float | None
    diverged_at: int | None
    curve: list[list[float | None]] = []


def _is_drawn(curve: list[list[float | None]]) -> list[list[float | None]]:
    """A curve: as many steps as values, or nothing."""
    if curve and (len(curve) != 2 or len(curve[0]) != len(curve[1]) or None in curve[0]):
        raise ValueError("a curve is not as many steps as values")
    return curve


_Curve = Annotated[list[list[_Finite | None]], AfterValidator(_is_drawn)]


class _Compact(_Strict):
    conditions: list[str]
    variants: list[list[Any]]
    seeds: list[list[int]]
    columns: list[str]
    rows: list[list[Any]]
    curves: list[list[_Curve]] | None = None

    @model_validator(mode="after")
    def _unfolds(self) -> _Compact:
        for number, variant in enumerate(self.variants):
            _check(_VARIANT, variant, f"variants[{number}]")
        wanted = compact.SESSION_METRICS if "return" in self.columns else compact.METRICS
        if (missing := [name for name in wanted if name not in self.columns]) or len(
            set(self.columns)
        ) < len(self.columns):
            raise ValueError(f"columns {shown(self.columns)} are repeated or lack {missing}")
        for number, row in enumerate(self.rows):
            where = f"rows[{number}]"
            if len(row) != 3 + len(self.columns):
                raise ValueError(f"{where} has {len(row)} cells, not {3 + len(self.columns)}")
            places = _check(_PLACES, row[:3], where)
            lengths = len(self.conditions), len(self.variants), len(self.seeds)
            for place, length in zip(places, lengths, strict=True):
                if not 0 <= place < length:
                    raise ValueError(f"{where} names place {place} of {length}")
            num_seeds = len(self.seeds[places[2]])
            for values in row[3:]:
                if values is not None and len(_check(_VALUES, values, where)) != num_seeds:
                    raise ValueError(f"{where} has other numbers of values than of seeds")
        return self

    @model_validator(mode="after")
    def _has_whole_curves(self) -> _Compact:
        seeds = [len(self.seeds[row[2]]) for row in self.rows]
        if self.curves is not None and [len(of_row) for of_row in self.curves] != seeds:
            raise ValueError("curves are not one for each of a row's seeds")
        return self


class _Point(_Strict):
    best_soft: str
    label: str = ""
    leads: dict[str, Annotated[list[_Moderate], MinLen(1)]]
    log: dict[str, _Moderate]
    noise_share: _Moderate = math.nan
    reward_noise: _Moderate = math.nan
    popularity_bias: _Moderate = math.nan
    rounds: _Moderate = math.nan


class _Data(_Strict):
    points: list[_Point] = []

    @model_validator(mode="after")
    def _is_one_map(self) -> _Data:
        shapes = set()
        for number, point in enumerate(self.points):
            for kind, there, wanted in (
                ("leads", point.leads, CLAIMED),
                ("log", point.log, FEATURES),
            ):
                if missing := [name for name in wanted if name not in there]:
                    raise ValueError(f"points[{number}].{kind} lacks {', '.join(missing)}")
            if low := [name for name in SCALED if point.log[name] <= 0]:
                raise ValueError(f"points[{number}].log.{low[0]} is not above 0")
            axes = tuple(axis for axis in LABELS if axis in point.model_fields_set)
            shapes.add((axes, *((name, len(point.leads.get(name, ()))) for name in PAIRS)))
        if len(shapes) > 1:
            raise ValueError("points differ in their axes or in the number of their seeds")
        return self


class _Result(_Strict):
    experiment: str
    quick: bool
    plans: list[_Plan]
    revision: str | None
    versions: dict[str, Any]
    device: str
    wall_time_s: Annotated[_Finite, Ge(0)]
    verdicts: list[_Verdict]
    tables: list[_Table] = []
    data: _Data
    records: Annotated[
        Annotated[_Compact, Tag("compact")] | Annotated[list[_Record], Tag("each")],
        Discriminator(lambda value: "compact" if isinstance(value, dict) else "each"),
    ] = []
    pictures: list[str] = []

    @model_validator(mode="after")
    def _has_a_map(self) -> _Result:
        if self.experiment in (PHASE_MAP, WORLDS) and not self.data.points:
            raise ValueError(f"data.points: {self.experiment} has none")
        return self


class _Axis(_Strict):
    label: str
    log: bool
    range: list[float | None]


class _Panel(_Strict):
    title: str
    x: _Axis
    y: _Axis
    lines: list[dict[str, Any]]


_RESULT = TypeAdapter(_Result)
_PANELS = TypeAdapter(list[_Panel])
_VARIANT: TypeAdapter[Any] = TypeAdapter(tuple[str, int, dict[str, Any]])
_PLACES = TypeAdapter(list[int], config=ConfigDict(strict=True))
_VALUES = TypeAdapter(list[float | None], config=ConfigDict(strict=True, allow_inf_nan=False))
_COMPACT = TypeAdapter(_Compact)


def read_result(path: Path) -> Result:
    """A result of ``recsim-drpo reproduce`` in a file, its records expanded, with all its parts.

    Raises:
        ValueError: the file is no JSON, or no result; it names the file, the key and what is there.
        OSError: it cannot be read.
    """
    result: Result = {"tables": [], "records": [], "pictures": []} | _read(path, _RESULT)
    if isinstance(result["records"], dict):
        result["records"] = compact.expanded(result["records"])
    return result


def check_compact(content: Any) -> None:
    """Raise ``ValueError`` unless it is what :func:`.compact.compacted` makes; it names the key."""
    _check(_COMPACT, content, "records")


def read_panels(path: Path) -> list[dict[str, Any]]:
    """The panels of a result's pictures in a file; raises as :func:`read_result`."""
    panels: list[dict[str, Any]] = _read(path, _PANELS)
    return panels


def _read(path: Path, shape: TypeAdapter[Any]) -> Any:
    try:
        text = read_text(path)
        content = json.loads(text)
        if _HALF.search(text):  # of a character, which no file can hold
            json.dumps(content, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise _no_result(path, error) from error
    try:
        shape.validate_python(content)
    except (ValidationError, RecursionError) as error:
        raise _no_result(path, error) from error
    return content


def _no_result(path: Path, error: Exception) -> ValueError:
    reason = _said(error).removesuffix(".")
    return ValueError(f"{shown_path(path)} is no result of recsim-drpo reproduce: {reason}.")


def _check(shape: TypeAdapter[_T], value: Any, where: str) -> _T:
    """The value, of a shape; ``ValueError`` for any other."""
    try:
        return shape.validate_python(value)
    except ValidationError as error:
        raise ValueError(f"{where}: {_said(error)}") from error


def _said(error: Exception) -> str:
    """What is wrong, in one line: of several faults the first, with its key and what is there."""
    if not isinstance(error, ValidationError):
        return one_line(error)
    fault = error.errors(include_url=False)[0]
    where = "".join(
        f"[{part}]" if isinstance(part, int) else f".{shown(part)[1:-1]}"
        for part in fault["loc"]
        if part not in _TAGS
    ).removeprefix(".")
    message = fault["msg"].removeprefix("Value error, ")
    reason = f"{message[:1].lower()}{message[1:]}"
    found = (
        "" if fault["type"] in ("missing", "value_error") else f" (found {shown(fault['input'])})"
    )
    return one_line(f"{where}: {reason}{found}".removeprefix(": "), 170)
