"""What the package offers is there, stays cheap to import, and is what type checkers are told."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
STUBS = sorted(
    path.relative_to(ROOT)
    for folder in ("recsim_drpo", "agents", "datasets", "benchmarks")
    for path in (ROOT / folder).glob("**/*.pyi")
)
BEFORE = """Agent Batch Evaluation Evaluator Fleet LoggingAgent LoggingConfig SessionConfig
    SessionEvaluation SessionEvaluator Sessions World WorldConfig agent_names evaluate
    generate_dataset load_transitions make_agent make_sessions make_world reference_policy
    register_agent session_reference_policy simulate_transitions"""
"""What the first revision exported."""


def test_public_names_stay():
    import recsim_drpo

    assert set(BEFORE.split()) <= set(recsim_drpo.__all__)
    assert all(getattr(recsim_drpo, name) is not None for name in recsim_drpo.__all__)


@pytest.mark.parametrize("stub", STUBS, ids=str)
def test_what_a_stub_names_is_there(stub):
    parts = stub.parent.parts
    package = importlib.import_module(
        ".".join(parts if parts[0] == "recsim_drpo" else ("recsim_drpo", *parts))
    )
    tree = ast.parse((ROOT / stub).read_text())
    names = [alias.name for node in tree.body for alias in node.names]
    assert len(names) == len(set(names))
    for node in tree.body:
        source = package
        if node.module is not None:
            source = importlib.import_module(f"{package.__name__}.{node.module}")
        for alias in node.names:
            assert alias.asname == alias.name
            assert getattr(package, alias.name) is getattr(source, alias.name)


def test_importing_the_package_imports_nothing_heavy():
    heavy = ("torch", "scipy", "sklearn", "minari", "matplotlib", "pyarrow", "pandas")
    code = f"import recsim_drpo, sys; print([m for m in {heavy} if m in sys.modules])"
    command = [sys.executable, "-c", code]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "[]\n"
