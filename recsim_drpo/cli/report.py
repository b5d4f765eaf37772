"""``recsim-drpo report``: results of ``reproduce`` as a page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Results = Annotated[
    Path,
    typer.Option("--results", metavar="FOLDER", help="Where reproduce left results."),
]
Out = Annotated[Path, typer.Option("--out", help="File of the page.")]


def report(results: Results = Path("reproduction"), out: Out = Path("report.html")) -> None:
    """Make one HTML page of what reproduce left."""
    from recsim_drpo.benchmarks.reproduce import runner
    from recsim_drpo.benchmarks.reproduce.publishing import report as page

    page.write(out, runner.load_results(results))
    print(f"{out}: opens in any browser, without a network.")
