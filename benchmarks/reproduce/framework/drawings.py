"""The lines of an experiment's pictures as numbers, so that the report can draw them anew.

Experiments draw with matplotlib, once. What is read off their figures here is what those figures
show: lines, bands and points with their names, colours and axes. Pictures of bars and maps are left
out; the report makes those from records.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from recsim_drpo.benchmarks.reproduce.framework.documents import rounded

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_DASHES = {"-": "solid", "--": "dash", ":": "dot", "-.": "dashdot"}
_GREY = "#888888"  # can be seen on white and on black
_DIGITS = 5


def drawings(figures: Mapping[str, Figure]) -> list[dict[str, Any]]:
    """The panels of an experiment's pictures, in the order in which they were drawn.

    Args:
        figures: by the name of their files, as an experiment's ``draw`` returns them.

    Returns:
        for each panel ``title``; ``x`` and ``y`` with ``label``, ``log`` and ``range``; ``lines``,
        each with ``name``, ``colour``, ``dash``, ``drawn`` (whether points are joined),
        ``markers``, ``x``, ``y`` and ``band``, the corners of what is shaded around it.
    """
    return [panel for name, figure in figures.items() for panel in _panels(name, figure)]


def _panels(name: str, figure: Figure) -> Iterator[dict[str, Any]]:
    grid = {_place(axes): axes for axes in figure.axes}
    last = max((row for row, _ in grid), default=0)
    for (row, column), axes in grid.items():
        lines = _lines(axes)
        if axes.images or axes.patches or not lines:
            continue
        # A grid has its titles above, and labels at its left and below.
        top = axes.get_title() or grid[0, column].get_title()
        left = axes.get_ylabel() or grid[row, 0].get_ylabel()
        below = axes.get_xlabel() or grid[last, column].get_xlabel()
        parts = [name, top, left] if len(grid) > 1 else [name, top]
        yield {
            "title": ": ".join(part for part in parts if part),
            "x": _axis(below, axes.get_xscale(), axes.get_xlim()),
            "y": _axis(left, axes.get_yscale(), axes.get_ylim()),
            "lines": rounded(lines, _DIGITS),
        }


def _place(axes: Axes) -> tuple[int, int]:
    spec = axes.get_subplotspec()
    return (0, 0) if spec is None else (spec.rowspan.start, spec.colspan.start)


def _axis(label: str, scale: str, limits: tuple[float, float]) -> dict[str, Any]:
    log = scale == "log"
    ends = np.log10(limits) if log else np.asarray(limits)
    return {"label": label, "log": log, "range": rounded(ends.tolist(), _DIGITS)}


def _lines(axes: Axes) -> list[dict[str, Any]]:
    from matplotlib.collections import PathCollection, PolyCollection
    from matplotlib.colors import to_hex

    lines, unshaded = [], []
    for line in axes.get_lines():
        x, y = (np.asarray(values, dtype=np.float64) for values in line.get_data())
        across, up = line.get_transform().contains_branch_seperately(axes.transData)
        # axhline and axvline go from one border to the other.
        x = x if across else np.asarray(axes.get_xlim())
        y = y if up else np.asarray(axes.get_ylim())
        label = str(line.get_label())
        marked = line.get_marker() not in ("None", "", " ", None) and line.get_markersize() > 0
        found = {
            "name": "" if label.startswith("_") else label,
            "colour": _seen(to_hex(line.get_color())),
            "dash": _DASHES.get(str(line.get_linestyle()), "solid"),
            "drawn": line.get_linestyle() != "None",
            "markers": marked,
            "x": x.tolist(),
            "y": y.tolist(),
            "band": None,
        }
        lines.append(found)
        if across and up:
            unshaded.append(found)
    for collection in axes.collections:
        colours = np.asarray(collection.get_facecolor())
        colour = _seen(to_hex(tuple(colours[0].tolist()))) if len(colours) else _GREY
        if isinstance(collection, PathCollection):
            points = np.asarray(collection.get_offsets(), dtype=np.float64)
            label = str(collection.get_label())
            lines.append(
                {
                    "name": "" if label.startswith("_") else label,
                    "colour": colour,
                    "dash": "solid",
                    "drawn": False,
                    "markers": True,
                    "x": points[:, 0].tolist(),
                    "y": points[:, 1].tolist(),
                    "band": None,
                }
            )
        elif isinstance(collection, PolyCollection) and collection.get_paths():
            # A band is drawn after its line, in its colour.
            owner = next((line for line in unshaded if line["colour"] == colour), None)
            if owner is not None:
                unshaded.remove(owner)
                owner["band"] = np.asarray(collection.get_paths()[0].vertices).tolist()
    return lines


def _seen(colour: str) -> str:
    """The colour, or grey for shades of it, which one of both themes would hide."""
    red, green, blue = colour[1:3], colour[3:5], colour[5:7]
    return _GREY if red == green == blue else colour
