"""``recsim-drpo report``: results of ``reproduce`` as a page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Results = Annotated[
    Path,
    typer.Option(
        "--results",
        metavar="FOLDER",
        help="Where reproduce left results.",
        show_default="reproduction, or reproduction-quick where there is no other",
    ),
]
Out = Annotated[Path, typer.Option("--out", help="File of the page.")]


def report(results: Results = Path("reproduction"), out: Out = Path("report.html")) -> None:
    """Make one HTML page of what reproduce left."""
    from recsim_drpo.benchmarks.reproduce import runner
    from recsim_drpo.benchmarks.reproduce.publishing import report as page

    quick = results.parent / f"{results.name}-quick"
    if results == Path("reproduction") and not results.exists() and quick.exists():
        results = quick
    page.write(out, runner.load_results(results))
    print(f"{out}: what is in {results}/; opens in any browser, without a network.")
