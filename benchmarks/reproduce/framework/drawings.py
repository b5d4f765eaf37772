"""The lines of an experiment's pictures as numbers, so that the report can draw them anew.

Experiments draw with matplotlib, once. What is read off their figures here is what those figures
show: lines, bands and points with their names, colours and axes. Pictures of bars and maps are left
out; the report makes those from records.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from recsim_drpo.benchmarks.reproduce.framework.estimates import rounded

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.collections import Collection, PathCollection
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

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
    """Lines in the order in which they were drawn, then points; bands go with their lines."""
    from matplotlib.collections import PathCollection, PolyCollection

    lines = [_line(axes, line) for line in axes.get_lines()]
    unshaded = [
        line
        for line, drawn in zip(lines, axes.get_lines(), strict=True)
        if all(_in_data_coordinates(axes, drawn))
    ]
    for collection in axes.collections:
        if isinstance(collection, PathCollection):
            lines.append(_points(collection))
        elif isinstance(collection, PolyCollection) and collection.get_paths():
            # A band is drawn after its line, in its colour.
            colour = _face(collection)
            owner = next((line for line in unshaded if line["colour"] == colour), None)
            if owner is not None:
                unshaded.remove(owner)
                owner["band"] = np.asarray(collection.get_paths()[0].vertices).tolist()
    return lines


def _line(axes: Axes, line: Line2D) -> dict[str, Any]:
    from matplotlib.colors import to_hex

    x, y = (np.asarray(values, dtype=np.float64) for values in line.get_data())
    across, up = _in_data_coordinates(axes, line)
    # axhline and axvline go from one border to the other.
    x = x if across else np.asarray(axes.get_xlim())
    y = y if up else np.asarray(axes.get_ylim())
    return {
        "name": _name(line),
        "colour": _seen(to_hex(line.get_color())),
        "dash": _DASHES.get(str(line.get_linestyle()), "solid"),
        "drawn": line.get_linestyle() != "None",
        "markers": line.get_marker() not in ("None", "", " ", None) and line.get_markersize() > 0,
        "x": x.tolist(),
        "y": y.tolist(),
        "band": None,
    }


def _points(collection: PathCollection) -> dict[str, Any]:
    points = np.asarray(collection.get_offsets(), dtype=np.float64)
    return {
        "name": _name(collection),
        "colour": _face(collection),
        "dash": "solid",
        "drawn": False,
        "markers": True,
        "x": points[:, 0].tolist(),
        "y": points[:, 1].tolist(),
        "band": None,
    }


def _in_data_coordinates(axes: Axes, line: Line2D) -> tuple[bool, bool]:
    """Whether a line's places across, and upwards, are data and not shares of the axes."""
    across, up = line.get_transform().contains_branch_seperately(axes.transData)
    return bool(across), bool(up)


def _name(artist: Artist) -> str:
    """The label that the legend shows, or nothing."""
    label = str(artist.get_label())
    return "" if label.startswith("_") else label


def _face(collection: Collection) -> str:
    from matplotlib.colors import to_hex

    colours = np.asarray(collection.get_facecolor())
    return _seen(to_hex(tuple(colours[0].tolist()))) if len(colours) else _GREY


def _seen(colour: str) -> str:
    """The colour, or grey for shades of it, which one of both themes would hide."""
    red, green, blue = colour[1:3], colour[3:5], colour[5:7]
    return _GREY if red == green == blue else colour
