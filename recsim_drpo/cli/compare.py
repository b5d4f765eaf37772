"""``recsim-drpo compare``: what differs between two logs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

LogA = Annotated[
    str, typer.Argument(metavar="LOG_A", help="Id of a local Minari dataset: before, or control.")
]
LogB = Annotated[str, typer.Argument(metavar="LOG_B", help="Id of another: after, or treatment.")]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out", help="Folder for compare.json, .md and .png.", show_default="printed only"
    ),
]


def compare(log_a: LogA, log_b: LogB, out: Out = None) -> None:
    """Compare two logs: what changed, and which of them pays more."""
    from recsim_drpo.core.files import check_new_folder
    from recsim_drpo.datasets.staging import sweep_datasets
    from recsim_drpo.ope import drift_report
    from recsim_drpo.ope.drift import compare_logs
    from recsim_drpo.ope.drift_logs import read_compared_log

    if out is not None:
        check_new_folder(out)
    sweep_datasets()
    drift = compare_logs(read_compared_log(log_a), read_compared_log(log_b))
    print(drift_report.as_text(drift, log_a, log_b))
    if out is not None:
        missing = drift_report.save(out, drift, log_a, log_b)
        if missing is not None:
            print(f"No picture: {missing}", file=sys.stderr)
