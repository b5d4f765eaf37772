"""Figures of the paper that show a log or a world: Figure 1, Figure 6, popularity by rank."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from recsim_drpo.reporting import paper
from recsim_drpo.reporting.plots import COLOURS, PlotsMissingError, new_figure, save

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def deciles(
    path: Path, curves: Mapping[str, ArrayLike], ylabel: str = "latent reward, relative"
) -> Figure:
    """Figure 1: reward at 10, 20, …, 90 % of the logs, best first, relative to the first.

    Args:
        path: PNG or SVG to write, or both where it has no suffix.
        curves: nine values a name.
        ylabel: what is drawn.
    """
    figure, axes = new_figure()
    shares = 100 * paper.FIGURE_1_SHARES
    for colour, (name, values) in zip(COLOURS, curves.items(), strict=False):
        y = np.asarray(values, dtype=np.float64)
        axes.plot(shares, y / y[0], "o-", color=colour, label=name)
    reference = paper.FIGURE_1 / paper.FIGURE_1[0]
    axes.plot(shares, reference, "s--", color="0.5", label="paper, Figure 1 (production)")
    axes.set(xlabel="share of rounds, best first (%)", ylabel=ylabel, ylim=(0, 1.05))
    axes.legend(frameon=False)
    save(figure, path)
    return figure


def value_by_rank(
    path: Path,
    curve: NDArray[np.float64],
    shares: NDArray[np.float64] | None = None,
    types: Mapping[str, float] | None = None,
) -> Figure:
    """Figure 6b: mean over users of the value of their item of rank r, relative to rank 1.

    Args:
        path: PNG or SVG to write, or both where it has no suffix.
        curve: (T,), best first.
        shares: (T,), ranks as shares of the catalogue; ``None`` where the curve has all of them.
        types: of items, with the share of the ranks at which they end, in rising order.
    """
    figure, axes = new_figure()
    # As a share of the catalogue, since the paper's has 5,000 items and this one may not.
    ranks = np.arange(1, len(curve) + 1) / len(curve) if shares is None else shares
    start = 0.0
    for number, (name, end) in enumerate((types or {}).items()):
        axes.axvspan(100 * start, 100 * end, color=COLOURS[4], alpha=(0.35, 0.15, 0.0)[number % 3])
        axes.text(50 * (start + end), 1.0, name, ha="center", fontsize=8, rotation=90, va="top")
        start = end
    axes.plot(100 * ranks, curve / curve[0], color=COLOURS[0], label="this world")
    reference = paper.FIGURE_6B / paper.FIGURE_6B[0]
    ranks = 100 * paper.FIGURE_6B_RANKS / paper.FIGURE_6B_RANKS[-1]
    axes.plot(ranks, reference, "s--", color="0.5", label="paper, Figure 6b")
    axes.set(
        xlabel="rank of the item for the user (% of the catalogue)",
        ylabel="latent reward, relative",
        ylim=(0, 1.05),
    )
    axes.legend(frameon=False)
    save(figure, path)
    return figure


def item_frequencies(
    path: Path, logged: NDArray[np.float64], expected: NDArray[np.float64], exponent: float
) -> Figure:
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
    axes.legend(frameon=False, markerscale=4)
    save(figure, path)
    return figure


def item_map(
    path: Path,
    vectors: NDArray[np.floating],
    interest: NDArray[np.floating],
    shown_by: Mapping[str, Sequence[int]],
) -> Figure:
    """Figure 6a: items and a user's interest by t-SNE, and who shows which to that user.

    Args:
        path: PNG or SVG to write, or both where it has no suffix.
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
    save(figure, path)
    return figure
