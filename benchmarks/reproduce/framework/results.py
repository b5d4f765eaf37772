"""From records to tables and verdicts: what the experiments share."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from recsim_drpo.benchmarks.reproduce.framework.conditions import Condition
from recsim_drpo.benchmarks.reproduce.framework.study import Record, Study, Variants
from recsim_drpo.benchmarks.reproduce.framework.verdicts import Verdict, answer
from recsim_drpo.benchmarks.speed.measuring import where
from recsim_drpo.core.provenance import revision, versions
from recsim_drpo.reporting import comparison
from recsim_drpo.reporting.statistics import Estimate, seed_interval
from recsim_drpo.reporting.tables import markdown_table
from recsim_drpo.training.loop import TrainingConfig

Floats = NDArray[np.float64]
_ENOUGH_SEEDS = 10
_QUICK_ROUNDS = 20_000
_QUICK_STEPS = 500


@dataclass(frozen=True)
class Settings:
    """How an experiment is run.

    Attributes:
        quick: fewer seeds, steps and grid points: the same code in minutes, every output marked.
        folder: where unfinished work is kept and results are written.
        processes: how many, each with one thread.
        num_seeds: seeds 0 to ``num_seeds`` - 1; ``None`` is the experiment's own number.
        execution: of :class:`recsim_drpo.agents.engine.engine.Engine`.
        device: where everything is computed.
        progress: show rates and time left on a terminal.
    """

    quick: bool
    folder: Path
    processes: int = 1
    num_seeds: int | None = None
    execution: str = "auto"
    device: str = "cpu"
    progress: bool = True

    def study(
        self,
        name: str,
        conditions: Sequence[Condition],
        agents: Variants,
        *,
        full: int,
        quick: int,
        offline: bool = False,
        steps: int = TrainingConfig.steps,
        curves: bool = True,
        kind: type[Study] = Study,
    ) -> Study:
        """A study of ``full`` seeds, or ``quick`` ones, trained as Table 5 says, or shorter.

        ``curves``: follow the learning on validation users, a quarter of the time; without, they
        see the start and the end.
        """
        steps = _QUICK_STEPS if self.quick else steps
        return kind(
            name,
            [self.condition(one) for one in conditions],
            agents,
            self.seeds(full, quick),
            TrainingConfig(
                steps=steps, evaluate_every=TrainingConfig.evaluate_every if curves else steps
            ),
            offline=offline,
            execution=self.execution,
            device=self.device,
            full_seeds=full,
        )

    def condition(self, full: Condition) -> Condition:
        """The condition, or where it is quick one of fewer rounds."""
        if not self.quick:
            return full
        return replace(full, num_rounds=min(full.num_rounds, _QUICK_ROUNDS))

    def run(self, study: Study) -> list[Record]:
        """The study's records, in a folder of its name."""
        folder = self.folder / study.name
        return study.run(folder, processes=self.processes, progress=self.progress)

    def seeds(self, full: int, quick: int) -> tuple[int, ...]:
        """The seeds of an experiment that has ``full`` of them, or ``quick``."""
        own = quick if self.quick else full
        return tuple(range(own if self.num_seeds is None else self.num_seeds))


@dataclass(frozen=True)
class Table:
    """A table as the reader sees it.

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
        """As Markdown, with its title."""
        parts = [f"**{self.title}**", markdown_table(self.header, self.rows)]
        return "\n\n".join(parts + ([self.note] if self.note else []))


def report_of(
    name: str,
    settings: Settings,
    plans: Sequence[Mapping[str, Any]],
    records: Sequence[Record],
    tables: Sequence[Table],
    verdicts: Sequence[Verdict],
    seconds: float,
    data: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """What is kept of an experiment, for JSON: everything that a reader could ask for."""
    return {
        "experiment": name,
        "quick": settings.quick,
        "plans": list(plans),
        "revision": revision(),
        "versions": versions(),
        "device": where(torch.device(settings.device)),
        "wall_time_s": round(seconds, 1),
        "verdicts": [verdict.as_dict() for verdict in verdicts],
        "tables": [
            {
                "title": t.title,
                "header": list(t.header),
                "rows": [list(r) for r in t.rows],
                "note": t.note,
            }
            for t in tables
        ],
        "data": dict(data or {}),
        "records": list(records),
    }


def report_of_study(
    settings: Settings,
    study: Study,
    tables: Callable[[Sequence[Record]], Sequence[Table]],
    verdicts: Callable[[Sequence[Record]], Sequence[Verdict]],
) -> dict[str, Any]:
    """Run an experiment that is one study; its tables and verdicts follow from its records."""
    started = time.monotonic()
    records = settings.run(study)
    return report_of(
        study.name,
        settings,
        [study.plan()],
        records,
        tables(records),
        verdicts(records),
        time.monotonic() - started,
    )


def rounded(value: Any, digits: int) -> Any:
    """JSON with floats of so many significant digits, and None for those that JSON cannot hold."""
    if isinstance(value, float):
        return float(f"{value:.{digits}g}") if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): rounded(item, digits) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(item, digits) for item in value]
    return value


def select(records: Sequence[Record], **wanted: Any) -> list[Record]:
    """The records whose fields have the given values."""
    return [r for r in records if all(r[key] == value for key, value in wanted.items())]


def values(records: Sequence[Record], metric: str = "ecpm", **wanted: Any) -> Floats:
    """A test metric of some records in the order of their seeds; NaN where there is none.

    Raises:
        ValueError: there is no such record, or a seed more than once.
    """
    found = sorted(select(records, **wanted), key=lambda record: int(record["seed"]))
    seeds = [record["seed"] for record in found]
    if not found or len(set(seeds)) < len(seeds):
        raise ValueError(f"{len(found)} records with seeds {seeds} are {wanted}.")
    return np.array([record["test"][metric] for record in found], dtype=np.float64)


def interval(scores: Floats) -> Estimate:
    """Mean over seeds (num_seeds,) with a 95 % interval: by bootstrap from ten seeds on.

    Of fewer, the bootstrap's intervals are too narrow; Student's t is wide enough.
    """
    if len(scores) < _ENOUGH_SEEDS:
        return seed_interval(scores)
    return comparison.stratified_bootstrap(scores, comparison.mean)


def difference(a: Floats, b: Floats) -> Estimate:
    """Mean of a - b, paired by seed, with an interval as :func:`interval`'s."""
    if len(a) < _ENOUGH_SEEDS:
        return seed_interval(a - b)
    return comparison.paired_difference(a, b)


def best_variant(records: Sequence[Record], condition: str, agent: str) -> int:
    """The variant of largest mean eCPM on validation users: none of them is a test user."""
    found = select(records, condition=condition, agent=agent)
    variants = sorted({record["variant"] for record in found})
    means = [np.mean([r["validation"] for r in select(found, variant=v)]) for v in variants]
    return int(variants[int(np.argmax(means))])


def best_of(agents: Sequence[str], records: Sequence[Record], condition: str) -> str:
    """The agent of largest mean eCPM on validation users, of those that were trained."""
    known = {record["agent"] for record in records}
    means = {
        name: np.mean([r["validation"] for r in select(records, condition=condition, agent=name)])
        for name in agents
        if name in known
    }
    return max(means, key=lambda name: float(means[name]))


def chosen_offline(
    records: Sequence[Record], condition: str, agent: str, metric: str = "ecpm"
) -> Floats:
    """A test metric of the variant that each seed's held-out log would choose: (num_seeds,)."""
    found = select(records, condition=condition, agent=agent)
    chosen = []
    for seed in sorted({record["seed"] for record in found}):
        best = max(select(found, seed=seed), key=lambda record: float(record["offline"]))
        chosen.append(best["test"][metric])
    return np.array(chosen, dtype=np.float64)


def by_sign(
    difference: Estimate, claim: str, statement: str, paper: str, ours: str, command: str
) -> Verdict:
    """The verdict on a claim that a difference is positive, by its interval."""
    verdict = answer(difference)
    because = f"the difference is {signed(difference)}"
    if math.isnan(difference.low):
        because += ", of a single replicate, which has no interval"
    elif verdict == "undecided":
        because = f"the interval of the difference, {signed(difference)}, has 0"
    return Verdict(claim, statement, paper, ours, verdict, because, command)


def earns_more(
    ours: Floats, theirs: Floats, claim: str, statement: str, paper: str, command: str
) -> Verdict:
    """The verdict on a claim that scores over seeds are larger than others, paired by seed."""
    against = f"{mean_of(ours)} against {mean_of(theirs)}"
    return by_sign(difference(ours, theirs), claim, statement, paper, against, command)


def mean_of(scores: Floats) -> str:
    """Mean over seeds (num_seeds,) with its interval, as text."""
    return brief(interval(scores))


def brief(estimate: Estimate) -> str:
    """``1.71 [1.70, 1.73]``, or of a single seed ``1.71``."""
    if math.isnan(estimate.low):
        return f"{estimate.value:.2f}"
    return f"{estimate.value:.2f} [{estimate.low:.2f}, {estimate.high:.2f}]"


def signed(estimate: Estimate) -> str:
    """``+1.26 [+1.13, +1.39]``, or of a single seed ``+1.26``."""
    if math.isnan(estimate.low):
        return f"{estimate.value:+.2f}"
    return f"{estimate.value:+.2f} [{estimate.low:+.2f}, {estimate.high:+.2f}]"
