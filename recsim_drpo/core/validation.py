"""Checks of input that several modules share: each raises one error that says what is allowed."""

from __future__ import annotations

import difflib
import math
import numbers
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from recsim_drpo.core.messages import VALUE_WIDTH, shown

SEED_LIMIT = 2**63
"""Seeds are integers in [0, SEED_LIMIT)."""


def unknown_name(kind: str, name: object, known: Iterable[str]) -> ValueError:
    """An error for a name that is not among ``known``, which says the nearest and lists them all.

    Args:
        kind: what is named, for the message, such as ``"split"``.
        name: what was given.
        known: the names that there are.
    """
    choices = sorted(known)
    hint = nearest_name(name, choices)
    return ValueError(f"Unknown {kind} {shown(name)}.{hint} Known: {', '.join(choices) or 'none'}.")


def nearest_name(name: object, known: Iterable[str]) -> str:
    """The end of a message, " Did you mean …?" with the nearest name; empty if none is near."""
    start = name[:VALUE_WIDTH] if isinstance(name, str) else shown(name)
    matches = difflib.get_close_matches(start, list(known), n=1, cutoff=0.4)
    return f" Did you mean {matches[0]!r}?" if matches else ""


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
    """Raise ``ValueError`` unless ``value`` is a finite number in the stated interval.

    Args:
        name: what the number is called, for the message.
        value: anything; a boolean is no number.
        low: lower bound.
        high: upper bound, or infinity.
        include_low: whether the lower bound itself is allowed.
        include_high: whether the upper bound itself is allowed.
    """
    is_real = isinstance(value, numbers.Real) and not isinstance(value, bool)
    inside = (is_real and math.isfinite(value)) and (
        (low <= value if include_low else low < value)
        and (value <= high if include_high else value < high)
    )
    if not inside:
        left, right = "[("[not include_low], "])"[not include_high]
        right = ")" if math.isinf(high) else right
        raise ValueError(
            f"{name}={shown(value)} is not a number in {left}{low:g}, {high:g}{right}."
        )


def check_integer(name: str, value: Any, low: int, high: int | None = None) -> None:
    """Raise ``ValueError`` unless ``value`` is an integer ≥ ``low`` and, if given, ≤ ``high``.

    Integers of NumPy and torch count, booleans do not.
    """
    is_integer = hasattr(value, "__index__") and not isinstance(value, bool)
    if not is_integer or value < low or (high is not None and value > high):
        bound = f"at least {low}" if high is None else f"from {low} to {high}"
        raise ValueError(f"{name}={shown(value)} is not an integer {bound}.")


def check_flag(name: str, value: Any) -> None:
    """Raise ``ValueError`` unless ``value`` is a ``bool``; the text "true" is not."""
    if not isinstance(value, bool):
        raise ValueError(f"{name}={shown(value)} is neither true nor false (a boolean).")


def check_seed(seed: int, name: str = "seed") -> int:
    """The seed as an ``int``; ``ValueError`` unless it is an integer in [0, 2**63)."""
    if isinstance(seed, bool) or not hasattr(seed, "__index__") or not 0 <= int(seed) < SEED_LIMIT:
        raise ValueError(f"{name}={shown(seed)} is not an integer in [0, 2**63).")
    return int(seed)


def check_seeds(seeds: Sequence[int]) -> list[int]:
    """Seeds of replicates as ``int``; ``ValueError`` unless valid, all different, at least one."""
    checked = [check_seed(seed) for seed in seeds]
    if not checked or len(set(checked)) < len(checked):
        raise ValueError(f"seeds={shown(list(seeds))} must be different seeds, at least one.")
    return checked
