"""Configurations: dataclasses whose fields declare what they allow, checked when one is made.

A field is declared as ``learning_rate: Annotated[float, Gt(0)] = 3e-4``, in the vocabulary of
:mod:`annotated_types`, or with one of the names below: ``learning_rate: Positive = 3e-4``.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from annotated_types import Ge, Gt, Le, Lt

from recsim_drpo.core.messages import shown
from recsim_drpo.core.validation import (
    SEED_LIMIT,
    as_integer,
    as_number,
    check_flag,
    check_integer,
    check_number,
    check_seed,
    unknown_name,
)

ConfigT = TypeVar("ConfigT")

_EXACT = 2**53  # an integer up to it is a float without rounding


@dataclass(frozen=True)
class OneOf:
    """A constraint on text: it must be one of these names."""

    names: tuple[str, ...]


@dataclass(frozen=True)
class Searched:
    """Where a search for a good value of a number looks, if it is told nothing else.

    It forbids nothing: a field's constraints say what is allowed.

    Attributes:
        low: the least value.
        high: the largest.
        log: whether orders of magnitude are alike, and not differences.
    """

    low: float
    high: float
    log: bool = False


Positive = Annotated[float, Gt(0.0)]
NonNegative = Annotated[float, Ge(0.0)]
Probability = Annotated[float, Ge(0.0), Le(1.0)]
Share = Annotated[float, Gt(0.0), Le(1.0)]
OpenShare = Annotated[float, Gt(0.0), Lt(1.0)]
Count = Annotated[int, Ge(1)]
NonNegativeInt = Annotated[int, Ge(0)]
Seed = Annotated[int, Ge(0), Lt(SEED_LIMIT)]


@dataclass(frozen=True)
class FieldRule:
    """The values that a dataclass's field may have.

    Attributes:
        kind: ``float``, ``int``, ``bool`` or ``str``; ``None`` where anything goes.
        optional: whether ``None`` is allowed.
        low, high: bounds of numbers, infinite where there is none.
        include_low, include_high: whether the bounds are allowed themselves.
        names: what a text may be; empty where any text may.
        searched: where a search looks for a number; ``None`` where it is not searched for.
    """

    kind: type | None
    optional: bool = False
    low: float = -math.inf
    high: float = math.inf
    include_low: bool = True
    include_high: bool = True
    names: tuple[str, ...] = ()
    searched: Searched | None = None

    def check(self, name: str, value: Any) -> None:
        """Raise ``ValueError``, with the field's name and what it allows, for any other value."""
        if self.kind is None or (self.optional and value is None):
            return
        if self.kind is bool:
            check_flag(name, value)
        elif self.kind is str:
            if not isinstance(value, str):
                raise ValueError(f"{name}={shown(value)} is not text.")
            if self.names and value not in self.names:
                raise unknown_name(name.replace("_", " "), value, self.names)
        elif self.kind is int and self.high == SEED_LIMIT:
            check_seed(value, name)
        elif self.kind is int:
            low = int(self.low) + (not self.include_low)
            high = None if math.isinf(self.high) else int(self.high) - (not self.include_high)
            check_integer(name, value, low, high)
        else:
            bounds = {"include_low": self.include_low, "include_high": self.include_high}
            check_number(name, value, self.low, self.high, **bounds)

    def plain(self, value: Any) -> Any:
        """A value that :meth:`check` allows as Python's own type: NumPy's numbers and others.

        Configurations are compared, hashed and written as JSON, which those do each in their way.
        """
        if value is None or self.kind in (None, type(value)):
            return value
        if self.kind is int:
            return as_integer(value)
        if self.kind is float and (type(value) is not int or abs(value) > _EXACT):
            return as_number(value)
        return str(value) if self.kind is str else value


def field_rules(config: type) -> Mapping[str, FieldRule]:
    """Rules of the fields of a dataclass, by name."""
    return _field_rules(config)


@functools.cache
def _field_rules(config: Any) -> Mapping[str, FieldRule]:
    hints = typing.get_type_hints(config, include_extras=True)
    return {field.name: _rule(hints[field.name]) for field in dataclasses.fields(config)}


def _rule(hint: Any) -> FieldRule:
    optional = False
    constraints: tuple[Any, ...] = ()
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        parts = typing.get_args(hint)
        others = [part for part in parts if part is not type(None)]
        if len(others) != 1:
            return FieldRule(None)
        optional, hint = len(others) < len(parts), others[0]
    if typing.get_origin(hint) is Annotated:
        hint, *annotations = typing.get_args(hint)
        constraints = tuple(annotations)
    rule: dict[str, Any] = {}
    for constraint in constraints:
        rule |= _part(constraint)
    kind = hint if hint in (float, int, bool, str) else None
    return FieldRule(kind, optional, **rule)


def _part(constraint: Any) -> dict[str, Any]:
    """What a constraint says of a rule, by the rule's fields; nothing of another annotation."""
    part: dict[str, Any] = {}
    match constraint:
        case Gt(bound):
            part = {"low": bound, "include_low": False}
        case Ge(bound):
            part = {"low": bound}
        case Lt(bound):
            part = {"high": bound, "include_high": False}
        case Le(bound):
            part = {"high": bound}
        case OneOf(names):
            part = {"names": names}
        case Searched():
            part = {"searched": constraint}
    return part


@dataclass(frozen=True)
class Config:
    """A configuration that checks each field by its rule when it is made, and keeps it plain.

    A subclass checks what fields have to be together in a ``__post_init__`` of its own.

    Raises:
        ValueError: a field's value is not allowed.
    """

    def __post_init__(self) -> None:
        for name, rule in field_rules(type(self)).items():
            value = getattr(self, name)
            rule.check(name, value)
            object.__setattr__(self, name, rule.plain(value))


def build_config(cls: type[ConfigT], values: Mapping[str, Any], kind: str) -> ConfigT:
    """A ``cls`` with fields of these values.

    Args:
        cls: a dataclass.
        values: values by field; the others get their defaults.
        kind: what a field is called in messages, such as ``"world parameter"``.

    Raises:
        ValueError: there is no such field (the nearest is named), or a value is not allowed.
    """
    known = [field.name for field in dataclasses.fields(cls)]  # type: ignore[arg-type]
    for name in values:
        if name not in known:
            raise unknown_name(kind, name, known)
    return cls(**values)
