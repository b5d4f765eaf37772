"""Thresholds of verdicts, from a file with the date and the reason of each.

What the paper leaves to words (*fails*, *adequate*, *necessary*) is decided by a number. All of
them are in ``thresholds.json``, set before the runs that they judge, and nowhere else.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from datetime import date
from importlib import resources
from typing import NamedTuple

from recsim_drpo.core.validation import unknown_name

FILE = "thresholds.json"


class Threshold(NamedTuple):
    """A number that a word means: its value, since when, and why."""

    value: float
    since: date
    reason: str


@functools.cache
def thresholds() -> Mapping[str, Threshold]:
    """All thresholds by name.

    Raises:
        ValueError: one lacks its value, its date or its reason, or is of after the file's date.
    """
    text = resources.files(__package__).joinpath(FILE).read_text(encoding="utf-8")
    content = json.loads(text)
    latest = date.fromisoformat(content["set"])
    found = {}
    for name, entry in content["thresholds"].items():
        since = date.fromisoformat(entry["since"])
        if not entry["reason"] or since > latest:
            raise ValueError(f"{FILE}: {name} has no reason, or is of after {latest}.")
        found[name] = Threshold(float(entry["value"]), since, entry["reason"])
    return found


def threshold(name: str) -> float:
    """The value of a threshold.

    Raises:
        ValueError: there is none of that name.
    """
    known = thresholds()
    if name not in known:
        raise unknown_name("threshold", name, known)
    return known[name].value
