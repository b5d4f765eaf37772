"""The card of an imported dataset, and the summary that is printed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsim_drpo.datasets.importing.card import columns_section
from recsim_drpo.datasets.importing.coding import ContextCoder
from recsim_drpo.datasets.importing.columns import COLUMNS, Columns
from recsim_drpo.datasets.importing.counts import ImportStats, exactly
from recsim_drpo.datasets.importing.rounds import REFUSED, RejectedRows
from recsim_drpo.datasets.items import ITEMS_FILE
from recsim_drpo.reporting.tables import markdown_table

_FILLED = 0.1  # of its range: agents' step sizes and temperatures fit rewards of about 1


def summary(counts: Mapping[str, Any]) -> str:
    """Counts of the rows of a log, ``"import"`` of its dataset's metadata, as Markdown."""
    rows = [["imported", f"{counts['imported']:,}"]]
    rows += [[f"refused, {why}", f"{count:,}"] for why, count in counts["refused"].items()]
    rows.append(["rows in all", f"{counts['rows']:,}"])
    if counts["clipped"]:
        low, high = counts.get("rewards_found", (math.nan, math.nan))
        found = "" if math.isnan(low) else f" (found: {low:g} to {high:g})"
        rows.insert(1, [f"of these with the reward clipped{found}", f"{counts['clipped']:,}"])
    table = markdown_table(["rows of " + counts["file"], "count"], rows)
    return "\n\n".join([table, *counts["notes"], *_beyond(counts), *_scale(counts)])


def _beyond(counts: Mapping[str, Any]) -> list[str]:
    """A warning where rows were refused for their reward, since those are not any rows; or none."""
    low, high = counts.get("reward_range", (0.0, 1.0))
    least, most = counts.get("rewards_found", (low, high))
    if counts["clipped"] or (low <= least and most <= high):
        return []
    ends = [name for name, far in (("lowest", least < low), ("highest", most > high)) if far]
    return [
        f"Rewards from {least:g} to {most:g} were found, and rows outside [{low:g}, {high:g}] "
        f"refused: those of the {' and the '.join(ends)} rewards are missing. Say --reward-range "
        f"{exactly(min(least, low))} {exactly(max(most, high))}, or --clip-rewards."
    ]


def _scale(counts: Mapping[str, Any]) -> list[str]:
    """A warning where all rewards are the same, or take up little of their range; or none."""
    low, high = counts.get("rewards", (0.0, 1.0))
    least, most = counts.get("reward_range", (low, high))
    if low == high:
        return [
            f"All {counts['imported']:,} rewards are {low:g}: no item is better than another by "
            "this log, and nothing is to be learnt from it."
        ]
    if (high - low) < _FILLED * (most - least):
        found = counts["rewards_found"]
        if least <= found[0] and found[1] <= most:  # as they are in the log, which float32 is not
            low, high = found
        return [
            f"The rewards are from {low:g} to {high:g}, of a range from {least:g} to {most:g} that "
            "agents learn from as 0 to 1: to them all are about the same. If these are the least "
            f"and the most that there can be, say --reward-range {exactly(low)} {exactly(high)}."
        ]
    return []


def _refused(counts: Mapping[str, Any], rejected: RejectedRows) -> list[str]:
    """Where the refused rows are listed, and the first of each kind of the last log."""
    appended = counts.get("appended", ())
    files = [REFUSED, *(f"refused-{number}.csv" for number in range(2, 2 + len(appended)))]
    if not counts["refused"]:
        return []
    sections = [f"Each refused row is in {', '.join(f'`{name}`' for name in files)}."]
    if rejected.counts:
        kinds = (f"- {why}: {'; '.join(few)}" for why, few in rejected.examples.items())
        sections += [f"The first of each kind in `{files[-1]}`:", "\n".join(kinds)]
    return sections


def write_card(
    folder: Path,
    metadata: Mapping[str, Any],
    columns: Columns,
    coder: ContextCoder,
    ids: NDArray[Any],
    stats: ImportStats,
    rejected: RejectedRows,
) -> None:
    """Write ``README.md``, the dataset card: rows imported and rejected, rounds and items."""
    dataset_id = metadata["dataset_id"]
    low, high = columns.reward_range
    policy = {"refuse": "rows with another are refused", "clip": "others are clipped to it"}
    if columns.propensity is None:
        propensity = "Propensities are not known."
    else:
        least, most = stats.propensities
        propensity = f"Propensities (`{columns.propensity}`) are from {least:.3g} to {most:.3g}."
    stored = (
        ""
        if (low, high) == (0.0, 1.0)
        else (
            f"In the dataset {low:g} is 0 and {high:g} is 1, for agents to learn from; values are "
            "told in the log's own unit. "
        )
    )
    order = np.argsort(-stats.counts, kind="stable")[:10]
    total = stats.num_rounds
    sections = [
        f"# {dataset_id}",
        str(metadata["description"]),
        "```python\nimport recsim_drpo\n\n"
        f'transitions = recsim_drpo.load_transitions("{dataset_id}", infos=["item_id"])\n```',
        "No simulator is behind this log: it has no environment, no latent and no oracle reward.",
        "## What became of the rows",
        summary(metadata["import"]),
        *_refused(metadata["import"], rejected),
        "## Rounds",
        f"The context has {coder.dim} dimensions, the reward (`{columns.reward}`) lies in "
        f"[{low:g}, {high:g}] ({policy[columns.outside]}) and is {stats.mean_reward:.6g} on "
        f"average. {stored}{propensity}",
        *columns_section(coder),
        "## Items",
        f"{int((stats.counts > 0).sum()):,} of {len(stats.counts):,} items were shown; the most "
        "frequent:",
        markdown_table(
            ["item", "rounds", "share"],
            [
                [str(ids[row]), f"{stats.counts[row]:,}", f"{stats.counts[row] / total:.2%}"]
                for row in order
            ],
        ),
        f"`{ITEMS_FILE}` has `embeddings` and the file's own `item_ids`; `{COLUMNS}` codes another "
        "log alike (`recsim-drpo import … --columns`).",
    ]
    (folder / "README.md").write_text("\n\n".join(sections) + "\n", encoding="utf-8")
