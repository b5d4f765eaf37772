"""The types of what JSON says of an imported log: of its columns, and of how contexts are coded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from recsim_drpo.core.schemas import Bounds, Described, Finite
from recsim_drpo.datasets.importing.limits import MAX_BUCKETS


class ColumnsFile(Described):
    """The types of the fields of :class:`.columns.Columns` in JSON."""

    numbers: Sequence[str] = ()
    categories: dict[str, Sequence[str | int | float | bool]] | Sequence[str] = ()
    item: str = ""
    reward: str = ""
    propensity: str | None = None
    keep: Sequence[str] = ()
    reward_range: Bounds = (0.0, 1.0)
    outside: str = ""
    time: str | None = None
    request: str | None = None
    position: str | None = None
    hashes: dict[str, int] = Field(default_factory=dict)
    transforms: dict[str, str] = Field(default_factory=dict)
    missing: str = ""
    coding: dict[str, Any] | None = None


class NumberDescription(Described):
    """The coding of a column of numbers in JSON."""

    transform: Literal["standardise", "log", "quantile", "none"] = "none"
    center: Finite = 0.0
    scale: Annotated[float, Field(gt=0.0, allow_inf_nan=False)] = 1.0
    knots: Sequence[Finite] = ()
    levels: Sequence[Finite] = ()
    fill: Finite = 0.0
    missing: bool = False
    single: bool = False
    mean: float | None = None
    deviation: float | None = None
    quantiles: Sequence[float] = ()
    missing_share: float = 0.0

    @model_validator(mode="after")
    def _as_many_levels_as_knots(self) -> NumberDescription:
        if len(self.knots) != len(self.levels) or (self.transform == "quantile" and not self.knots):
            raise ValueError(f"{len(self.knots)} knots have {len(self.levels)} levels")
        return self


class CodingDescription(Described):
    """What was measured, in JSON."""

    numbers: dict[str, NumberDescription] = Field(default_factory=dict)
    extra: dict[str, Sequence[Literal["other", "missing"]]] = Field(default_factory=dict)
    strict: bool = True


class ContextDescription(Described):
    """A description of a :class:`.coding.ContextCoder` in JSON."""

    numbers: Sequence[str]
    categories: dict[str, Sequence[str]]
    hashes: dict[str, Annotated[int, Field(ge=1, le=MAX_BUCKETS)]] | None = None
    coding: CodingDescription | None = None
