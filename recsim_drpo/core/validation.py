"""Checks of input that several modules share: each raises one error that names the mend."""

from __future__ import annotations

import difflib
import math
import numbers
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

SEED_LIMIT = 2**63
"""Seeds are integers in [0, SEED_LIMIT)."""


def unknown_name(kind: str, name: object, known: Iterable[str]) -> ValueError:
    """The error for a name that is not among ``known``: says the nearest one and lists all."""
    choices = sorted(known)
    hint = nearest_name(name, choices)
    return ValueError(f"Unknown {kind} {name!r}.{hint} Known: {', '.join(choices) or 'none'}.")


def nearest_name(name: object, known: Iterable[str]) -> str:
    """A question for the nearest of ``known``, with a blank before it; nothing if none is near."""
    nearest = difflib.get_close_matches(str(name), list(known), n=1, cutoff=0.4)
    return f" Did you mean {nearest[0]!r}?" if nearest else ""


def repeated_values(values: ArrayLike) -> NDArray[Any]:
    """The values that occur more than once, each once, sorted; of numbers or of text, (n,)."""
    unique, counts = np.unique(np.asarray(values), return_counts=True)
    return np.asarray(unique[counts > 1])


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


def check_seed(seed: int, name: str = "seed") -> int:
    """Return ``seed`` if it is an integer in [0, 2**63), else raise ``ValueError``."""
    if isinstance(seed, bool) or not hasattr(seed, "__index__") or not 0 <= int(seed) < SEED_LIMIT:
        raise ValueError(f"{name}={seed!r} is not an integer in [0, 2**63).")
    return int(seed)


def check_seeds(seeds: Sequence[int]) -> list[int]:
    """Return the seeds of replicates, checked to be at least one, valid and all different."""
    checked = [check_seed(seed) for seed in seeds]
    if not checked or len(set(checked)) < len(checked):
        raise ValueError(f"seeds={list(seeds)} must be different seeds, at least one.")
    return checked
