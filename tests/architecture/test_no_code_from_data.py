"""Nothing that is read as data can run code: no pickles, in whatever guise."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("recsim_drpo", "datasets", "agents", "benchmarks")
MODULES = {"pickle", "cPickle", "_pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}
SOURCES = sorted(
    path
    for package in PACKAGES
    for path in (ROOT / package).rglob("*.py")
    if not path.is_relative_to(ROOT / "recsim_drpo" / "benchmarks")
)


def faults_of(source: str) -> list[str]:
    """Places of a module that can make objects of what they read, by line."""
    found = []
    for node in ast.walk(ast.parse(source)):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        found += [f"{node.lineno}: {name}" for name in names if name.split(".")[0] in MODULES]
        if isinstance(node, ast.Call):
            found += [f"{node.lineno}: {fault}" for fault in _call(node)]
    return found


def _call(node: ast.Call) -> list[str]:
    options = {option.arg: option.value for option in node.keywords}
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    owner = getattr(getattr(node.func, "value", None), "id", "")
    found = []
    pickles = options.get("allow_pickle")
    if pickles is not None and not (isinstance(pickles, ast.Constant) and pickles.value is False):
        found.append("allow_pickle")
    if (owner, name) == ("torch", "load"):
        weights = options.get("weights_only")
        if not (isinstance(weights, ast.Constant) and weights.value is True):
            found.append("torch.load")
    if name in ("read_pickle", "unsafe_load") or (name in ("eval", "exec") and not owner):
        found.append(name)
    return found


def test_no_package_reads_what_can_run_code():
    assert len(SOURCES) > 200
    found = [
        f"{path.relative_to(ROOT)}:{fault}"
        for path in SOURCES
        for fault in faults_of(path.read_text(encoding="utf-8"))
    ]
    assert found == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from pickle import loads",
        "import joblib.memory",
        "np.load(path, allow_pickle=True)",
        "np.load(path, allow_pickle=wanted)",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "pandas.read_pickle(path)",
        "eval(text)",
    ],
)
def test_what_would_be_found(source):
    assert len(faults_of(source)) == 1


@pytest.mark.parametrize(
    "source",
    [
        "np.load(path, allow_pickle=False)",
        "np.load(path)",
        "torch.load(path, weights_only=True)",
        "agent.eval()",
    ],
)
def test_what_is_harmless(source):
    assert faults_of(source) == []
