"""One HTML page of results: ``recsim-drpo report``, and what ``recsim-drpo benchmark`` leaves.

The page holds everything, Plotly's JavaScript included (the extra ``report``): it opens from the
disk without a network. Its templates, style and scripts lie in ``page``; text of results reaches it
escaped by Jinja, and numbers as JSON that the scripts draw.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup
from scipy.stats import t as student_t

from recsim_drpo.benchmarks.reproduce.advice.leads import LABELS, PAIRS
from recsim_drpo.benchmarks.reproduce.framework.documents import Table
from recsim_drpo.benchmarks.reproduce.framework.estimates import rounded
from recsim_drpo.benchmarks.reproduce.framework.measures import HEADLINES
from recsim_drpo.benchmarks.reproduce.framework.records import distinct
from recsim_drpo.benchmarks.reproduce.framework.verdicts import VERDICTS
from recsim_drpo.benchmarks.reproduce.publishing.cards import cards, definitions
from recsim_drpo.benchmarks.reproduce.runner import PANELS
from recsim_drpo.core.files import write_atomically

SYMBOLS = dict(zip(VERDICTS, "✓◑◐✗?", strict=True))
"""A sign for each verdict: colour alone would not reach every reader."""

SCRIPTS = (
    "numbers.js",
    "series.js",
    "figures.js",
    "runs.js",
    "drawings.js",
    "map.js",
    "verdicts.js",
    "downloads.js",
    "start.js",
)
"""In this order they are one script; each may use what stands before it."""

_PAGE = "page"
_DIGITS = 7  # more than the single precision that records come in


@dataclass(frozen=True)
class Heading:
    """What stands above a page.

    Attributes:
        title: of the browser's window.
        headline: the first line.
        lead: a paragraph below it.
    """

    title: str
    headline: str
    lead: str


PAPER = Heading(
    "recsim_drpo: the paper's claims and what was measured",
    "The paper's claims and what was measured",
    Markup(
        "<em>Breaking the Curse of Repulsion</em> (DRPO), reproduced with recsim_drpo. Intervals "
        "are of\n95 %, over seeds."
    ),
)


class PlotlyMissingError(ImportError):
    """Raised where a report is asked for and the extra ``report`` is not installed."""

    def __init__(self) -> None:
        super().__init__('A report needs Plotly: pip install "recsim-drpo[report]".')


def write(
    path: Path,
    results: Sequence[Mapping[str, Any]],
    heading: Heading = PAPER,
    logs: Sequence[Table] | None = None,
) -> None:
    """Write the page of some results, as :func:`runner.load_results` returns them.

    Args:
        path: of the page.
        results: at most with ``facts`` besides, texts by what they are.
        heading: what stands above.
        logs: dataset cards; ``None`` are those of the results' logs.

    Raises:
        PlotlyMissingError: Plotly is not installed.
    """
    plotly, layouts = _plotly()
    path.parent.mkdir(parents=True, exist_ok=True)
    panels = [result.get(PANELS, []) for result in results]
    shown = list(cards(results)) if logs is None else logs
    write_atomically(path, page(results, plotly, layouts, panels, shown, heading))


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
    heading: Heading = PAPER,
) -> str:
    """The page as text.

    Args:
        results: as ``result.json`` holds them.
        plotly: Plotly's JavaScript; without it there are no figures.
        layouts: Plotly's layout for ``light`` and ``dark``.
        panels: of each result's pictures, as :func:`.drawings.drawings` has them.
        logs: dataset cards.
        heading: what stands above.
    """
    panels = panels or [[]] * len(results)
    verdicts = list(_verdicts(results))
    counts = Counter(verdict["verdict"] for _, verdict, _, _ in verdicts)
    data = {
        "experiments": [_data(*pair) for pair in zip(results, panels, strict=True)],
        "layouts": layouts or {},
        "quantiles": _quantiles(results),
    }
    environment = Environment(
        loader=FunctionLoader(_own),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template("report.html").render(
        heading=heading,
        style=Markup(_own("report.css")),
        quick=[str(result["experiment"]) for result in results if result["quick"]],
        kinds=[{"name": n, "symbol": s, "count": counts[n]} for n, s in SYMBOLS.items()],
        verdicts=verdicts,
        verdict_choices=[("", "all"), *_choices(SYMBOLS)],
        experiment_choices=[("", "all"), *_choices(dict.fromkeys(name for name, *_ in verdicts))],
        logs=logs,
        sections=[
            _section(number, *pair) for number, pair in enumerate(zip(results, panels, strict=True))
        ],
        data=_json(data),
        plotly=Markup(plotly),
        scripts=_scripts(),
    )


def _own(name: str) -> str:
    """The text of a template, a style or a script of the page."""
    return resources.files(__package__).joinpath(_PAGE, name).read_text(encoding="utf-8")


def _scripts() -> Markup:
    """The page's scripts as one, whose names no other script sees."""
    return Markup('"use strict";\n(() => {\n' + "\n".join(map(_own, SCRIPTS)) + "})();\n")


def _json(value: Any) -> Markup:
    """JSON that can stand in a script element, whatever its strings hold."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c"))


def _data(result: Mapping[str, Any], panels: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The records, data and panels that the scripts draw of an experiment."""
    numbers = rounded({key: result[key] for key in ("records", "data")}, _DIGITS)
    return {"name": str(result["experiment"]), **numbers, "panels": panels}


def _quantiles(results: Sequence[Mapping[str, Any]]) -> list[float | None]:
    """Student's 97.5 % quantiles for means of n seeds, at index n; there is none below two."""
    most = max((_num_seeds(result) for result in results), default=0)
    return [None, None, *(round(float(student_t.ppf(0.975, n - 1)), 6) for n in range(2, most + 1))]


def _num_seeds(result: Mapping[str, Any]) -> int:
    return len(distinct(result["records"], "seed"))


def _verdicts(
    results: Sequence[Mapping[str, Any]],
) -> Iterator[tuple[str, Mapping[str, str], int, str]]:
    """Every verdict with its experiment, the number of its kind, and that kind's symbol."""
    for result in results:
        for verdict in result["verdicts"]:
            kind = verdict["verdict"]
            yield str(result["experiment"]), verdict, VERDICTS.index(kind), SYMBOLS[kind]


def _section(
    number: int, result: Mapping[str, Any], panels: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """The section of an experiment, as ``experiment.html`` shows it."""
    name = str(result["experiment"])
    plans = result["plans"]
    return {
        "number": number,
        "name": name,
        # By number: a name may hold anything.
        "anchor": f"experiment-{number}",
        "quick": result["quick"],
        "facts": [(key, value) for key, value in _facts(result).items() if value],
        "tables": [Table(**table) for table in result["tables"]],
        "map": _map(result["data"]),
        "pictures": [(str(k), panel["title"]) for k, panel in enumerate(panels)],
        "runs": _runs(result["records"]),
        "downloads": list(_downloads(result)),
        "logs": [(p.get("name", name), definitions(p)) for p in plans if p.get("conditions")],
        "configuration": [
            ("Versions", _indented(result["versions"])),
            *((f"Plan: {plan.get('name', name)}", _indented(plan)) for plan in plans),
        ],
    }


def _facts(result: Mapping[str, Any]) -> dict[str, Any]:
    seeds = _num_seeds(result)
    return {
        "seeds": seeds or "",
        "runs": f"{len(result['records']):,}" if seeds else "",
        "device": result.get("device", ""),
        "wall time": _duration(result["wall_time_s"]) if "wall_time_s" in result else "",
        "revision": result["revision"],
        **result.get("facts", {}),
    }


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7_200 else f"{seconds / 3_600:.1f} h"


def _indented(value: Any) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False)


Choice = tuple[str, str]
"""A choice's value, and what a reader sees of it."""


def _choices(values: Any) -> list[Choice]:
    return [(str(value), str(value)) for value in values]


def _runs(records: Sequence[Mapping[str, Any]]) -> dict[str, list[Choice]]:
    """Conditions and metrics to choose from; nothing where there are no records."""
    if not records:
        return {}
    conditions = _choices(distinct(records, "condition"))
    if len(conditions) > 1:
        conditions.insert(0, ("", "all, side by side"))
    metrics = dict.fromkeys(metric for record in records for metric in record["test"])
    # The headline first, so that it is what a reader sees.
    ordered = sorted(metrics, key=lambda metric: metric not in HEADLINES)
    return {"conditions": conditions, "metrics": _choices(ordered)}


def _map(data: Mapping[str, Any]) -> dict[str, Any]:
    """Differences and axes to choose from; nothing where conditions do not lie on axes."""
    points = data.get("points") or [{}]
    axes = [(axis, label) for axis, label in LABELS.items() if axis in points[0]]
    if not axes:
        return {}
    return {
        "leads": [(lead, " minus ".join(PAIRS[lead])) for lead in points[0]["leads"]],
        "axes": axes,
        "held": [(axis, label, _levels(points, axis)) for axis, label in axes],
    }


def _levels(points: Sequence[Mapping[str, Any]], axis: str) -> list[Choice]:
    """Values that an axis can be held at."""
    values = sorted({point[axis] for point in points})
    return [("", "all, averaged"), *((f"{value:g}", f"{value:,g}") for value in values)]


def _downloads(result: Mapping[str, Any]) -> Iterator[Choice]:
    """Files that a reader can have: their endings, and what is in them."""
    if result["records"]:
        yield "csv", "Every seed's numbers and learning curves (CSV)"
    if result["data"]:
        yield "json", "Other data of this experiment (JSON)"
