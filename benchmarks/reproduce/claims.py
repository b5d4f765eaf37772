"""What results say, for readers of the repository: ``docs/claims.md`` and the README's headline."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from recsim_drpo.benchmarks.reproduce.runner import EXPERIMENTS
from recsim_drpo.benchmarks.reproduce.table1 import SCENARIOS
from recsim_drpo.benchmarks.reproduce.verdicts import VERDICTS
from recsim_drpo.tables import markdown_table

BEGIN, END = "<!-- headline:begin -->", "<!-- headline:end -->"
"""What stands between them in the README is written by :func:`with_headline`."""


def claims_page(results: Sequence[Mapping[str, Any]]) -> str:
    """``docs/claims.md`` of published results: every claim and what became of it."""
    parts = [
        "# The paper's claims and what was measured",
        "Written by `python -m recsim_drpo.benchmarks.reproduce.publish` from the results in "
        "[benchmarks/results/reproduce](../benchmarks/results/reproduce); "
        "[reproduction.md](reproduction.md) says what was run. Intervals are of 95 %, over seeds. "
        "*Undecided*: the interval covers both answers.",
        _summary(results),
    ]
    parts += [_section(result) for result in results]
    return "\n\n".join(parts) + "\n"


def _summary(results: Sequence[Mapping[str, Any]]) -> str:
    rows = []
    for result in results:
        counts = Counter(one["verdict"] for one in result["verdicts"])
        name = result["experiment"]
        rows.append([f"[{name}](#{name})", *(str(counts[verdict]) for verdict in VERDICTS)])
    return markdown_table(["experiment", *VERDICTS], rows)


def _section(result: Mapping[str, Any]) -> str:
    name = result["experiment"]
    about = EXPERIMENTS[name].about
    facts = "; ".join([*map(_scale, result["plans"]), str(result["device"])])
    parts = [
        f"## {name}",
        f"{about[0].upper()}{about[1:]}. {facts}; revision `{result['revision']}`.",
    ]
    # As text: padded cells of whole sentences would be wider than any screen.
    lines = [
        "claim | what it says | paper | ours | verdict | because | command",
        " | ".join(["---"] * 7),
        *(" | ".join(_cells(verdict)) for verdict in result["verdicts"]),
    ]
    parts.append("\n".join(f"| {line} |" for line in lines))
    parts += [f"![{name}](images/reproduce/{picture})" for picture in result["pictures"]]
    return "\n\n".join(parts)


def _cells(verdict: Mapping[str, str]) -> Iterator[str]:
    for key in ("claim", "statement", "paper", "ours", "verdict", "because", "command"):
        # A bar or a new line would end the cell, and "<" may begin HTML.
        text = " ".join(str(verdict[key]).split()).replace("|", "\\|").replace("<", "\\<")
        yield f"**{text}**" if key == "verdict" else f"`{text}`" if key == "command" else text


def _scale(plan: Mapping[str, Any]) -> str:
    """How large a study was, in words."""
    rounds = sorted({int(condition["num_rounds"]) for condition in plan["conditions"]})
    logged = f"{rounds[0]:,}" if len(rounds) == 1 else f"{rounds[0]:,} to {rounds[-1]:,}"
    return (
        f"{plan['name']}: {len(plan['seeds'])} seeds, {logged} rounds logged, "
        f"{plan['training']['steps']:,} steps"
    )


def with_headline(readme: str, results: Sequence[Mapping[str, Any]]) -> str:
    """The README with Table 1's headline between its markers; as it is where there is no Table 1.

    Raises:
        ValueError: the README has no markers.
    """
    table1 = next((result for result in results if result["experiment"] == "table1"), None)
    if table1 is None:
        return readme
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"The README has no {BEGIN} … {END} to write the headline between.")
    return f"{before}{BEGIN}\n{_headline(table1)}\n{END}{after}"


def _headline(table1: Mapping[str, Any]) -> str:
    """eCPM of every agent in both scenarios, beside the paper's."""
    shown = ("eCPM, tuned online", "paper's eCPM")
    tables = {table["title"]: table for table in table1["tables"]}
    header, rows = ["agent"], dict[str, list[str]]()
    for scenario in SCENARIOS:
        table = tables[f"Table 1, {scenario}"]
        header += [f"{scenario}, eCPM", "paper"]
        columns = [table["header"].index(name) for name in shown]
        for row in table["rows"]:
            rows.setdefault(row[0], [row[0]]).extend(row[column] for column in columns)
    note = (
        "On test users, tuned on validation users by true reward; [95 % intervals] over seeds. "
        f"{_scale(table1['plans'][0])}; revision `{table1['revision']}`. "
        "[docs/claims.md](docs/claims.md) has every claim and what became of it."
    )
    return f"{markdown_table(header, list(rows.values()))}\n\n{note}"
