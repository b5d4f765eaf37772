"""The settings of an index of faiss that reach a recall, and are quick."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from recsim_drpo.simulator.faiss_engine import Structure, set_parameters

_BISECTIONS = 2


def tune(index: Any, num_items: int, recall: Callable[[], float], wanted: float) -> dict[str, Any]:
    """Choose the quickest settings of an index that reach a recall, and leave them set.

    Args:
        index: filled.
        num_items: N.
        recall: measures the recall of the index as it is set.
        wanted: in (0, 1].

    Returns:
        the settings: each that is tried is twice as thorough as the one before, until one reaches
        the recall, or is the last; then twice the middle between it and what does not reach it;
        then half of each but the first as often as that reaches it as well.
    """
    short: dict[str, float] = {}
    chosen: dict[str, float] = {}
    for settings in Structure(index, num_items).ladder():
        set_parameters(index, settings)
        chosen = settings
        if recall() >= wanted:
            break
        short = settings
    for _ in range(_BISECTIONS if short not in ({}, chosen) else 0):
        middle = {name: float(round((short[name] * chosen[name]) ** 0.5)) for name in chosen}
        set_parameters(index, middle)
        if recall() >= wanted:
            chosen = middle
        else:
            short = middle
    return _thrifty(index, chosen, recall, wanted)


def _thrifty(
    index: Any, settings: dict[str, float], recall: Callable[[], float], wanted: float
) -> dict[str, float]:
    """Settings of which none but the thoroughness of the search itself is more than is needed."""
    for name in settings if len(settings) > 1 else ():
        while name not in ("nprobe", "efSearch") and settings[name] > 1.0:
            less = settings | {name: float(settings[name] // 2)}
            set_parameters(index, less)
            if recall() < wanted:
                break
            settings = less
    set_parameters(index, settings)
    return settings
