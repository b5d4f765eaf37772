"""What differs between two logs as sentences and tables, a picture and JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from recsim_drpo.core.files import atomic_dir
from recsim_drpo.ope.drift import LEVEL, ColumnDrift, Drift, ItemDrift
from recsim_drpo.reporting import plots
from recsim_drpo.reporting.statistics import Estimate
from recsim_drpo.reporting.tables import markdown_table

_MOST = 20  # columns in a table
_MOST_DRAWN = 15
_MOST_NAMED = 5


def as_text(drift: Drift, a: str, b: str) -> str:
    """The answer in a few lines, and tables in Markdown, of logs of these names."""
    parts = [
        _answer(drift, a, b),
        _readout_table(drift, a, b),
        _columns_table(drift),
        _items_text(drift.items),
        _NOTE,
    ]
    return "\n\n".join(filter(None, parts))


_NOTE = (
    "Difference: mean of B minus mean of A, in standard deviations. PSI: population stability "
    "index over tenths of A. KS: largest gap between the distribution functions. p: that there is "
    "no difference, by Kolmogorov and Smirnov, or χ² for items and where there are few values; "
    "after Holm's correction over all that is tested. Contexts and items are tested on the first "
    "row of a request, rewards and propensities on its means."
)


def save(folder: Path, drift: Drift, a: str, b: str) -> str | None:
    """Write ``compare.json``, ``.md`` and ``.png`` into a folder that appears whole.

    Returns:
        why there is no picture, or ``None``.

    Raises:
        FileExistsError, OSError: as :func:`recsim_drpo.core.files.atomic_dir`.
    """
    plain = {"a": a, "b": b, **drift.as_dict()}
    with atomic_dir(folder) as partial:
        (partial / "compare.md").write_text(as_text(drift, a, b) + "\n", encoding="utf-8")
        text = json.dumps(_finite(plain), indent=1, allow_nan=False) + "\n"
        (partial / "compare.json").write_text(text, encoding="utf-8")
        try:
            _draw(partial / "compare.png", drift, a, b)
        except plots.PlotsMissingError as error:
            return str(error)
    return None


def _finite(value: Any) -> Any:
    """The same, with ``None`` for numbers that JSON does not have."""
    if isinstance(value, dict):
        return {name: _finite(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _draw(path: Path, drift: Drift, a: str, b: str) -> None:
    others = [drift.rewards, *([drift.propensities] if drift.propensities else [])]
    drawn = {
        one.column: one.difference
        for one in (*others, *drift.contexts[:_MOST_DRAWN])
        if one.difference is not None
    }
    if drawn:
        panels = {f"{b} minus {a}": np.array(list(drawn.values()))}
        plots.interval_bars(
            path, list(drawn), panels, "difference of means in standard deviations, 95 % interval"
        )


def _answer(drift: Drift, a: str, b: str) -> str:
    readout, drifted = drift.readout, drift.drifted
    sure = readout.p_value < LEVEL
    reward = "differ" if sure else "do not differ for sure"
    relative = "" if readout.relative is None else f", {_percent(readout.relative)} of A's"
    lines = [
        f"A is {a}, {_rows(drift, 0)}; B is {b}, {_rows(drift, 1)}.",
        f"Mean rewards {reward}: B minus A is {_shown(readout.difference)}{relative} "
        f"({_equation(readout.p_value)}).",
    ]
    if drifted:
        lines.append(
            f"{len(drifted)} of {len(drift.contexts)} columns of the context differ "
            f"({_named(drifted)}): the users are not the same, and the difference of rewards need "
            "not be the policy's."
        )
    else:
        lines.append(
            f"None of {len(drift.contexts)} columns of the context differs for sure. Whether users "
            "were assigned at random, as an A/B test needs, no log tells."
        )
    for log, alone in (("A", drift.only_a), ("B", drift.only_b)):
        if alone:
            lines.append(f"{log} alone has the columns {_named(alone)}.")
    return "\n".join(lines)


def _rows(drift: Drift, number: int) -> str:
    rows, requests = drift.rows[number], drift.requests[number]
    return f"{rows:,} rows" + (f" of {requests:,} requests" if requests < rows else "")


def _readout_table(drift: Drift, a: str, b: str) -> str:
    readout = drift.readout
    rows = [
        [name, f"{one.value:.4g}", f"{one.low:.4g} to {one.high:.4g}"]
        for name, one in (
            (f"A: {a}", readout.a),
            (f"B: {b}", readout.b),
            ("B minus A", readout.difference),
        )
    ]
    return markdown_table(["mean reward", "a row", "95 % interval"], rows)


def _columns_table(drift: Drift) -> str:
    others = [drift.rewards, *([drift.propensities] if drift.propensities else [])]
    rows = [_cells(one) for one in (*others, *drift.contexts[:_MOST])]
    left = len(drift.contexts) - _MOST
    header = ["column", "mean A", "mean B", "difference", "PSI", "KS", "p"]
    more = f"\n\n{left:,} columns of the context that differ less are left out." if left > 0 else ""
    return markdown_table(header, rows) + more


def _cells(one: ColumnDrift) -> list[str]:
    means = [f"{one.mean_a:.4g}", f"{one.mean_b:.4g}"]
    moved = "constant" if one.difference is None else _shown(one.difference)
    return [one.column, *means, moved, f"{one.psi:.3f}", f"{one.statistic:.3f}", _p(one.p_value)]


def _items_text(items: ItemDrift | None) -> str:
    if items is None:
        return "Items are not compared: a log has no item_id."
    lines = [
        f"Items: total variation {items.total_variation:.3f}, about {items.by_chance:.3f} by "
        f"chance alone ({_equation(items.p_value)})."
    ]
    for kind, log, ids, share in (
        ("new", "B", items.new, items.new_share),
        ("gone", "A", items.gone, items.gone_share),
    ):
        if ids:
            lines.append(f"{len(ids):,} are {kind}, {share:.1%} of {log}'s rows: {_named(ids)}.")
    return "\n".join(lines)


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_NAMED:,} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(names[:_MOST_NAMED]) + more


def _shown(value: Estimate) -> str:
    return f"{value.value:+.4f} [{value.low:+.4f}, {value.high:+.4f}]"


def _percent(value: Estimate) -> str:
    return f"{value.value:+.1%} [{value.low:+.1%}, {value.high:+.1%}]"


def _equation(p_value: float) -> str:
    return f"p {_p(p_value)}" if p_value < 1e-4 else f"p = {_p(p_value)}"


def _p(value: float) -> str:
    return "< 0.0001" if value < 1e-4 else f"{value:.4f}"
