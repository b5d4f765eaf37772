"""Text of a CSV file that a spreadsheet would run as a formula, made plain."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

_FORMULA = tuple("=+-@\t\r\n＝＋－＠")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def plain_cell(cell: Any) -> Any:
    """Return a cell that no spreadsheet runs: an apostrophe goes before text that it would.

    Excel, LibreOffice and Google Sheets read text that begins with ``=``, ``+``, ``-``, ``@``, a
    tab or a new line as a formula (OWASP, *CSV Injection*). Text that is a number, and whatever is
    no text, stays as it is.
    """
    if not isinstance(cell, str) or not cell.startswith(_FORMULA) or _NUMBER.fullmatch(cell):
        return cell
    return f"'{cell}"


def plain_cells(cells: Iterable[Any]) -> list[Any]:
    """Return cells, each as of :func:`plain_cell`."""
    return [plain_cell(cell) for cell in cells]
