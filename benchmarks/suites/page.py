"""A result of a suite as one HTML page, by the page of ``recsim-drpo report``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recsim_drpo.benchmarks.reproduce.framework.drawings import drawings
from recsim_drpo.benchmarks.reproduce.publishing import report
from recsim_drpo.benchmarks.reproduce.runner import PANELS
from recsim_drpo.benchmarks.suites import tables
from recsim_drpo.benchmarks.suites.result import Result
from recsim_drpo.benchmarks.suites.suite import Metric, Suite

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Record = dict[str, Any]


def write(path: Path, suite: Suite, result: Result, figures: Mapping[str, Figure]) -> None:
    """Write the page of a result beside the suite's references.

    Args:
        path: of the page.
        suite: that it is of.
        result: what an agent did.
        figures: of lines, as :func:`.tables.draw` returns them.

    Raises:
        report.PlotlyMissingError: Plotly is not installed.
    """
    shown = as_experiment(suite, result, figures)
    scores = tables.scores_of(suite, result)
    lead = f"{tables.sentence(suite, result, scores)} {tables.about_curves(suite, result)}"
    headline = f"{result.label} on {suite.name}"
    heading = report.Heading(f"recsim_drpo: {headline}", headline, lead)
    report.write(path, [shown], heading, logs=())


def as_experiment(
    suite: Suite, result: Result, figures: Mapping[str, Figure] | None = None
) -> dict[str, Any]:
    """A result as the page takes those of experiments, the result's own agent first."""
    scores = tables.scores_of(suite, result)
    return {
        "experiment": f"{result.label} on {suite.name}",
        "quick": result.quick,
        "plans": [] if result.quick else [_plan(suite, result)],  # which is cut short
        "revision": result.revision,
        "versions": dict(result.versions or {}),
        "facts": {
            "command": result.command,
            "hyper-parameters chosen by": result.tuned_by,
            "code": result.source,
        },
        "verdicts": [],
        "tables": [table.as_dict() for table in tables.tables_of(scores)],
        "data": {},
        "records": _records(suite, result),
        PANELS: drawings(figures or {}),
    }


def _plan(suite: Suite, result: Result) -> dict[str, Any]:
    """What was run, for readers."""
    return {
        "name": suite.name,
        "seeds": list(result.seeds),
        "agent": result.agent,
        "hyperparameters": dict(result.hyperparameters),
        "training": {key: asdict(suite.training)[key] for key in ("steps", "batch_size")},
        "num_test_users": suite.num_test_users,
        "num_validation_users": suite.num_validation_users,
        "rules": dict(suite.rules),
        "suite_sha256": suite.sha256,
        "conditions": [condition.as_dict() for condition in suite.conditions],
    }


def _records(suite: Suite, result: Result) -> list[Record]:
    """Everyone's runs, with the test metrics that all agents have."""
    runs = {
        name: [_record(name, record, suite.metric) for record in records]
        for name, records in tables.runs_of(suite, result).items()
    }
    measured = [
        {metric for record in records for metric, v in record["test"].items() if v is not None}
        for records in runs.values()
    ]
    common = set.intersection(*measured)
    return [
        {**record, "test": {name: v for name, v in record["test"].items() if name in common}}
        for records in runs.values()
        for record in records
    ]


def _record(name: str, record: Record, metric: Metric) -> Record:
    test = {**record["test"], "normalized": metric.normalized(record)}
    return {"curve": [], **record, "agent": name, "variant": 0, "test": test}
