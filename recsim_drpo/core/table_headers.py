"""Headers of tables from outside: their delimiter and columns, and errors about them."""

from __future__ import annotations

import csv
from collections.abc import Sequence

from recsim_drpo.core.messages import shown
from recsim_drpo.core.validation import nearest_name, repeated_values

DELIMITERS = (",", "\t", ";", "|")

_SHOWN = 12


def split_header(line: str, delimiters: Sequence[str] = DELIMITERS) -> tuple[str, list[str]]:
    """The delimiter that gives most columns, the first of equals, and their names.

    Args:
        line: first line of a text table; names may be in double quotes.
        delimiters: those that it can be.
    """
    columns = {mark: next(csv.reader([line], delimiter=mark), []) for mark in delimiters}
    delimiter = max(delimiters, key=lambda mark: len(columns[mark]))
    return delimiter, columns[delimiter]


def check_unique(file: str, names: Sequence[str]) -> None:
    """Raise ``ValueError`` if two columns of a file have one name."""
    repeated = repeated_values(names)
    if len(repeated):
        raise ValueError(f"{shown(file)} has more than one column called {', '.join(repeated)}.")


def no_column(
    file: str, missing: Sequence[str], names: Sequence[str], mend: str = ""
) -> ValueError:
    """The error for columns that a file with ``names`` lacks; names the nearest to the first."""
    many = f" ({len(missing)} are missing)" if len(missing) > 1 else ""
    hint = nearest_name(missing[0], names)
    return ValueError(
        f"{shown(file)} has no column {shown(missing[0])}{many}.{hint} It has {listed(names)}."
        f"{mend}"
    )


def listed(names: Sequence[str]) -> str:
    """Names as text, the first twelve of many."""
    more = f", … ({len(names)})" if len(names) > _SHOWN else ""
    return ", ".join(map(repr, names[:_SHOWN])) + more
