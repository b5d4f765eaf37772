"""Pages on results for readers of the repository: ``docs/claims.md``, the README's headline."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from recsim_drpo.benchmarks.reproduce.advice import leads
from recsim_drpo.benchmarks.reproduce.advice.choices import choices_table
from recsim_drpo.benchmarks.reproduce.advice.locate import points_of, rules_table
from recsim_drpo.benchmarks.reproduce.experiments.table1 import DIFFERENCE, PAIRED
from recsim_drpo.benchmarks.reproduce.framework.agent_suite import SCENARIOS
from recsim_drpo.benchmarks.reproduce.framework.documents import Table
from recsim_drpo.benchmarks.reproduce.framework.suites import BEST, BEST_OF_ALL
from recsim_drpo.benchmarks.reproduce.framework.verdicts import VERDICTS
from recsim_drpo.benchmarks.reproduce.runner import EXPERIMENTS
from recsim_drpo.core.validation import unknown_name
from recsim_drpo.reporting.tables import markdown_table

BEGIN, END = "<!-- headline:begin -->", "<!-- headline:end -->"
"""What stands between them in a page is written by :func:`with_headline`, :func:`with_table` or
:func:`with_rules`."""

PLACES = {
    "figure1": "Figure 1",
    "theory": "Sections 3 and 4, Appendices A to F",
    "figure2": "Section 5.2 (RQ1), Figure 2",
    "table1": "Section 5.3 (RQ2), Table 1",
    "readings": "Section 5.3 (RQ2), other readings of the paper",
    "worlds": "Section 5.3 (RQ2), beyond the paper",
    "figure3": "Sections 5.4 and 5.5 (RQ3), Figure 3",
    "table2": "Section 5.5 (RQ3), Table 2",
    "table6": "Section 5.5 (RQ3), Appendix K, Table 6",
    "table3": "Section 5.6 (RQ4), Table 3, Figure 4",
    "phase-map": "Section 7, where it holds",
    "figure6": "Appendix H, Figure 6",
}
"""What of the paper an experiment is about, in the paper's order."""

_TABLE1_PICTURE = ("table1.png", "eCPM of all agents in both scenarios, with 95 % intervals")
_MAPS = {
    "phase-map-soft-noise-share-reward-noise.png": (
        "DRPO minus the best soft method, over the share of random rounds and reward noise"
    ),
    "phase-map-soft-reward-noise-popularity-bias.png": (
        "DRPO minus the best soft method, over reward noise and the logger's popularity bias"
    ),
    "phase-map-regression-reward-noise-rounds.png": (
        "Two-tower regression minus DRPO, over reward noise and the number of rounds"
    ),
}
"""Pictures of ``docs/when_to_filter.md``."""
_MOST_ROWS = 60  # of a table on the page: longer ones are in the results


def claims_page(results: Sequence[Mapping[str, Any]]) -> str:
    """The text of ``docs/claims.md``: every claim and what became of it."""
    ordered = _in_the_papers_order(results)
    parts = [
        "# The paper's claims and what was measured",
        "Written by `python -m recsim_drpo.benchmarks.reproduce.publish` from the results in "
        "[benchmarks/results/reproduce](../benchmarks/results/reproduce); "
        "[reproduction.md](reproduction.md) says what was run. Intervals are of 95 %, over seeds. "
        "*Undecided*: the interval covers both answers.",
        _summary(ordered),
    ]
    parts += [_section(result) for result in ordered]
    return "\n\n".join(parts) + "\n"


def _in_the_papers_order(results: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    order = list(PLACES)
    return sorted(
        results,
        key=lambda result: (
            order.index(result["experiment"]) if result["experiment"] in order else len(order)
        ),
    )


def _summary(results: Sequence[Mapping[str, Any]]) -> str:
    rows, kinds = [], _kinds(results)
    for result in results:
        counts = Counter(verdict["verdict"] for verdict in result["verdicts"])
        name = result["experiment"]
        row = [f"[{name}](#{name})", PLACES.get(name, "")]
        rows.append([*row, *(str(counts[verdict]) for verdict in kinds)])
    return markdown_table(["experiment", "in the paper", *kinds], rows)


def _kinds(results: Sequence[Mapping[str, Any]]) -> list[str]:
    """The verdicts that there are, in the order of :data:`VERDICTS`."""
    there = {verdict["verdict"] for result in results for verdict in result["verdicts"]}
    return [verdict for verdict in VERDICTS if verdict in there]


def _section(result: Mapping[str, Any]) -> str:
    name = result["experiment"]
    if name not in EXPERIMENTS:
        raise unknown_name("experiment", name, EXPERIMENTS)
    about = EXPERIMENTS[name].about
    facts = "; ".join([*map(_scale, result["plans"]), str(result["device"]), *_taken(result)])
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
    parts += _tables(result["tables"])
    parts += [
        _picture(picture, name, result["pictures"], "images/reproduce")
        for picture in result["pictures"]
        if picture.endswith(".png")
    ]
    return "\n\n".join(parts)


def _taken(result: Mapping[str, Any]) -> list[str]:
    """Text on runs that were taken over from results of another revision."""
    return [f"{mark['runs']:,} runs of {mark['from']}" for mark in result.get("taken", [])]


def _tables(tables: Sequence[Mapping[str, Any]]) -> list[str]:
    """Markdown of the tables behind the verdicts, folded."""
    shown = [Table(**table) for table in tables if len(table["rows"]) <= _MOST_ROWS]
    if not shown:
        return []
    texts = [table.markdown() for table in shown]
    return ["<details><summary>Tables</summary>", *texts, "</details>"]


def _picture(name: str, text: str, there: Sequence[str], folder: str) -> str:
    """Markdown of a picture that leads to its SVG, if there is one."""
    image = f"![{text}]({folder}/{name})"
    vector = f"{name.removesuffix('.png')}.svg"
    return f"[{image}]({folder}/{vector})" if vector in there else image


def _cells(verdict: Mapping[str, str]) -> Iterator[str]:
    for key in ("claim", "statement", "paper", "ours", "verdict", "because", "command"):
        # A bar or a new line would end the cell, and "<" may begin HTML.
        text = " ".join(str(verdict[key]).split()).replace("|", "\\|").replace("<", "\\<")
        yield f"**{text}**" if key == "verdict" else f"`{text}`" if key == "command" else text


def _scale(plan: Mapping[str, Any]) -> str:
    """Text on how large a study was, and on the full setting where that is larger."""
    seeds = len(plan["seeds"])
    full = plan.get("full_seeds", seeds)
    parts = [f"{seeds} seeds" + (f" (full setting: {full})" if seeds != full else "")]
    if "conditions" in plan:
        rounds = sorted({int(condition["num_rounds"]) for condition in plan["conditions"]})
        logged = f"{rounds[0]:,}" if len(rounds) == 1 else f"{rounds[0]:,} to {rounds[-1]:,}"
        parts.append(f"{logged} rounds logged")
    if "num_users" in plan:
        parts.append(f"{plan['num_users']:,} users")
    if "training" in plan:
        parts.append(f"{plan['training']['steps']:,} steps")
    return f"{plan['name']}: {', '.join(parts)}"


def with_headline(readme: str, results: Sequence[Mapping[str, Any]]) -> str:
    """The README with the headline results between its markers; unchanged without results.

    Raises:
        ValueError: the README has no markers.
    """
    if not results:
        return readme
    ordered = _in_the_papers_order(results)
    verdicts = [verdict["verdict"] for result in ordered for verdict in result["verdicts"]]
    counts = Counter(verdicts)
    shown = ", ".join(f"{verdict} {counts[verdict]}" for verdict in _kinds(ordered))
    parts = [
        f"{len(verdicts)} claims were tested. Verdicts: {shown}. [docs/claims.md](docs/claims.md) "
        "has each claim, with the paper's number, ours and the command."
    ]
    parts += [_winners(table1) for table1 in ordered if table1["experiment"] == "table1"]
    return _between(readme, "\n\n".join(parts))


def with_table(guide: str, results: Sequence[Mapping[str, Any]]) -> str:
    """``docs/reproduction.md`` with Table 1, and a link to the claims.

    Raises:
        ValueError: it has no markers.
    """
    parts = ["[claims.md](claims.md) has every claim and what became of it."]
    for table1 in (result for result in results if result["experiment"] == "table1"):
        parts.append(_table1(table1))
        if _TABLE1_PICTURE[0] in table1["pictures"]:
            parts.append(_picture(*_TABLE1_PICTURE, table1["pictures"], "images/reproduce"))
    return _between(guide, "\n\n".join(parts))


def with_rules(page: str, results: Sequence[Mapping[str, Any]]) -> str:
    """``docs/when_to_filter.md`` with the rules of the phase map; unchanged without a map.

    Raises:
        ValueError: it has no markers.
    """
    by_name = {result["experiment"]: result for result in results}
    if leads.PHASE_MAP not in by_name:
        return page
    singles = [
        Table(f"{table['title']}: {name}", table["header"], table["rows"], table["note"])
        for name in (leads.PHASE_MAP, leads.WORLDS)
        if name in by_name
        for table in by_name[name]["tables"]
        if table["title"] == leads.SINGLE
    ]
    choices = choices_table(by_name[leads.PHASE_MAP], by_name.get(leads.WORLDS))
    tables = (*singles, *([choices] if choices else []), rules_table(*points_of(results)))
    parts = [table.markdown() for table in tables]
    there = by_name[leads.PHASE_MAP]["pictures"]
    parts += [
        _picture(picture, text, there, "images/reproduce")
        for picture, text in _MAPS.items()
        if picture in there
    ]
    return _between(page, "\n\n".join(parts))


def _between(page: str, text: str) -> str:
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(
            f"The page that begins {page[:30]!r} has no {BEGIN} … {END} to write between."
        )
    return f"{before}{BEGIN}\n{text}\n{END}{after}"


def _table1(table1: Mapping[str, Any]) -> str:
    """A Markdown table of every agent's eCPM in both scenarios, beside the paper's."""
    shown = ("eCPM, tuned online", "paper's eCPM")
    tables = {table["title"]: table for table in table1["tables"]}
    header, rows = ["agent"], dict[str, list[str]]()
    blank = [""] * (2 * len(SCENARIOS))
    for place, scenario in enumerate(SCENARIOS):
        title = f"Table 1, {scenario}"
        if title not in tables or not {*shown} <= {*tables[title]["header"]}:
            raise ValueError(f"The result of table1 has no {title!r} with {' and '.join(shown)}.")
        table = tables[title]
        header += [f"{scenario}, eCPM", "paper"]
        columns = [table["header"].index(name) for name in shown]
        for row in table["rows"]:
            cells = rows.setdefault(row[0], [row[0], *blank])
            cells[1 + 2 * place : 3 + 2 * place] = [row[column] for column in columns]
    return f"{markdown_table(header, list(rows.values()))}\n\n{_winners(table1)}"


def _winners(table1: Mapping[str, Any]) -> str:
    """What wins on each log by the table of the best of each kind, and how Table 1 was made."""
    tables = {table["title"]: table for table in table1["tables"]}
    won = []
    if BEST in tables:
        column = tables[BEST]["header"].index(BEST_OF_ALL)
        for log, *cells in tables[BEST]["rows"]:
            agent, _, value = cells[column - 1].partition(": ")
            won.append(f"in {log} {agent}, {value}{_behind(tables.get(PAIRED), agent, log)}")
    said = (
        f"Best of those compared, chosen for each seed by the other seeds: {'; '.join(won)}. "
        if won
        else ""
    )
    return (
        f"{said}On test users, tuned on validation users by true reward; [95 % intervals] over "
        f"seeds. {'; '.join(map(_scale, table1['plans']))}; revision `{table1['revision']}`."
    )


def _behind(paired: Mapping[str, Any] | None, agent: str, log: str) -> str:
    """In brackets, DRPO's eCPM minus an agent's, where the table of differences has it."""
    name = DIFFERENCE.format(log=log)
    if paired is None or name not in paired["header"]:
        return ""
    column = paired["header"].index(name)
    return "".join(f" (DRPO minus it {row[column]})" for row in paired["rows"] if row[0] == agent)
