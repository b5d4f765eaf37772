"""Report the rows of a table of contexts that are none: in a file beside what comes of the rest."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from recsim_drpo.core.files import check_new_folder, staged
from recsim_drpo.datasets.importing.rounds import RejectedRows
from recsim_drpo.serving.formats import STREAM

SUFFIX = ".refused.csv"


@contextmanager
def reported_refusals(
    out: Path, several: bool = False, *, excel_safe: bool = False
) -> Iterator[RejectedRows]:
    """Rows that are refused while ``out`` is written: in the end listed beside it, and counted.

    ``OUT.refused.csv`` appears if the block ends well and there is such a row; of a stream they are
    counted only. A line on standard error says how many, and why. Rows of several files are listed
    with theirs. With ``excel_safe`` the list is made of
    :func:`recsim_drpo.core.spreadsheets.plain_cell`.

    Raises:
        FileExistsError, OSError: that file is there, or cannot be made.
    """
    report = out.with_name(out.name + SUFFIX)
    with ExitStack() as stack:
        partial = Path(os.devnull)
        if out != STREAM:
            check_new_folder(report, "file")
            partial = stack.enter_context(staged(report))
        with partial.open("w", newline="", encoding="utf-8") as file:
            refused = RejectedRows(file, several, excel_safe=excel_safe)
            yield refused
        if refused.total:
            reasons = "; ".join(
                f"{count:,} × {reason} ({refused.examples[reason][0]})"
                for reason, count in refused.counts.items()
            )
            where = "" if out == STREAM else f", listed in {report.name}"
            print(f"{refused.total:,} rows refused{where}: {reasons}.", file=sys.stderr)
            if out != STREAM:
                partial.rename(report)
