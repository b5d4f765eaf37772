"""What the card of an imported dataset says of the columns of its context."""

from __future__ import annotations

from collections.abc import Mapping

from recsim_drpo.datasets.importing.coding import ContextCoder
from recsim_drpo.datasets.importing.transforms import NumberCoding
from recsim_drpo.reporting.tables import markdown_table


def columns_section(coder: ContextCoder) -> list[str]:
    """The section on columns, paragraph by paragraph; empty where nothing was measured."""
    sections = ["## Columns"]
    if coder.numbers and coder.coding:
        sections.append(markdown_table(*_number_table(coder.numbers)))
    rows = [
        [name, f"{len(known):,} categories", ", ".join(coder.extra.get(name, ())) or "–"]
        for name, known in coder.categories.items()
    ]
    rows += [
        [name, f"{size:,} buckets", ", ".join(coder.extra.get(name, ())) or "–"]
        for name, size in coder.hashes.items()
    ]
    if rows:
        sections.append(markdown_table(["column", "one-hot", "further dimensions"], rows))
    return sections if len(sections) > 1 else []


def _number_table(codings: Mapping[str, NumberCoding]) -> tuple[list[str], list[list[str]]]:
    """Header and rows of a table of what was measured of columns of numbers."""
    header = ["column", "transform", "mean", "deviation", "1%", "median", "99%", "missing"]
    rows = []
    for name, coding in codings.items():
        low, middle, high = (
            (coding.quantiles[k] for k in (1, 3, 5)) if coding.quantiles else ((None,) * 3)
        )
        numbers = [coding.mean, coding.deviation, low, middle, high]
        cells = ["–" if number is None else f"{number:.6g}" for number in numbers]
        rows.append([name, coding.transform, *cells, f"{coding.missing_share:.2%}"])
    return header, rows
