"""Criteo's counterfactual data (Lefortier et al., 2016, arXiv 1612.00367).

An example begins with ``example ID: HASH CLICKED PROPENSITY SLOTS CANDIDATES FEATURE:VALUE …``, and
has a line for each candidate, ``CLICKED exid:ID FEATURE:VALUE …``, those that were shown first.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from recsim_drpo.core.messages import one_line
from recsim_drpo.datasets.importing.columns import Columns
from recsim_drpo.datasets.importing.presets.base import (
    Example,
    Preset,
    numbered_lines,
    of_examples,
    one_file,
)

_NOTE = (
    "Only banners with one slot are rounds: of others the propensity is that of the whole slate. "
    "Features are codes, hashed to 256 dimensions. An item is a candidate's set of features; a "
    "policy chooses among all items of the log."
)
_BUCKETS = 256


def criteo(logs: Sequence[str | Path], columns: Columns | None = None) -> Preset:
    """Banners with one slot: display features are the context, the product shown is the item.

    With ``columns``, contexts have the features of these and no others.

    Raises:
        FileNotFoundError, ValueError: about the file, with the line.
    """
    path = one_file(logs, "criteo")
    return of_examples(path.name, lambda: _examples(path), [_NOTE], columns)


def _examples(path: Path) -> Iterator[Example]:
    waiting: tuple[float, float, dict[str, float]] | None = None
    for number, line in numbered_lines(path):
        words = line.split()
        try:
            if words[:1] == ["example"]:
                clicked, propensity, slots, _ = words[3:7]
                context = _features(words[7:])
                waiting = (float(clicked), float(propensity), context) if slots == "1" else None
            elif words and waiting is not None:
                reward, probability, context = waiting
                waiting = None
                codes = sorted(word for word in words[1:] if not word.startswith("exid:"))
                yield Example(context, " ".join(codes), _features(codes), reward, probability)
        except ValueError as error:
            raise ValueError(
                f"{path.name!r}, line {number}: no example ({one_line(error)})."
            ) from error


def _features(codes: Sequence[str]) -> dict[str, float]:
    """Codes hashed with signs: those that meet cancel on average (Weinberger et al., 2009)."""
    features: dict[str, float] = {}
    for code in codes:
        number = zlib.crc32(code.encode())
        name = f"hash_{number % _BUCKETS:03}"
        features[name] = features.get(name, 0.0) + (1.0 if number & 2**31 else -1.0)
    return features
