"""``recsim-drpo benchmark``: an agent on a suite of logs, beside the references."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from recsim_drpo.agents.builtin import BUILT_IN
from recsim_drpo.cli.arguments import (
    Address,
    Device,
    EngineName,
    Execution,
    GpusPerTask,
    assignments,
    engine_of,
    integer,
    one_of,
)

if TYPE_CHECKING:
    from recsim_drpo.benchmarks.suites.run import Entry
    from recsim_drpo.benchmarks.suites.suite import Suite

_TUNED = ("nothing", "logs", "true-reward")

Words = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[SUITE | verify FILE]",
        help="A suite such as zipf-1, or a file of results to check.",
        show_default="the suites are listed",
    ),
]
AgentName = Annotated[
    str | None,
    typer.Option(
        "--agent",
        help="As of train: an agent's name, or module:Class.",
        show_default="needed for a suite",
        autocompletion=one_of(BUILT_IN),
    ),
]
Hyperparameters = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="NAME=VALUE...", help="Hyper-parameters.", show_default="the agent's"
    ),
]
Label = Annotated[
    str | None,
    typer.Option("--label", help="What tables call it.", show_default="the agent's name"),
]
TunedBy = Annotated[
    str,
    typer.Option(
        "--tuned-by",
        help="What its hyper-parameters were chosen by, as you state it: nothing, logs, "
        "true-reward.",
        autocompletion=one_of(_TUNED),
    ),
]
Source = Annotated[
    str, typer.Option("--source", help="Where its code is, for readers.", show_default="none")
]
Out = Annotated[
    Path | None,
    typer.Option("--out", help="Folder; goes on if stopped.", show_default="benchmark-SUITE-LABEL"),
]
Quick = Annotated[
    bool,
    typer.Option(
        "--quick", help="Two logs, two seeds, short: minutes, no evidence.", show_default="off"
    ),
]
Processes = Annotated[
    int | None,
    typer.Option(
        "--processes", parser=integer, help="That train at once.", show_default="the CPUs' number"
    ),
]
Again = Annotated[
    int, typer.Option("--again", parser=integer, help="Of verify: runs to train again.")
]
Draw = Annotated[
    int | None,
    typer.Option(
        "--draw", parser=integer, help="Of verify: decides which.", show_default="at random"
    ),
]


def benchmark(
    words: Words = None,
    agent: AgentName = None,
    hyperparameters: Hyperparameters = None,
    label: Label = None,
    tuned_by: TunedBy = "nothing",
    source: Source = "",
    out: Out = None,
    quick: Quick = False,
    processes: Processes = None,
    execution: Execution = "auto",
    device: Device = "cpu",
    engine: EngineName = "local",
    address: Address = None,
    gpus_per_task: GpusPerTask = None,
    again: Again = 1,
    draw: Draw = None,
) -> None:
    """Run an agent on a suite of logs, beside the stored references."""
    from recsim_drpo.benchmarks.suites.run import Entry
    from recsim_drpo.benchmarks.suites.suite import load_suite, names
    from recsim_drpo.core.validation import unknown_name

    trained: dict[str, Any] = {
        "--agent": agent, "--set": hyperparameters, "--label": label, "--source": source,
        "--tuned-by": tuned_by != "nothing", "--out": out, "--quick": quick,
        "--processes": processes, "--execution": execution != "auto", "--device": device != "cpu",
        "--engine": engine != "local", "--address": address, "--gpus-per-task": gpus_per_task,
    }  # fmt: skip
    match words or []:
        case []:
            _refuse(trained, f"a suite, which is to be named: {', '.join(names())}")
            _list()
            return
        case ["verify", *files]:
            _refuse(trained, "a suite; verify takes a file, --again and --draw")
            _verify(_one(files), again, draw)
            return
        case [name]:
            _refuse({"--again": again != 1, "--draw": draw}, "verify")
            suite = load_suite(name)
        case other:
            raise ValueError(f"{other!r} is neither a suite nor verify and a file.")
    if agent is None:
        raise ValueError(
            "--agent is needed: a name that `recsim-drpo agents` lists, or module:Class."
        )
    if tuned_by not in _TUNED:
        raise unknown_name("--tuned-by", tuned_by, _TUNED)
    entry = Entry(agent, assignments(hyperparameters), label or agent, tuned_by, source)
    safe = "".join(c if c.isalnum() or c in "-_." else "-" for c in entry.label)
    folder = out or Path(f"benchmark-{suite.name}-{safe}" + ("-quick" if quick else ""))
    where = engine_of(engine, processes, address, gpus_per_task, device)
    how = {"quick": quick, "execution": execution, "device": device, "engine": where}
    _run(suite, entry, folder, how)


def _refuse(options: dict[str, Any], whose: str) -> None:
    """Raise if one of some options was given, which are of something else."""
    for name, value in options.items():
        if not (value is None or value is False or value in ("", [])):  # 0 is given
            raise ValueError(f"{name} is of {whose}.")


def _one(files: list[str]) -> Path:
    """The file of results that is meant, by itself or by the folder that it was left in."""
    match files:
        case [file]:
            path = Path(file)
            return path / "results.json" if path.is_dir() else path
    raise ValueError(
        f"verify takes one file, such as benchmark-zipf-1-mine/results.json, not {len(files)}."
    )


def _run(suite: Suite, entry: Entry, folder: Path, how: dict[str, Any]) -> None:
    """Run, write, and print."""
    from recsim_drpo.benchmarks.reproduce.publishing.report import PlotlyMissingError
    from recsim_drpo.benchmarks.suites import page, run as running, tables
    from recsim_drpo.core.files import write_atomically
    from recsim_drpo.reporting.plots import PlotsMissingError

    told = {name: how[name] for name in ("quick", "execution", "device")}
    command = entry.command(suite.name, **told)
    result = running.run(suite, entry, folder / "pieces", command=command, **how)
    result.write(folder / "results.json")
    text = tables.as_text(suite, result)
    write_atomically(folder / "report.md", text + "\n")
    write_atomically(folder / "table.tex", tables.as_latex(suite, result))
    print(text)
    figures = {}
    try:
        figures = tables.draw(suite, result, folder)
    except PlotsMissingError as error:
        print(f"No pictures: {error}")
    try:
        page.write(folder / "report.html", suite, result, figures)
    except PlotlyMissingError as error:
        print(f"No page: {error}")
    print(
        f"\nEverything is in {folder}/: results.json, report.md, table.tex, pictures and the page "
        "report.html."
    )


def _list() -> None:
    """Print the suites."""
    from recsim_drpo.benchmarks.suites.suite import load_suite, names
    from recsim_drpo.reporting.tables import markdown_table

    suites = [load_suite(name) for name in names()]
    rows = [
        [
            suite.name,
            suite.title,
            str(len(suite.conditions)),
            str(len(suite.seeds)),
            f"{suite.training.steps:,} x {suite.training.batch_size}",
        ]
        for suite in suites
    ]
    print(markdown_table(["suite", "", "logs", "seeds", "updates"], rows))


def _verify(file: Path, again: int, draw: int | None) -> None:
    """Check a file of results."""
    import secrets
    from tempfile import TemporaryDirectory

    from recsim_drpo.benchmarks.suites.result import read
    from recsim_drpo.benchmarks.suites.run import verify
    from recsim_drpo.benchmarks.suites.suite import load_suite
    from recsim_drpo.core.validation import check_integer

    check_integer("--again", again, 0)
    result = read(file)
    suite = load_suite(result.suite)
    chosen = secrets.randbelow(2**31) if draw is None else draw
    with TemporaryDirectory() as folder:
        for sentence in verify(suite, result, Path(folder), again=again, draw=chosen):
            print(sentence)
    print(f"{file} is a sound result of {suite.name}, drawn {chosen}.")
