"""``recsim-drpo datasets``: the suites' logs, by name."""

from __future__ import annotations

from typing import Annotated

import typer

Words = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[list | make NAME | verify NAME]",
        help="What to do; a name as the list has it.",
        show_default="list",
    ),
]


def datasets(words: Words = None) -> None:
    """List, make and verify the logs of the benchmark's suites."""
    match words or ["list"]:
        case ["list"]:
            _list()
        case ["make", name]:
            _make(name)
        case ["verify", name]:
            _verify(name)
        case other:
            raise ValueError(f"{' '.join(other)!r} is not list, make NAME or verify NAME.")


def _list() -> None:
    """Print a row a log."""
    from recsim_drpo.benchmarks.suites.suite import load_suite, names
    from recsim_drpo.reporting.tables import markdown_table

    rows = [
        [
            f"{suite.name}/log-{number}-seed-SEED-v0",
            f"{condition.num_rounds:,}",
            f"{min(suite.seeds)} to {max(suite.seeds)}",
            condition.label,
        ]
        for suite in map(load_suite, names())
        for number, condition in enumerate(suite.conditions, 1)
    ]
    print(markdown_table(["name", "rounds", "SEED", "log"], rows))


def _make(name: str) -> None:
    """Generate a log, and check it."""
    from recsim_drpo.benchmarks.suites.reference_logs import reference_log
    from recsim_drpo.datasets.storage import place_of

    log = reference_log(name)
    log.make()
    print(f"{log.condition.num_rounds:,} rounds in {place_of(name, None)}, README.md")
    _verify(name)


def _verify(name: str) -> None:
    """Check a log that is here."""
    from recsim_drpo.benchmarks.suites.reference_logs import reference_log

    exact = reference_log(name).verify()
    how = (
        "to the byte"
        if exact
        else "by its statistics; bytes differ, as on another kind of processor"
    )
    print(f"{name} is the suite's log, {how}.")
