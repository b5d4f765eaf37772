"""One HTML page of an experiment's results: ``recsim-drpo report``.

The page holds everything, Plotly's JavaScript included (the extra ``report``): it opens from the
disk without a network. Text of results reaches it escaped, and numbers as JSON that ``report.js``
draws.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape
from importlib import resources
from pathlib import Path
from typing import Any

from scipy.stats import t as student_t

from recsim_drpo.benchmarks.reproduce.advice.leads import LABELS, PAIRS
from recsim_drpo.benchmarks.reproduce.framework.documents import Table, rounded
from recsim_drpo.benchmarks.reproduce.framework.verdicts import VERDICTS
from recsim_drpo.benchmarks.reproduce.publishing.cards import cards, definitions
from recsim_drpo.benchmarks.reproduce.runner import PANELS
from recsim_drpo.core.files import write_atomically

SYMBOLS = dict(zip(VERDICTS, "✓◐✗?", strict=True))
"""A sign for each verdict: colour alone would not reach every reader."""

_DIGITS = 7  # more than the single precision that records come in


class PlotlyMissingError(ImportError):
    """Raised where a report is asked for and the extra ``report`` is not installed."""

    def __init__(self) -> None:
        super().__init__('A report needs Plotly: pip install "recsim-drpo[report]".')


def write(path: Path, results: Sequence[Mapping[str, Any]]) -> None:
    """Write the page of some results, as :func:`runner.load_results` returns them.

    Raises:
        PlotlyMissingError: Plotly is not installed.
    """
    plotly, layouts = _plotly()
    path.parent.mkdir(parents=True, exist_ok=True)
    panels = [result.get(PANELS, []) for result in results]
    write_atomically(path, page(results, plotly, layouts, panels, list(cards(results))))


def _plotly() -> tuple[str, dict[str, Any]]:
    """Plotly's JavaScript, and its layouts for light and for dark screens."""
    try:
        from plotly.io import templates
        from plotly.offline import get_plotlyjs
    except ImportError as error:
        raise PlotlyMissingError from error
    names = {"light": "plotly_white", "dark": "plotly_dark"}
    layouts = {name: templates[own].to_plotly_json()["layout"] for name, own in names.items()}
    return get_plotlyjs(), layouts


def page(
    results: Sequence[Mapping[str, Any]],
    plotly: str = "",
    layouts: Mapping[str, Any] | None = None,
    panels: Sequence[Sequence[Mapping[str, Any]]] = (),
    logs: Sequence[Table] = (),
) -> str:
    """The page as text.

    Args:
        results: as ``result.json`` holds them.
        plotly: Plotly's JavaScript; without it there are no figures.
        layouts: Plotly's layout for ``light`` and ``dark``.
        panels: of each result's pictures, as :func:`.drawings.drawings` has them.
        logs: dataset cards.
    """
    panels = panels or [[]] * len(results)
    names = [str(result["experiment"]) for result in results]
    links = "".join(
        f'<li><a href="#{_anchor(k)}">{escape(name)}</a></li>' for k, name in enumerate(names)
    )
    quick = [name for name, result in zip(names, results, strict=True) if result["quick"]]
    sections = "\n".join(_experiment(k, result, panels[k]) for k, result in enumerate(results))
    data = {
        "experiments": [
            {
                "name": name,
                **rounded({k: result.get(k) for k in ("records", "data")}, _DIGITS),
                "panels": drawn,
            }
            for name, result, drawn in zip(names, results, panels, strict=True)
        ],
        "layouts": layouts or {},
        "quantiles": _quantiles(results),
    }
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="data:,">
<title>recsim_drpo: the paper's claims and what was measured</title>
<style>{_own("report.css")}</style>
</head>
<body>
<a class="skip" href="#main">Skip to the results</a>
<header>
<h1>The paper's claims and what was measured</h1>
<p><em>Breaking the Curse of Repulsion</em> (DRPO), reproduced with recsim_drpo. Intervals are of
95 %, over seeds.</p>
{_banner(quick)}
<nav aria-label="Sections"><ul><li><a href="#verdicts">verdicts</a></li>
{'<li><a href="#logs">logs</a></li>' if logs else ""}{links}</ul></nav>
</header>
<main id="main" tabindex="-1">
{_verdicts(results)}
{_logs(logs)}
{sections}
</main>
<script type="application/json" id="report-data">{_json(data)}</script>
<script>{plotly}</script>
<script>{_own("report.js")}</script>
</body>
</html>
"""


def _anchor(number: int) -> str:
    # By number: a name may hold anything.
    return f"experiment-{number}"


def _own(name: str) -> str:
    """A file beside this module."""
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _json(value: Any) -> str:
    """JSON that can stand in a script element, whatever its strings hold."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c")


def _quantiles(results: Sequence[Mapping[str, Any]]) -> list[float | None]:
    """Student's 97.5 % quantile for the mean of n seeds, at index n; there is none below two."""
    most = max((len(_seeds(result)) for result in results), default=0)
    return [None, None, *(round(float(student_t.ppf(0.975, n - 1)), 6) for n in range(2, most + 1))]


def _seeds(result: Mapping[str, Any]) -> set[int]:
    return {record["seed"] for record in result.get("records", [])}


def _banner(quick: Sequence[str]) -> str:
    if not quick:
        return ""
    return (
        '<p class="banner" role="note"><strong>Quick results: few seeds and short training. Only '
        f"the full run is evidence.</strong> Quick: {escape(', '.join(quick))}.</p>"
    )


def _verdicts(results: Sequence[Mapping[str, Any]]) -> str:
    """Counts, and a table of all verdicts that can be narrowed."""
    rows = [(str(result["experiment"]), one) for result in results for one in result["verdicts"]]
    counts = Counter(one["verdict"] for _, one in rows)
    shown = "".join(
        f'<li class="{_class(name)}"><span aria-hidden="true">{symbol}</span> '
        f"<strong>{counts[name]}</strong> {escape(name)}</li>"
        for name, symbol in SYMBOLS.items()
    )
    body = "".join(
        f'<tr data-verdict="{escape(one["verdict"])}" data-experiment="{escape(name)}">'
        f'<th scope="row">{escape(one["claim"])}<span class="statement">{escape(one["statement"])}'
        f'</span></th><td>{_badge(one["verdict"])}<span class="because">{escape(one["because"])}'
        f"</span></td><td>{escape(one['paper'])}</td><td>{escape(one['ours'])}</td>"
        f"<td><code>{escape(one['command'])}</code></td></tr>"
        for name, one in rows
    )
    experiments = dict.fromkeys(name for name, _ in rows)
    return f"""<section aria-labelledby="verdicts">
<h2 id="verdicts">Verdicts</h2>
<ul class="counts">{shown}</ul>
<form class="controls" id="verdict-filter">
{_select("verdict", "Verdict", [("", "all"), *((name, name) for name in SYMBOLS)])}
{_select("experiment", "Experiment", [("", "all"), *((name, name) for name in experiments)])}
<label>Search <input type="search" name="text" autocomplete="off"></label>
<p role="status" id="verdict-count">{len(rows)} of {len(rows)} claims</p>
</form>
<div class="scroll" role="region" aria-label="All verdicts" tabindex="0">
<table id="verdict-table">
<caption>Claims of the paper beside what was measured</caption>
<thead><tr><th scope="col">claim</th><th scope="col">verdict</th><th scope="col">paper</th>
<th scope="col">ours [95 %]</th><th scope="col">command</th>
</tr></thead>
<tbody>{body}</tbody>
</table>
</div>
</section>"""


def _logs(logs: Sequence[Table]) -> str:
    if not logs:
        return ""
    tables = "\n".join(_table(vars(one)) for one in logs)
    return (
        '<section aria-labelledby="logs"><h2 id="logs">Logs</h2><p>What agents learn from. Each '
        f"experiment below lists its own logs under its configuration.</p>{tables}</section>"
    )


def _class(verdict: str) -> str:
    return f"verdict verdict-{VERDICTS.index(verdict)}"


def _badge(verdict: str) -> str:
    return (
        f'<span class="{_class(verdict)}"><span aria-hidden="true">{SYMBOLS[verdict]}</span> '
        f"{escape(verdict)}</span>"
    )


def _select(name: str, label: str, options: Sequence[tuple[str, str]]) -> str:
    choices = "".join(
        f'<option value="{escape(value)}">{escape(text)}</option>' for value, text in options
    )
    return f'<label>{escape(label)} <select name="{escape(name)}">{choices}</select></label>'


def _experiment(number: int, result: Mapping[str, Any], panels: Sequence[Mapping[str, Any]]) -> str:
    """Tables, figures, configuration and data of one experiment."""
    name, anchor = str(result["experiment"]), _anchor(number)
    seeds = len(_seeds(result))
    facts = {
        "seeds": str(seeds) if seeds else "",
        "runs": f"{len(result['records']):,}" if seeds else "",
        "device": result["device"],
        "wall time": _duration(float(result["wall_time_s"])),
        "revision": result["revision"],
    }
    shown = "".join(
        f"<div><dt>{escape(key)}</dt><dd>{escape(str(value))}</dd></div>"
        for key, value in facts.items()
        if value
    )
    tables = "\n".join(_table(table) for table in result.get("tables", []))
    figures = [
        _map(number, name, result["data"]) if _axes(result["data"]) else "",
        _panels(number, name, panels) if panels else "",
        _figures(number, name, result["records"]) if result.get("records") else "",
    ]
    logs = "".join(
        f"<details><summary>Logs of {escape(str(plan.get('name', name)))}</summary>"
        f"{_table(vars(definitions(plan)))}</details>"
        for plan in result["plans"]
        if plan.get("conditions")
    )
    return f"""<section aria-labelledby="{anchor}">
<h2 id="{anchor}">{escape(name)}</h2>
{_banner([name]) if result["quick"] else ""}
<dl class="facts">{shown}</dl>
{f"<h3>Tables</h3>{tables}" if tables else ""}
{"<h3>Figures</h3>" if any(figures) else ""}
{"".join(figures)}
<h3>Configuration and data</h3>
{_downloads(number, result)}
{logs}
{_details("Versions", result["versions"])}
{"".join(_details(f"Plan: {plan.get('name', name)}", plan) for plan in result["plans"])}
</section>"""


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7_200 else f"{seconds / 3_600:.1f} h"


def _table(table: Mapping[str, Any]) -> str:
    header = "".join(f'<th scope="col">{escape(str(cell))}</th>' for cell in table["header"])
    rows = "".join(
        "<tr>"
        + "".join(
            f'<th scope="row">{escape(str(cell))}</th>'
            if column == 0
            else f"<td>{escape(str(cell))}</td>"
            for column, cell in enumerate(row)
        )
        + "</tr>"
        for row in table["rows"]
    )
    note = f'<p class="note">{escape(table["note"])}</p>' if table.get("note") else ""
    title = escape(table["title"])
    return (
        f'<div class="scroll numbers" role="region" aria-label="{title}" tabindex="0"><table>'
        f"<caption>{title}</caption><thead><tr>{header}</tr></thead><tbody>{rows}</tbody></table>"
        f"</div>{note}"
    )


def _figures(number: int, name: str, records: Sequence[Mapping[str, Any]]) -> str:
    """Places for what ``report.js`` draws, and the controls of it."""
    conditions = [str(one) for one in dict.fromkeys(record["condition"] for record in records)]
    choices = [(one, one) for one in conditions]
    if len(conditions) > 1:
        choices.insert(0, ("", "all, side by side"))
    metrics = list(dict.fromkeys(metric for record in records for metric in record["test"]))
    # The headline first, so that it is what a reader sees.
    metrics.sort(key=lambda metric: metric != "ecpm")
    places = "".join(_place(number, kind) for kind in ("test", "curves"))
    return f"""<div class="figures" data-experiment="{number}">
<form class="controls">
{_select("condition", "Condition", choices)}
{_select("metric", "Metric", [(metric, metric) for metric in metrics])}
<label class="check"><input type="checkbox" name="best"> only the variant that is best on validation
users</label>
</form>
<div class="legend" role="group" aria-label="Agents shown in the figures of {escape(name)}"></div>
{places}
<noscript><p>The figures need JavaScript; the tables above hold their numbers.</p></noscript>
</div>"""


def _panels(number: int, name: str, panels: Sequence[Mapping[str, Any]]) -> str:
    """A place for the experiment's own pictures, one at a time."""
    choices = [(str(k), str(panel["title"])) for k, panel in enumerate(panels)]
    return f"""<div class="drawings" data-experiment="{number}">
<form class="controls">{_select("panel", "Picture", choices)}</form>
<div class="legend" role="group" aria-label="Lines shown in the picture of {escape(name)}"></div>
{_place(number, "drawing")}
</div>"""


def _map(number: int, name: str, data: Mapping[str, Any]) -> str:
    """A place for a map of differences, and which axes it has; other axes can be held."""
    axes = _axes(data)
    leads = [(lead, " minus ".join(PAIRS[lead])) for lead in data["points"][0]["leads"]]
    held = "".join(
        _select(
            f"held-{axis}",
            f"{label} at",
            [("", "all, averaged"), *((f"{v:g}", f"{v:,g}") for v in _levels(data, axis))],
        )
        for axis, label in axes
    )
    return f"""<div class="map" data-experiment="{number}">
<form class="controls" aria-label="Axes of the map of {escape(name)}">
{_select("lead", "Difference of eCPM", leads)}
{_select("x", "Across", axes)}
{_select("y", "Upwards", axes)}
{held}
</form>
{_place(number, "heat")}
</div>"""


def _axes(data: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Axes that a result's conditions lie on, with their labels; none where they are no map."""
    first = (data.get("points") or [{}])[0]
    return [(axis, label) for axis, label in LABELS.items() if axis in first]


def _levels(data: Mapping[str, Any], axis: str) -> list[float]:
    return sorted({point[axis] for point in data["points"]})


def _place(number: int, kind: str) -> str:
    """Where ``report.js`` draws, and its caption."""
    caption = f"{_anchor(number)}-{kind}-caption"
    return (
        f'<figure><figcaption id="{caption}"></figcaption><div class="plot {kind}" role="group" '
        f'aria-labelledby="{caption}"></div></figure>'
    )


def _downloads(number: int, result: Mapping[str, Any]) -> str:
    name = escape(str(result["experiment"]))
    links = []
    if result.get("records"):
        links.append(
            f'<a href="#{_anchor(number)}" class="download" data-experiment="{number}" '
            f'data-kind="csv" download="{name}.csv">Every seed\'s numbers and learning curves '
            f"(CSV)</a>"
        )
    if result.get("data"):
        links.append(
            f'<a href="#{_anchor(number)}" class="download" data-experiment="{number}" '
            f'data-kind="json" download="{name}.json">Other data of this experiment (JSON)</a>'
        )
    return f"<p>{' · '.join(links)}</p>" if links else ""


def _details(summary: str, value: Any) -> str:
    text = escape(json.dumps(value, indent=1, ensure_ascii=False))
    return f'<details><summary>{escape(summary)}</summary><pre tabindex="0">{text}</pre></details>'
