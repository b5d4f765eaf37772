"""What `make` says before a newcomer waits for pip, with a Python that installs nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.skipif(
    shutil.which("make") is None or os.name != "posix", reason="there is no make"
)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What make reads of a checkout, beside an environment that was made but holds nothing."""
    for name in ("Makefile", "setup.cfg", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / ".venv/bin").mkdir(parents=True)
    for name in ("python", "recsim-drpo"):
        program = tmp_path / ".venv/bin" / name
        program.write_text(f'#!/bin/sh\necho "{name} $*"\n')
        program.chmod(0o755)
    (tmp_path / ".venv/created").touch()
    return tmp_path


def own_environment() -> dict[str, str]:
    """The environment without what the make that runs these tests says to a make below it."""
    return {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}


def make(folder: Path, target: str) -> list[str]:
    done = subprocess.run(
        ["make", target],
        cwd=folder,
        check=True,
        capture_output=True,
        text=True,
        env=own_environment(),
    )
    return done.stdout.splitlines()


def make_on_a_terminal(folder: Path, target: str) -> list[str]:
    ours, its = os.openpty()
    process = subprocess.Popen(
        ["make", target], cwd=folder, stdout=its, stderr=its, env=own_environment()
    )
    os.close(its)
    told = b""
    try:
        while piece := os.read(ours, 1024):
            told += piece
    except OSError:  # how Linux says that the other end is closed
        pass
    os.close(ours)
    assert process.wait() == 0
    return told.decode().replace("\r", "").splitlines()


@pytest.mark.parametrize("run", [make, make_on_a_terminal])
def test_it_is_said_what_is_installed_and_how_large_before_pip_begins(checkout, run):
    lines = run(checkout, "demo")
    (pip,) = (number for number, line in enumerate(lines) if " pip install" in line)
    assert "PyTorch" in lines[0]
    assert "350 MB to download" in " ".join(lines[:pip])
    assert ("--quiet" in lines[pip]) == (run is make)
    assert ".[plots,parquet]" in lines[pip]
    assert lines[pip + 1].startswith("Installed: .venv takes ")
    assert lines[-1].startswith("recsim-drpo demo")
    # The second time there is nothing to install.
    assert not any("nstall" in line for line in run(checkout, "demo"))
    lines = run(checkout, "test")
    assert sum(" pip install" in line for line in lines) == 1
    assert "half a GB" in lines[0]
