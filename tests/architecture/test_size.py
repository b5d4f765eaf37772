"""Modules and functions are short enough to be read: no function over 60 lines, no module over 400.

A docstring does not count towards its function, as it is there to be read by itself.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("recsim_drpo", "agents", "datasets", "benchmarks", "examples")
MODULES = sorted(
    path.relative_to(ROOT)
    for folder in FOLDERS
    for suffix in ("*.py", "*.js")
    for path in (ROOT / folder).rglob(suffix)
    if not any(parent.is_symlink() for parent in path.parents)
)
Function = ast.FunctionDef | ast.AsyncFunctionDef


def length(function: Function) -> int:
    first = function.body[0]
    docstring = isinstance(first, ast.Expr) and ast.get_docstring(function) is not None
    spared = first.end_lineno - first.lineno + 1 if docstring else 0
    return function.end_lineno - function.lineno + 1 - spared


def functions(path: Path) -> Iterator[Function]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return (node for node in ast.walk(tree) if isinstance(node, Function))


@pytest.mark.parametrize("folder", FOLDERS)
def test_modules_and_functions_can_be_read(folder):
    long = {}
    for path in (ROOT / path for path in MODULES if path.parts[0] == folder):
        lines = len(path.read_text(encoding="utf-8").splitlines())
        long |= {str(path): lines} if lines > 400 else {}
        if path.suffix == ".py":
            lengths = {f"{path}: {one.name}": length(one) for one in functions(path)}
            long |= {name: lines for name, lines in lengths.items() if lines > 60}
    assert long == {}


def test_every_module_is_measured():
    assert len(MODULES) > 150
    assert Path("agents/algorithms/drpo.py") in MODULES
