"""The leaderboard: results in ``benchmarks/leaderboard`` as a page of the documentation.

``python -m recsim_drpo.benchmarks.suites.leaderboard`` writes ``docs/leaderboard.md``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from recsim_drpo.benchmarks.reproduce.framework.estimates import brief, interval
from recsim_drpo.benchmarks.suites.result import Result, read
from recsim_drpo.benchmarks.suites.suite import Suite, load_suite, names
from recsim_drpo.benchmarks.suites.tables import scores_of
from recsim_drpo.core.files import write_atomically
from recsim_drpo.reporting import comparison
from recsim_drpo.reporting.tables import markdown_table

FOLDER = Path("benchmarks/leaderboard")
PAGE = Path("docs/leaderboard.md")

_HEAD = """# Leaderboard

Written by `python -m recsim_drpo.benchmarks.suites.leaderboard` from the files in
[benchmarks/leaderboard](../benchmarks/leaderboard), each checked by `recsim-drpo benchmark verify
FILE`, and from the references of each suite; [benchmark.md](benchmark.md) says how to take part.
*Tuned by*: what an entry's hyper-parameters were chosen by. eCPM with 95 % intervals over paired
seeds; *of optimum* is the interquartile mean of the share: 0 is random items, 1 the oracle.
"""


def page(results: Sequence[Result]) -> str:
    """The page of some results, suite by suite, the best first."""
    parts = [_HEAD]
    for name in names():
        suite = load_suite(name)
        entries = [result for result in results if result.suite == name]
        parts.append(f"## {name}\n\n{suite.title} {suite.rules['references'].capitalize()}\n")
        parts.append(_table(suite, entries) + "\n")
    return "\n".join(parts)


def _table(suite: Suite, entries: Sequence[Result]) -> str:
    rows: dict[str, tuple[float, list[str]]] = {}
    how = suite.rules["references"].partition(";")[0]
    if not entries:
        entries = [_references_alone(suite)]
    for result in entries:
        scores = scores_of(suite, result)
        for name, ecpm in scores.earned.items():
            own = name == scores.own and bool(result.command)
            label = name.removesuffix(" (reference)")
            optimum = comparison.stratified_bootstrap(
                scores.normalized[name], comparison.interquartile_mean, shared_seeds=True
            )
            cells = [
                brief(interval(ecpm.mean(axis=1))),
                brief(optimum),
                result.tuned_by if own else how,
                f"`{result.command}`, {result.revision}" if own else "reference",
            ]
            rows[f"{label}{'' if own else ' '}"] = float(ecpm.mean()), [label, *cells]
    ordered = [cells for _, cells in sorted(rows.values(), key=lambda row: -row[0])]
    return markdown_table(["agent", "eCPM", "of optimum", "tuned by", "made by"], ordered)


def _references_alone(suite: Suite) -> Result:
    """The references as a result, one of them as its own."""
    first = suite.references[0]["agent"]
    own = [record for record in suite.references if record["agent"] == first]
    return Result(
        suite.name, suite.sha256, first, first, {}, "nothing", False, True, suite.seeds, "", own, ""
    )


def load(folder: Path) -> list[Result]:
    """The results in a folder, by the names of their files."""
    return [read(path) for path in sorted(folder.glob("*.json"))]


def main() -> None:
    """Write the page."""
    write_atomically(PAGE, page(load(FOLDER)))
    print(f"{PAGE}")


if __name__ == "__main__":
    main()
