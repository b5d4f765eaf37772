"""Pictures, drawn with matplotlib (the extra ``plots``) and written as PNG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from recsim_drpo import paper

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

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
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise PlotsMissingError from error
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    return figure, axes


def deciles(path: Path, curves: Mapping[str, ArrayLike]) -> None:
    """Figure 1: reward at 10, 20, …, 90 % of the logs, best first, relative to the first.

    Args:
        path: PNG to write.
        curves: nine values a name.
    """
    figure, axes = new_figure()
    shares = 100 * paper.FIGURE_1_SHARES
    for colour, (name, values) in zip(COLOURS, curves.items(), strict=False):
        y = np.asarray(values, dtype=np.float64)
        axes.plot(shares, y / y[0], "o-", color=colour, label=name)
    reference = paper.FIGURE_1 / paper.FIGURE_1[0]
    axes.plot(shares, reference, "s--", color="0.5", label="paper, Figure 1 (production)")
    axes.set(
        xlabel="share of rounds, best first (%)", ylabel="latent reward, relative", ylim=(0, 1.05)
    )
    axes.legend(frameon=False)
    figure.savefig(path, dpi=120)


def value_by_rank(path: Path, curve: NDArray[np.float64]) -> None:
    """Figure 6b: mean over users of the value of their item of rank r, relative to rank 1."""
    figure, axes = new_figure()
    # As a share of the catalogue, since the paper's has 5,000 items and this one may not.
    ranks = 100 * np.arange(1, len(curve) + 1) / len(curve)
    axes.plot(ranks, curve / curve[0], color=COLOURS[0], label="this world")
    reference = paper.FIGURE_6B / paper.FIGURE_6B[0]
    ranks = 100 * paper.FIGURE_6B_RANKS / paper.FIGURE_6B_RANKS[-1]
    axes.plot(ranks, reference, "s--", color="0.5", label="paper, Figure 6b")
    axes.set(
        xlabel="rank of the item for the user (% of the catalogue)",
        ylabel="latent reward, relative",
        ylim=(0, 1.05),
    )
    axes.legend(frameon=False)
    figure.savefig(path, dpi=120)


def item_frequencies(
    path: Path, logged: NDArray[np.float64], expected: NDArray[np.float64], exponent: float
) -> None:
    """Logged and expected share of each item by true popularity rank, on logarithmic axes."""
    figure, axes = new_figure()
    ranks = np.arange(1, len(logged) + 1)
    shares = logged / logged.sum()
    seen = shares > 0
    axes.loglog(ranks[seen], shares[seen], ".", ms=3, color=COLOURS[5], label="logged")
    axes.loglog(ranks, expected, ".", ms=2, color=COLOURS[0], label="expected of the mixture")
    fitted = ranks**-exponent
    axes.loglog(
        ranks, fitted / fitted.sum(), color=COLOURS[1], label=f"Zipf, exponent {exponent:.2f}"
    )
    axes.set(xlabel="true popularity rank", ylabel="share of rounds")
    axes.legend(frameon=False)
    figure.savefig(path, dpi=120)


def item_map(
    path: Path,
    vectors: NDArray[np.floating],
    interest: NDArray[np.floating],
    shown_by: Mapping[str, Sequence[int]],
) -> None:
    """Figure 6a: items and a user's interest by t-SNE, and who shows which to that user.

    Args:
        path: PNG to write.
        vectors: (n, d), the items drawn.
        interest: (d,), the user's interest.
        shown_by: for each component of the logging agent, rows of ``vectors`` it showed.

    Raises:
        PlotsMissingError: scikit-learn or matplotlib is not installed.
    """
    try:
        from sklearn.manifold import TSNE
    except ImportError as error:
        raise PlotsMissingError from error
    figure, axes = new_figure(6.0, 5.5)
    together = np.vstack([vectors, interest[None]]).astype(np.float64)
    perplexity = min(30.0, max(1.0, (len(together) - 1) / 3))
    points = TSNE(
        metric="cosine", init="random", perplexity=perplexity, max_iter=500, random_state=0
    ).fit_transform(together)
    items, star = points[:-1], points[-1]
    axes.scatter(items[:, 0], items[:, 1], s=4, color="0.85", label="catalogue")
    for colour, (name, rows) in zip(COLOURS, shown_by.items(), strict=False):
        chosen = items[np.unique(np.asarray(rows, dtype=np.int64))]
        axes.scatter(chosen[:, 0], chosen[:, 1], s=14, color=colour, alpha=0.8, label=name)
    axes.scatter(
        star[0], star[1], s=220, marker="*", color="black", zorder=5, label="user's interest"
    )
    axes.set(xticks=[], yticks=[])
    axes.legend(frameon=False, loc="best", fontsize=8)
    figure.savefig(path, dpi=120)


def learning_curves(
    path: Path,
    curves: Mapping[str, tuple[ArrayLike, NDArray[np.float64]]],
    levels: Mapping[str, float],
    ylabel: str,
) -> None:
    """Value against training steps: the mean over seeds, each seed thin, references as lines.

    Args:
        path: PNG to write.
        curves: by name, steps (T,) and values (seeds, T).
        levels: references by name.
        ylabel: what is drawn.
    """
    figure, axes = new_figure(7.0, 4.2)
    for colour, (name, (steps, values)) in zip(COLOURS, curves.items(), strict=False):
        x = np.asarray(steps)
        for run in values:
            axes.plot(x, run, color=colour, alpha=0.3, lw=0.8)
        axes.plot(x, values.mean(axis=0), color=colour, lw=2, label=f"{name} ({len(values)} seeds)")
    styles = ("--", ":", "-.", (0, (1, 3)))
    for style, (name, level) in zip(styles, levels.items(), strict=False):
        axes.axhline(level, color="0.4", ls=style, lw=1, label=name)
    axes.set(xlabel="training steps", ylabel=ylabel)
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False, fontsize=8, ncols=2)
    figure.savefig(path, dpi=120)


def estimates(path: Path, rows: Mapping[str, Any], xlabel: str) -> None:
    """A dot with its interval for each name, top to bottom.

    Args:
        path: PNG to write.
        rows: :class:`recsim_drpo.statistics.Estimate` by name.
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
    axes.set(yticks=range(len(rows)), yticklabels=list(rows), xlabel=xlabel)
    axes.set_ylim(len(rows) - 0.5, -0.7)
    axes.set_xlim(left=0)
    figure.savefig(path, dpi=120)
