"""Table 1's headlines under the other natural readings of what the paper leaves open.

A reading changes one thing of Table 1 as it is published here and nothing else; grids are tuned
anew under those that a headline rests on. *As published here*: log σ a learnt vector, π_rand by
organic popularity, noise before the clip (Eq. 49), Table 5's numbers. The four readings of
DRPO-Exp's weights are its variants under every reading.

What each reading changes, and over how many seeds it is run, was settled before its first run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from recsim_drpo.benchmarks.reproduce.experiments.readings_claims import NAME, findings
from recsim_drpo.benchmarks.reproduce.framework.agent_suite import GRIDS, SCENARIOS, UNTUNED
from recsim_drpo.benchmarks.reproduce.framework.conditions import Condition, scenario
from recsim_drpo.benchmarks.reproduce.framework.estimates import interval
from recsim_drpo.benchmarks.reproduce.framework.experiment import Experiment, run_studies
from recsim_drpo.benchmarks.reproduce.framework.settings import Settings
from recsim_drpo.benchmarks.reproduce.framework.spread import SIGMA, SpreadStudy
from recsim_drpo.benchmarks.reproduce.framework.study import Record, Variants
from recsim_drpo.reporting import plots
from recsim_drpo.training.config import TrainingConfig

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COMPARED = (
    "bc",
    "awr",
    "iql",
    "asymre",
    "asymre-delta",
    "adaptive-bc",
    "drpo-exp",
    "drpo-boltzmann",
    "drpo",
)
"""Agents of all readings: those of Table 1 that a headline is about, and the soft methods. CRR and
BPPO, which cost as much as all the rest and are never near the best, are left out."""

WEIGHTS: Sequence[Mapping[str, Any]] = (
    {},
    {"beta": 1.0, "standardize": True},
    {"beta": 0.2},
    {"cap": "batch"},
)
"""The readings of DRPO-Exp's weights, in the order of :data:`.readings_claims.WEIGHTS`."""

TUNED: Variants = {name: GRIDS[name] for name in COMPARED} | {"drpo-exp": WEIGHTS}
FEW: Variants = (
    {name: UNTUNED[name] for name in COMPARED}
    | {"awr": [*UNTUNED["awr"], {}]}
    | {"drpo-exp": WEIGHTS[:2]}
)
"""Hyper-parameters under readings that no headline rests on: AWR both ways, DRPO-Exp both ways."""


@dataclass(frozen=True)
class Reading:
    """One way to read what the paper leaves open.

    Attributes:
        name: of its study and in tables.
        about: what it changes.
        agents: hyper-parameters to try, before what it changes.
        overrides: hyper-parameters that it gives to all agents.
        condition: fields of :class:`Condition` that it changes.
        steps: updates.
        seeds: in the full setting.
    """

    name: str
    about: str
    agents: Variants = field(default_factory=lambda: FEW)
    overrides: Mapping[str, Any] = field(default_factory=dict)
    condition: Mapping[str, Any] = field(default_factory=dict)
    steps: int = TrainingConfig.steps
    seeds: int = 4

    def conditions(self) -> list[Condition]:
        """Both scenarios as this reading has them."""
        plain = [scenario(name) for name in SCENARIOS]
        if self.name == PUBLISHED:
            return plain
        return [replace(c, label=f"{c.label}, {self.name}", **self.condition) for c in plain]

    def variants(self) -> Variants:
        """Hyper-parameters to try, by agent."""
        return {
            name: [{**variant, **self.overrides} for variant in variants]
            for name, variants in self.agents.items()
        }


PUBLISHED = "as published here"

READINGS = (
    Reading(PUBLISHED, "Table 1 as it is published here", TUNED, seeds=20),
    Reading(
        "σ by context",
        "log σ a second output of the network",
        TUNED,
        overrides={"sigma": "state"},
        seeds=20,
    ),
    Reading(
        "π_rand uniform",
        "random rounds show every item alike",
        TUNED,
        condition={"logging": {"random_exponent": 0.0}},
        seeds=20,
    ),
    Reading(
        "noise after the clip",
        "observed rewards R + σ_noise ε, not clipped",
        condition={"unclipped": True},
    ),
    Reading("σ fixed", "σ = 1, never learnt", overrides={"sigma": "fixed"}),
    Reading("3 layers", "three hidden layers (Appendix I)", overrides={"num_hidden_layers": 3}),
    Reading("learning rate 1e-4", "a third of Table 5's", overrides={"learning_rate": 1e-4}),
    Reading("learning rate 1e-3", "three times Table 5's", overrides={"learning_rate": 1e-3}),
    Reading("2,500 updates", "half as many", steps=2_500),
    Reading("10,000 updates", "twice as many", steps=10_000),
    Reading("batch 2,048", "in place of 320", overrides={"batch_size": 2_048}),
)

QUICK = (PUBLISHED, "σ by context", "noise after the clip")
_POINTS = 5
"""Places of a training at which it is looked at, besides its start."""


class ReadingStudy(SpreadStudy):
    """A study of one reading, whose first seeds have σ as they learn, whatever is taken over."""

    def completed(self, record: Record, source: Mapping[str, Any]) -> Record | None:
        """The record, but none of the first seeds without σ: those are trained."""
        first = record["seed"] in self.seeds[: self.seeds_at_once]
        return record if SIGMA in record or not first else None


def run(settings: Settings) -> dict[str, Any]:
    """The result of all readings: the agents of each, trained in both scenarios."""
    chosen = [reading for reading in READINGS if not settings.quick or reading.name in QUICK]
    studies = [_study(settings, reading) for reading in chosen]
    told = {reading.name: reading.about for reading in chosen}
    return run_studies(settings, NAME, studies, partial(findings, readings=told))


def _study(settings: Settings, reading: Reading) -> ReadingStudy:
    size = settings.size
    steps = reading.steps if size.steps is None else size.steps
    looked = replace(size, evaluate_every=max(1, steps // _POINTS))
    slug = "".join(
        c if c.isalnum() else "-" for c in reading.name.replace("σ", "sigma").replace("π", "pi")
    )
    return ReadingStudy.of(
        replace(settings, scale=looked),
        f"{NAME}-{slug}",
        reading.conditions(),
        reading.variants(),
        full=reading.seeds,
        quick=1,
        steps=reading.steps,
        kin=("table1",) if reading.name == PUBLISHED else (),
    )


def draw(result: dict[str, Any], folder: Path) -> dict[str, Figure]:
    """A picture of σ as agents learn, under each reading by which it is learnt."""
    traces = result["data"]["sigma"]
    figures = {}
    for number, (reading, agents) in enumerate(traces.items()):
        shown = {name: trace for name, trace in agents.items() if len(trace["steps"]) > 1}
        if not shown:
            continue
        steps = np.array(next(iter(shown.values()))["steps"])
        lines = {
            name: [interval(np.array(values)) for values in trace["sigma"]]
            for name, trace in shown.items()
        }
        name = f"{NAME}-sigma-{number}"
        label = f"σ of the policy, extreme, {reading}"
        figures[name] = plots.sweep(folder / name, steps, lines, "update", label)
    return figures


EXPERIMENT = Experiment(NAME, "Table 1's headlines under other readings of the paper", run, draw)
