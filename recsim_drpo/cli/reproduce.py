"""``recsim-drpo reproduce``: the paper's experiments."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

import typer

from recsim_drpo.cli.arguments import (
    Address,
    Device,
    EngineName,
    Execution,
    GpusPerTask,
    engine_of,
    integer,
)

Names = Annotated[
    list[str],
    typer.Argument(metavar="NAME", help="Experiments such as table1 or figure3, or all."),
]
Quick = Annotated[
    bool,
    typer.Option(
        "--quick",
        help="Few seeds and short training: minutes, no evidence.",
        show_default="off",
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out",
        help="Folder; goes on if stopped.",
        show_default="reproduction, or reproduction-quick",
    ),
]
Earlier = Annotated[
    Path | None,
    typer.Option(
        "--from",
        help="Results (file or folder) whose runs count as finished where they are the same.",
        show_default="none: everything is trained",
    ),
]
Processes = Annotated[
    int | None,
    typer.Option(
        "--processes", parser=integer, help="That train at once.", show_default="the CPUs' number"
    ),
]
Seeds = Annotated[
    int | None,
    typer.Option(
        "--seeds",
        parser=integer,
        help="How many, in place of the experiment's (theory has none).",
        show_default="the experiment's",
    ),
]


def reproduce(
    names: Names,
    quick: Quick = False,
    out: Out = None,
    processes: Processes = None,
    seeds: Seeds = None,
    earlier: Earlier = None,
    execution: Execution = "auto",
    device: Device = "cpu",
    engine: EngineName = "local",
    address: Address = None,
    gpus_per_task: GpusPerTask = None,
) -> None:
    """Reproduce tables and figures of the paper, with verdicts."""
    from recsim_drpo.benchmarks.reproduce import runner
    from recsim_drpo.benchmarks.reproduce.framework.settings import Settings

    where = engine_of(engine, processes, address, gpus_per_task, device)
    folder = out or Path("reproduction-quick" if quick else "reproduction")
    settings = Settings(
        quick,
        folder,
        where.processes,
        seeds,
        execution,
        device,
        engine=where,
        earlier=[] if earlier is None else runner.load_results(earlier),
    )
    for result in runner.reproduce(names, settings):
        print(runner.as_text(result, shutil.get_terminal_size((100, 24)).columns))
    print(f"Everything is in {folder}/: result.json, tables.md and pictures, by experiment.")
