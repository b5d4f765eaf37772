"""Documents of an experiment: tables for readers, and the result that is kept as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from recsim_drpo.benchmarks.reproduce.framework.records import revisions_of
from recsim_drpo.benchmarks.reproduce.framework.settings import Settings
from recsim_drpo.benchmarks.reproduce.framework.study import Record
from recsim_drpo.benchmarks.reproduce.framework.verdicts import Verdict
from recsim_drpo.benchmarks.speed.measuring import where
from recsim_drpo.core.provenance import versions
from recsim_drpo.reporting.tables import markdown_table


@dataclass(frozen=True)
class Table:
    """A table of text cells with a title and a note.

    Attributes:
        title: what it is.
        header: names of columns.
        rows: text cells, as many as the header has.
        note: a line below it.
    """

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""

    def markdown(self) -> str:
        """The table as Markdown, with its title and note."""
        parts = [f"**{self.title}**", markdown_table(self.header, self.rows)]
        return "\n\n".join(parts + ([self.note] if self.note else []))

    def as_dict(self) -> dict[str, Any]:
        """The table's fields by name, for JSON."""
        return {
            "title": self.title,
            "header": list(self.header),
            "rows": [list(row) for row in self.rows],
            "note": self.note,
        }


@dataclass(frozen=True)
class Findings:
    """The findings of an experiment, which follow from what was measured.

    Attributes:
        tables: for readers.
        verdicts: what becomes of each claim.
        data: what else pictures and advice need, as JSON can hold it.
    """

    tables: Sequence[Table]
    verdicts: Sequence[Verdict]
    data: Mapping[str, Any] = field(default_factory=dict)


def report_of(
    name: str,
    settings: Settings,
    plans: Sequence[Mapping[str, Any]],
    findings: Findings,
    seconds: float,
    records: Sequence[Record] = (),
) -> dict[str, Any]:
    """The result of an experiment, for JSON: everything that a reader could ask for.

    Args:
        name: of the experiment.
        settings: how it was run.
        plans: what was run, as of :meth:`.study.Study.plan`.
        findings: what follows.
        seconds: that it took.
        records: of its runs, where it compares agents.
    """
    return {
        "experiment": name,
        "quick": settings.quick,
        "plans": list(plans),
        "revision": revisions_of(records),
        "versions": versions(),
        "device": where(torch.device(settings.device)),
        "wall_time_s": round(seconds, 1),
        "verdicts": [verdict.as_dict() for verdict in findings.verdicts],
        "tables": [table.as_dict() for table in findings.tables],
        "data": dict(findings.data),
        "records": list(records),
    }
