"""Checks of input that several modules share: each raises one error that names the mend."""

from __future__ import annotations

import dataclasses
import difflib
import math
import numbers
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import torch

ConfigT = TypeVar("ConfigT")


def unknown_name(kind: str, name: object, known: Iterable[str]) -> ValueError:
    """The error for a name that is not among ``known``: says the nearest one and lists all."""
    choices = sorted(known)
    hint = nearest_name(name, choices)
    return ValueError(f"Unknown {kind} {name!r}.{hint} Known: {', '.join(choices) or 'none'}.")


def nearest_name(name: object, known: Iterable[str]) -> str:
    """A question for the nearest of ``known``, with a blank before it; nothing if none is near."""
    nearest = difflib.get_close_matches(str(name), list(known), n=1, cutoff=0.4)
    return f" Did you mean {nearest[0]!r}?" if nearest else ""


def build_config(cls: type[ConfigT], values: Mapping[str, Any], kind: str) -> ConfigT:
    """Build the dataclass ``cls``; raise ``ValueError`` for a field that it does not have."""
    known = [field.name for field in dataclasses.fields(cls)]  # type: ignore[arg-type]
    for name in values:
        if name not in known:
            raise unknown_name(kind, name, known)
    return cls(**values)


def check_number(
    name: str,
    value: Any,
    low: float,
    high: float = math.inf,
    *,
    include_low: bool = True,
    include_high: bool = True,
) -> None:
    """Raise ``ValueError`` unless ``value`` is a finite number in the stated interval."""
    number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    number = number and math.isfinite(value)
    inside = number and (
        (low <= value if include_low else low < value)
        and (value <= high if include_high else value < high)
    )
    if not inside:
        left, right = "[("[not include_low], "])"[not include_high]
        right = ")" if math.isinf(high) else right
        raise ValueError(f"{name}={value!r} is not a number in {left}{low:g}, {high:g}{right}.")


def check_integer(name: str, value: Any, low: int, high: int | None = None) -> None:
    """Raise ``ValueError`` unless ``value`` is an integer, at least ``low``, at most ``high``."""
    integer = hasattr(value, "__index__") and not isinstance(value, bool)
    if not integer or value < low or (high is not None and value > high):
        bound = f"at least {low}" if high is None else f"from {low} to {high}"
        raise ValueError(f"{name}={value!r} is not an integer {bound}.")


def check_flag(name: str, value: Any) -> None:
    """Raise ``ValueError`` unless ``value`` is true or false; text that says so is neither."""
    if not isinstance(value, bool):
        raise ValueError(f"{name}={value!r} is neither true nor false (a boolean).")


def resolve_device(device: str | torch.device) -> torch.device:
    """Return the device, checked to be there.

    Raises:
        ValueError: the name is malformed, or this machine or this build of torch lacks the device.
    """
    try:
        resolved = torch.device(device)
        # In float64, which random numbers and propensities need.
        torch.empty(1, dtype=torch.float64, device=resolved)
    except (RuntimeError, AssertionError, NotImplementedError, TypeError) as error:
        have = ["cpu"] + [f"cuda:{i}" for i in range(torch.cuda.device_count())]
        reason = str(error).strip().splitlines()[0]
        raise ValueError(
            f"device={str(device)!r} cannot be used here ({reason}); available: {', '.join(have)}."
        ) from error
    return resolved
