"""Checks of input that several modules share: each raises one error that says what is allowed."""

from __future__ import annotations

import difflib
import math
import numbers
import operator
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


def as_integer(value: Any) -> int | None:
    """The ``int`` that a value is, of Python, NumPy or torch; ``None`` of any other, truths too."""
    if isinstance(value, bool | np.bool_):
        return None
    try:
        return operator.index(value)
    except Exception:  # arrays and tensors say so each in a way of its own
        return None


def as_number(value: Any) -> float | None:
    """The ``float`` that a real number is; ``None`` of any other value, truths too.

    An integer too large for a ``float`` is infinity.
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf
    except Exception:  # of a class of its own
        return None


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
    number = as_number(value)
    inside = (number is not None and math.isfinite(number)) and (
        (low <= number if include_low else low < number)
        and (number <= high if include_high else number < high)
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
    integer = as_integer(value)
    if integer is None or integer < low or (high is not None and integer > high):
        bound = f"at least {low}" if high is None else f"from {low} to {high}"
        raise ValueError(f"{name}={shown(value)} is not an integer {bound}.")


def check_flag(name: str, value: Any) -> None:
    """Raise ``ValueError`` unless ``value`` is a ``bool``; the text "true" is not."""
    if not isinstance(value, bool):
        raise ValueError(f"{name}={shown(value)} is neither true nor false (a boolean).")


def check_seed(seed: int, name: str = "seed", bits: int = 63) -> int:
    """The seed as an ``int``; ``ValueError`` unless it is an integer in [0, 2**bits)."""
    integer = as_integer(seed)
    if integer is None or not 0 <= integer < 2**bits:
        raise ValueError(f"{name}={shown(seed)} is not an integer in [0, 2**{bits}).")
    return integer


def check_seeds(seeds: Sequence[int]) -> list[int]:
    """Seeds of replicates as ``int``; ``ValueError`` unless valid, all different, at least one."""
    checked = [check_seed(seed) for seed in seeds]
    if not checked or len(set(checked)) < len(checked):
        raise ValueError(f"seeds={shown(list(seeds))} must be different seeds, at least one.")
    return checked
