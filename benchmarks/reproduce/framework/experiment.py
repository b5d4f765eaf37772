"""Experiments by name: what they are about, what they find, and how they are run and drawn."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recsim_drpo.benchmarks.reproduce.framework.documents import Findings, report_of
from recsim_drpo.benchmarks.reproduce.framework.settings import Settings
from recsim_drpo.benchmarks.reproduce.framework.study import Record, Study
from recsim_drpo.benchmarks.reproduce.framework.takeover import marks

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Result = dict[str, Any]
"""What is kept of an experiment, as :func:`.documents.report_of` makes it."""


@dataclass(frozen=True)
class Experiment:
    """A table, a figure or a claim of the paper that can be reproduced.

    Attributes:
        name: of the command, the folder and the result.
        about: one line.
        run: trains, measures and judges; the dictionary that is kept as JSON.
        draw: writes the pictures of such a dictionary into a folder; their figures by file name.
        seeded: whether it has seeds, of which there can be more or fewer.
        judge: what follows from a published result, of whose records no curves are left: tables,
            verdicts and data, or as many of them as its records still tell.
    """

    name: str
    about: str
    run: Callable[[Settings], Result]
    draw: Callable[[Result, Path], Mapping[str, Figure]]
    seeded: bool = True
    judge: Callable[[Result], Findings] | None = None


def run_study(
    settings: Settings, study: Study, findings: Callable[[Sequence[Record]], Findings]
) -> Result:
    """Run an experiment that is one study, in a folder of its name.

    Args:
        settings: how.
        study: made by :meth:`.study.Study.of` with the same settings.
        findings: of its records.
    """
    return run_studies(settings, study.name, [study], lambda records: findings(records[0]))


def run_studies(
    settings: Settings,
    name: str,
    studies: Sequence[Study],
    findings: Callable[[Sequence[Sequence[Record]]], Findings],
) -> Result:
    """Run an experiment of several studies, one after the other, each in a folder of its name.

    Args:
        settings: how.
        name: of the experiment.
        studies: of different names, made with the same settings.
        findings: of the records of each.
    """
    started = time.monotonic()
    by_study = [
        study.run(
            settings.folder / study.name,
            processes=settings.processes,
            progress=settings.progress,
            engine=settings.engine,
            earlier=settings.earlier,
        )
        for study in studies
    ]
    records = [record for part in by_study for record in part]
    judged = findings(by_study)
    seconds = time.monotonic() - started
    plans = [study.plan() for study in studies]
    report = report_of(name, settings, plans, judged, seconds, records)
    taken = marks(records, settings.earlier)
    return report | {"taken": taken} if taken else report


def without_agents(run: Callable[[Settings], Result]) -> Callable[[Settings], Result]:
    """The run of an experiment that compares no agents, and so has no tables and records of theirs.

    Args:
        run: returns ``experiment``, ``data`` and ``verdicts``, as :func:`.evidence.result` does.
    """

    def complete(settings: Settings) -> Result:
        started = time.monotonic()
        result = run(settings)
        seconds = time.monotonic() - started
        frame = report_of(result["experiment"], settings, [], Findings((), ()), seconds)
        return frame | {"verdicts": result["verdicts"], "data": result["data"]}

    return complete
