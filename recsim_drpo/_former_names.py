"""Modules by the names that they had before: what was written for them still imports.

``import recsim_drpo`` makes each former name stand for the module of today, the same object;
nothing in this package uses one.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_loader
from types import ModuleType

MOVED = {
    "rng": "core.rng",
    "checks": "core.validation",
    "headers": "core.table_headers",
    "threads": "core.torch_settings",
    "precision": "core.torch_settings",
    "catalogue": "simulator.catalogue",
    "embeddings": "simulator.embeddings",
    "decoder": "simulator.decoder",
    "world": "simulator.world",
    "sessions": "simulator.sessions",
    "logging_agent": "simulator.logging_agent",
    "session_policies": "simulator.reference_policies",
    "statistics": "reporting.statistics",
    "comparison": "reporting.comparison",
    "tables": "reporting.tables",
    "plots": "reporting.plots",
    "paper": "reporting.paper",
    "session_envs": "envs.sessions",
    "rendering": "envs.rendering",
    "online": "training.online",
    "trackers": "training.trackers",
    "ope_models": "ope.models",
    "ope_logs": "ope.logs",
    "ope_policy": "ope.evaluator",
    "held_out": "ope.held_out",
    "ope_report": "ope.report",
    "checkpoints": "runs.checkpoints",
    "export": "serving.onnx_export",
    "import_command": "cli.import_log",
    "cli.import_command": "cli.import_log",
    "demo": "cli.demo",
    "agents.algorithm": "agents.engine.algorithm",
    "agents.networks": "agents.engine.networks",
    "agents.step": "agents.engine.step",
    "agents.learner": "agents.engine.learner",
    "agents.adaptive_bc": "agents.algorithms.adaptive_bc",
    "agents.apg": "agents.algorithms.apg",
    "agents.asymre": "agents.algorithms.asymre",
    "agents.awr": "agents.algorithms.awr",
    "agents.bc": "agents.algorithms.bc",
    "agents.bppo": "agents.algorithms.bppo",
    "agents.crr": "agents.algorithms.crr",
    "agents.drpo": "agents.algorithms.drpo",
    "agents.iql": "agents.algorithms.iql",
    "agents.filtering": "agents.algorithms.filtering",
    "agents.critics": "agents.algorithms.critics",
    "agents.theory": "agents.algorithms.theory",
    "datasets.log": "datasets.generation.source",
    "datasets.session_log": "datasets.generation.sessions",
    "datasets.log_statistics": "datasets.generation.statistics",
    "datasets.card": "datasets.generation.card",
    "datasets.log_table": "datasets.importing.table",
    "datasets.log_columns": "datasets.importing.columns",
    "datasets.log_rounds": "datasets.importing.rounds",
    "datasets.open_bandit": "datasets.importing.open_bandit",
    "benchmarks.measuring": "benchmarks.speed.measuring",
    "benchmarks.roofline": "benchmarks.speed.roofline",
    "benchmarks.jax_peer": "benchmarks.speed.jax_peer",
    "benchmarks.d3rlpy_peer": "benchmarks.speed.d3rlpy_peer",
    "benchmarks.reproduce.conditions": "benchmarks.reproduce.framework.conditions",
    "benchmarks.reproduce.study": "benchmarks.reproduce.framework.study",
    "benchmarks.reproduce.store": "benchmarks.reproduce.framework.store",
    "benchmarks.reproduce.offline": "benchmarks.reproduce.framework.offline",
    "benchmarks.reproduce.verdicts": "benchmarks.reproduce.framework.verdicts",
    "benchmarks.reproduce.agent_suite": "benchmarks.reproduce.framework.agent_suite",
    "benchmarks.reproduce.compact": "benchmarks.reproduce.framework.compact",
    "benchmarks.reproduce.drawings": "benchmarks.reproduce.framework.drawings",
    "benchmarks.reproduce.online": "benchmarks.reproduce.framework.online",
    "benchmarks.reproduce.table1": "benchmarks.reproduce.experiments.table1",
    "benchmarks.reproduce.table2": "benchmarks.reproduce.experiments.table2",
    "benchmarks.reproduce.table3": "benchmarks.reproduce.experiments.table3",
    "benchmarks.reproduce.table6": "benchmarks.reproduce.experiments.table6",
    "benchmarks.reproduce.figure1": "benchmarks.reproduce.experiments.figure1",
    "benchmarks.reproduce.figure3": "benchmarks.reproduce.experiments.figure3",
    "benchmarks.reproduce.figure6": "benchmarks.reproduce.experiments.figure6",
    "benchmarks.reproduce.worlds": "benchmarks.reproduce.experiments.worlds",
    "benchmarks.reproduce.phase_map": "benchmarks.reproduce.experiments.phase_map",
    "benchmarks.reproduce.performance_claims": "benchmarks.reproduce.experiments.table1_claims",
    "benchmarks.reproduce.divergence": "benchmarks.reproduce.theory.divergence",
    "benchmarks.reproduce.optimistic_dro": "benchmarks.reproduce.theory.optimistic_dro",
    "benchmarks.reproduce.figure2": "benchmarks.reproduce.theory.figure2",
    "benchmarks.reproduce.phantom": "benchmarks.reproduce.theory.phantom",
    "benchmarks.reproduce.log_features": "benchmarks.reproduce.advice.log_features",
    "benchmarks.reproduce.rules": "benchmarks.reproduce.advice.rules",
    "benchmarks.reproduce.locate": "benchmarks.reproduce.advice.locate",
    "benchmarks.reproduce.claims": "benchmarks.reproduce.publishing.claims",
    "benchmarks.reproduce.cards": "benchmarks.reproduce.publishing.cards",
    "benchmarks.reproduce.report": "benchmarks.reproduce.publishing.report",
    "benchmarks.reproduce.framework.experiments": "benchmarks.reproduce.framework.evidence",
}
"""Names of today by former ones, both within ``recsim_drpo``."""

SPLIT = dict.fromkeys(
    ("serving_tables", "serving.tables"), ("serving.formats", "serving.readers", "serving.writers")
)
"""Former modules that are several today; each has the names of all of them."""

_PACKAGE = "recsim_drpo."


class _FormerNames(MetaPathFinder, Loader):
    """Finds the module, or the modules, of today under a name of before."""

    def __init__(self) -> None:
        self._specs: dict[str, ModuleSpec | None] = {}

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """A spec where the name is a former one."""
        former = name.startswith(_PACKAGE) and name.removeprefix(_PACKAGE) in {*MOVED, *SPLIT}
        return spec_from_loader(name, self) if former else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """The module of today; of one that was split, a new module."""
        former = spec.name.removeprefix(_PACKAGE)
        if former in SPLIT:
            return ModuleType(spec.name)
        module = importlib.import_module(_PACKAGE + MOVED[former])
        self._specs[spec.name] = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Give a module of today its spec back, which the import of a former name replaced.

        The new module of one that was split gets the names of those of today.
        """
        replaced = module.__spec__
        for part in SPLIT.get(module.__name__.removeprefix(_PACKAGE), ()):
            names = vars(importlib.import_module(_PACKAGE + part))
            vars(module).update({name: names[name] for name in names if not name.startswith("_")})
        if replaced is not None and replaced.name in self._specs:
            module.__spec__ = self._specs.pop(replaced.name)


def install() -> None:
    """Let former names be imported from here on."""
    if not any(isinstance(finder, _FormerNames) for finder in sys.meta_path):
        sys.meta_path.append(_FormerNames())
