"""The contract of who may import whom sees every module; ``make lint`` checks it."""

from __future__ import annotations

import configparser
from pathlib import Path

import grimp

ROOT = Path(__file__).resolve().parents[2]


def test_the_contract_sees_every_module():
    config = configparser.ConfigParser()
    config.read(ROOT / ".importlinter")
    roots = config["importlinter"]["root_packages"].split()
    graph = grimp.build_graph(*roots, cache_dir=None)
    files = [path.relative_to(ROOT) for path in (ROOT / "recsim_drpo").glob("**/*.py")]
    for folder in ("agents", "datasets", "benchmarks"):
        found = (ROOT / folder).glob("**/*.py")
        files += [Path("recsim_drpo") / path.relative_to(ROOT) for path in found]
    modules = {".".join(path.with_suffix("").parts).removesuffix(".__init__") for path in files}
    assert modules <= set(graph.modules)


def test_every_experiment_is_told_to_be_independent():
    config = configparser.ConfigParser()
    config.read(ROOT / ".importlinter")
    told = config["importlinter:contract:experiments"]["modules"].split()
    folder = ROOT / "benchmarks" / "reproduce" / "experiments"
    parts = {path.stem for path in folder.glob("*.py")} - {"__init__"}
    experiments = {name for name in parts if not name.endswith("_claims")}
    assert {module.rpartition(".")[2] for module in told} == experiments
