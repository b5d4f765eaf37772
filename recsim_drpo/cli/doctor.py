"""``recsim-drpo doctor``: what is damaged or left over, and a report to paste into a bug report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Folders = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="FOLDER",
        help="Where to look for runs and outputs, some levels deep.",
        show_default="the current folder",
    ),
]
Remove = Annotated[bool, typer.Option("--remove", help="Remove what is found.", show_default="off")]
AsJson = Annotated[bool, typer.Option("--json", help="Print it as JSON.", show_default="off")]


def doctor(folders: Folders = None, remove: Remove = False, as_json: AsJson = False) -> None:
    """Find what is damaged or left over, and describe the setup.

    Stale files of killed commands, damaged datasets, runs without a checkpoint, and the compiler's
    cache. The exit status is 1 where anything is found but the cache, and is not removed.
    """
    import json

    from recsim_drpo.cli.health import as_text, examine, removed
    from recsim_drpo.cli.health_report import installation

    found = examine(folders or [Path()])
    if remove:
        found = removed(found)
    about = installation()
    if as_json:
        print(json.dumps({**about, "found": [finding.as_dict() for finding in found]}, indent=2))
    else:
        print(as_text(about, found, remove=remove))
    if any(finding.is_fault and not finding.removed for finding in found):
        raise typer.Exit(1)
