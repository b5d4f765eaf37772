"""Pictures, drawn with matplotlib (the extra ``plots``) and written as PNG.

Pictures of a benchmark are written as PNG and SVG where the path has no suffix. They are legible at
a width of 600 pixels; their functions return the figure as well, for those who read the drawn lines
off it. Estimates come as rows of value, low and high.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from recsim_drpo.core.files import replaced_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LONGEST_LABEL = 40
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
"""Okabe and Ito's colours, which colour-blind readers can tell apart."""


class PlotsMissingError(ImportError):
    """Raised where a picture is asked for and the extra ``plots`` is not installed."""

    def __init__(self) -> None:
        super().__init__(
            'Pictures need matplotlib and scikit-learn: pip install "recsim-drpo[plots]".'
        )


def new_figure(width: float = 6.0, height: float = 4.0) -> tuple[Figure, Axes]:
    """A figure with one pair of axes, apart from pyplot's global state.

    Raises:
        PlotsMissingError: matplotlib is not installed.
    """
    figure, panels = new_panels(1, 1, width, height)
    return figure, panels[0][0]


def new_panels(
    rows: int, columns: int, width: float, height: float, *, share: str = "x"
) -> tuple[Figure, list[list[Axes]]]:
    """A figure with rows of axes that share their horizontal scale, or with ``"y"`` the vertical.

    Raises:
        PlotsMissingError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise PlotsMissingError from error
    figure = Figure(figsize=(width, height), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False, sharex=share == "x", sharey=share == "y")
    for axes in panels.flat:
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
    return figure, [list(row) for row in panels]


def save(figure: Figure, path: Path) -> list[Path]:
    """Write a figure as ``.png`` or ``.svg`` says, as both where the name ends otherwise.

    Text stays text in an SVG, and the same figure gives the same bytes.
    """
    import matplotlib

    endings = (".png", ".svg")
    both = [path.with_name(path.name + ending) for ending in endings]
    paths = [path] if path.suffix in endings else both
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "recsim_drpo"}):
        for target in paths:
            metadata = {"Date": None} if target.suffix == ".svg" else {}
            with replaced_file(target) as partial:
                figure.savefig(partial, dpi=120, metadata=metadata, format=target.suffix[1:])
    return paths


def learning_curves(
    path: Path,
    curves: Mapping[str, tuple[ArrayLike, NDArray[np.float64]]],
    levels: Mapping[str, float],
    ylabel: str,
) -> Figure:
    """Value against training steps: the mean over seeds, each seed thin, references as lines.

    Args:
        path: PNG or SVG to write, or both where it has no suffix.
        curves: by name, steps (T,) and values (seeds, T).
        levels: references by name.
        ylabel: what is drawn.

    Raises:
        ValueError: there are more than 7 curves.
    """
    if len(curves) > len(COLOURS):
        raise ValueError(f"{len(curves)} curves: no more than {len(COLOURS)} can be told apart.")
    figure, axes = new_figure(7.0, 4.6)
    for colour, (name, (steps, values)) in zip(COLOURS, curves.items(), strict=False):
        x = np.asarray(steps)
        for run in values:
            axes.plot(x, run, color=colour, alpha=0.3, lw=0.8)
        plural = "s" if len(values) > 1 else ""
        label = f"{name} ({len(values)} seed{plural})"
        axes.plot(x, values.mean(axis=0), color=colour, lw=2, label=label)
    styles = ("--", ":", "-.", (0, (1, 3)))
    for style, (name, level) in zip(styles, levels.items(), strict=False):
        axes.axhline(level, color="0.4", ls=style, lw=1, label=name)
    axes.set(xlabel="training steps", ylabel=ylabel)
    if not any((values < 0).any() for _, values in curves.values()):  # as a loss may be
        axes.set_ylim(bottom=0)
    figure.legend(loc="outside lower center", frameon=False, fontsize=9, ncols=4)
    save(figure, path)
    return figure


def estimates(path: Path, rows: Mapping[str, Any], xlabel: str) -> Figure:
    """A dot with its interval for each name, top to bottom.

    Args:
        path: PNG or SVG to write, or both where it has no suffix.
        rows: :class:`recsim_drpo.reporting.statistics.Estimate` by name.
        xlabel: what is drawn.
    """
    figure, axes = new_figure(6.0, 0.45 * len(rows) + 1.0)
    for row, estimate in enumerate(rows.values()):
        spread = [[estimate.value - estimate.low], [estimate.high - estimate.value]]
        axes.errorbar(estimate.value, row, xerr=np.nan_to_num(spread), fmt="o", color=COLOURS[0])
        axes.annotate(
            f"{estimate.value:.2f}",
            (estimate.value, row),
            (0, 6),
            textcoords="offset points",
            ha="center",
            fontsize=8,
        )
    labels = [_shortened(name) for name in rows]
    axes.set(yticks=range(len(rows)), yticklabels=labels, xlabel=xlabel)
    axes.set_ylim(len(rows) - 0.5, -0.7)
    if not any(one.value < 0 or one.low < 0 for one in rows.values()):
        axes.set_xlim(left=0)
    save(figure, path)
    return figure


def _shortened(name: str) -> str:
    """The end of a name that would leave no room for the picture, as a run folder's path may."""
    return name if len(name) <= _LONGEST_LABEL else "…" + name[1 - _LONGEST_LABEL :]


def interval_bars(
    path: Path, names: Sequence[str], panels: Mapping[str, ArrayLike], xlabel: str
) -> Figure:
    """A bar from low to high with a line at the value, one row a name, one panel a scenario.

    Args:
        path: PNG or SVG to write, or both where it has no suffix.
        names: of the rows, top to bottom (agents).
        panels: by title, (len(names), 3): value, low, high. A NaN interval has no bar.
        xlabel: what is drawn, with its unit.
    """
    # At most three beside one another can be read, in rows of about equal length.
    rows = math.ceil(len(panels) / 3)
    columns = math.ceil(len(panels) / rows)
    height = rows * (0.24 * len(names) + 0.6) + 0.4
    figure, by_row = new_panels(rows, columns, 6.0, height, share="y")
    grid = [axes for row in by_row for axes in row]
    places = np.arange(len(names))
    for axes, (title, estimates) in zip(grid, panels.items(), strict=False):
        value, low, high = np.asarray(estimates, dtype=np.float64).T
        axes.barh(places, high - low, left=low, height=0.66, color=COLOURS[5])
        axes.vlines(value, places - 0.33, places + 0.33, color="black", lw=2)
        axes.set_title(title, fontsize=10)
        axes.set_yticks(places, names)
        axes.set_ylim(len(names) - 0.4, -0.6)
        axes.use_sticky_edges = False  # or the outermost bars touch the frame
        axes.margins(x=0.06)
        axes.locator_params(axis="x", nbins=4)
    for axes in grid[len(panels) :]:
        axes.remove()
    figure.supxlabel(xlabel, fontsize=10)
    save(figure, path)
    return figure


def standings(
    path: Path, names: Sequence[str], panels: Mapping[str, tuple[str, ArrayLike]]
) -> Figure:
    """A bar from 0 with its interval and its value, one row a name, one panel a comparison.

    The largest value of a panel, and those whose interval reaches it, have another colour.

    Args:
        path: PNG or SVG to write, or both where it has no suffix.
        names: of the rows, top to bottom (agents).
        panels: by title, what is drawn, with its unit, and (len(names), 3): value, low, high, above
            0; a row of NaN is left empty.
    """
    figure, (row,) = new_panels(1, len(panels), 9.6, 0.25 * len(names) + 1.1, share="y")
    for axes, (title, (label, estimates)) in zip(row, panels.items(), strict=True):
        value, low, high = np.asarray(estimates, dtype=np.float64).T
        there = np.flatnonzero(np.isfinite(value))
        ends = np.fmax(value, high)
        colours = [COLOURS[1 if ends[place] >= np.nanmax(value) else 0] for place in there]
        axes.barh(there, value[there], height=0.62, color=colours, alpha=0.3)
        for place, colour in zip(there, colours, strict=True):
            spread = np.nan_to_num([[value[place] - low[place]], [high[place] - value[place]]])
            axes.errorbar(value[place], place, xerr=spread, fmt="o", ms=4, color=colour, capsize=2)
            text, offset = f"{value[place]:.2f}", (4, 0)
            where = (ends[place], place)
            axes.annotate(text, where, offset, textcoords="offset points", va="center", fontsize=9)
        axes.set_title(title, fontsize=10)
        axes.set(xlabel=label, xlim=(0, 1.2 * np.nanmax(ends)))
        axes.tick_params(axis="y", length=0)
        axes.grid(visible=False, axis="y")
    row[0].set_yticks(range(len(names)), names)
    row[0].set_ylim(len(names) - 0.4, -0.6)
    save(figure, path)
    return figure


def profiles(
    path: Path, thresholds: ArrayLike, curves: Mapping[str, ArrayLike], xlabel: str
) -> Figure:
    """Performance profiles: the share of runs with a score above each threshold, with bands.

    Args:
        path: PNG or SVG to write, or both where it has no suffix.
        thresholds: (T,), rising.
        curves: by agent, (T, 3) of :func:`recsim_drpo.reporting.comparison.performance_profile`.
        xlabel: what the scores are, with their unit.

    Raises:
        ValueError: there are more than 21 agents.
    """
    figure, axes = new_figure(6.0, 4.5)
    _bands(figure, axes, np.asarray(thresholds), curves, markers=False)
    axes.set(xlabel=f"τ, {xlabel}", ylabel="share of runs with more than τ", ylim=(-0.02, 1.02))
    save(figure, path)
    return figure


def sweep(
    path: Path, x: ArrayLike, curves: Mapping[str, ArrayLike], xlabel: str, ylabel: str
) -> Figure:
    """Estimates against what is varied, a line with its band for each agent.

    Args:
        path: PNG or SVG to write, or both where it has no suffix.
        x: (T,), rising, for example shares of random logs.
        curves: by agent, (T, 3): value, low, high. A NaN interval has no band.
        xlabel: what is varied, with its unit.
        ylabel: what is drawn, with its unit.

    Raises:
        ValueError: there are more than 21 agents.
    """
    figure, axes = new_figure(6.0, 4.5)
    _bands(figure, axes, np.asarray(x), curves, markers=True)
    axes.set(xlabel=xlabel, ylabel=ylabel)
    save(figure, path)
    return figure


def heatmap(
    path: Path,
    values: ArrayLike,
    significant: ArrayLike,
    x: ArrayLike,
    y: ArrayLike,
    *,
    xlabel: str,
    ylabel: str,
    label: str,
    mark: str,
) -> Figure:
    """A map of differences over two quantities: diverging colours, white at 0.

    Cells are of one size, whatever the steps of ``x`` and ``y``.

    Args:
        path: PNG or SVG to write, or both where it has no suffix.
        values: (len(y), len(x)); NaN, where nothing was measured, is grey.
        significant: (len(y), len(x)), true for cells to mark with a dot.
        x: of the columns, left to right.
        y: of the rows, bottom to top.
        xlabel: with its unit.
        ylabel: with its unit.
        label: what the colours are, with their unit.
        mark: what a dot says, for example ``"differs from 0 (Holm, 5 %)"``.
    """
    figure, axes = new_figure(6.0, 4.5)
    shown = np.asarray(values, dtype=np.float64)
    limit = float(np.abs(shown[np.isfinite(shown)]).max(initial=0.0)) or 1.0
    axes.grid(visible=False)
    axes.set_facecolor("0.8")
    # Brown to violet, which colour-blind readers can tell apart.
    image = axes.imshow(shown, cmap="PuOr", vmin=-limit, vmax=limit, origin="lower", aspect="auto")
    rows, columns = np.nonzero(np.asarray(significant, dtype=np.bool_))
    # Ringed in white, to be seen on the darkest cells.
    axes.scatter(columns, rows, s=28, color="black", edgecolor="white", label=mark)
    axes.set_xticks(range(shown.shape[1]), [f"{value:,.12g}" for value in np.asarray(x)])
    axes.set_yticks(range(shown.shape[0]), [f"{value:,.12g}" for value in np.asarray(y)])
    axes.set(xlabel=xlabel, ylabel=ylabel)
    figure.colorbar(image, ax=axes, label=label)
    figure.legend(loc="outside upper left", frameon=False, fontsize=9)
    save(figure, path)
    return figure


def _bands(
    figure: Figure,
    axes: Axes,
    x: NDArray[np.floating],
    curves: Mapping[str, ArrayLike],
    *,
    markers: bool,
) -> None:
    """Lines with bands, their names below; other dashes where the colours come again."""
    styles = tuple(itertools.product(("-o", "--s", ":^"), COLOURS))
    if len(curves) > len(styles):
        raise ValueError(f"{len(curves)} lines: no more than {len(styles)} can be told apart.")
    for (style, colour), (name, estimates) in zip(styles, curves.items(), strict=False):
        value, low, high = np.asarray(estimates, dtype=np.float64).T
        axes.plot(x, value, style, ms=4 if markers else 0, color=colour, label=name)
        axes.fill_between(x, low, high, color=colour, alpha=0.12, lw=0)
    figure.legend(loc="outside lower center", frameon=False, fontsize=9, ncols=4, handlelength=2.8)
