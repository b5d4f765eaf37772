"""Open files that were damaged at random, in a process of its own with little memory.

``python -m tests.faults.campaign DOORS SAMPLES FIRST COUNT`` tries so many inputs from the number
``FIRST`` on at the doors of a module of this folder, and prints a line for each that ended in
anything but a right result or one clear line.
"""

from __future__ import annotations

import importlib
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[2]
OURS = (ROOT / "recsim_drpo", ROOT / "datasets", ROOT / "agents", ROOT / "benchmarks")
MOST_MEMORY = 2**30
"""What a process may have beside what it has when all is imported."""
_SECONDS = 60
_WIDTH = 400


class Input(NamedTuple):
    """A damaged input.

    Attributes:
        what: how it was damaged.
        doors: what reads it, by name; each returns something to be compared.
        exact: whether what is read must equal what was read before the damage.
    """

    what: str
    doors: Mapping[str, Callable[[], Any]]
    exact: bool


def wrong(door: Callable[[], Any], expected: Any) -> str | None:
    """Why a door's answer is wrong, or ``None``."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            found = door()
        except Exception as error:
            return _not_clear(error)
    return None if expected is None or found == expected else "another result"


def _not_clear(error: Exception) -> str | None:
    message = str(error)
    raised_in = traceback.extract_tb(error.__traceback__)[-1].filename
    ours = any(Path(raised_in).resolve().is_relative_to(folder) for folder in OURS)
    if (
        not isinstance(error, ValueError | FileNotFoundError | FileExistsError | ImportError)
        or not ours
    ):
        return f"raw {type(error).__name__} in {raised_in}: {message[:200]!r}"
    if "\n" in message or not message:
        return f"not one line: {message[:200]!r}"
    return None if len(message) <= _WIDTH else f"{len(message)} characters: {message[:200]!r}"


def _files(folder: Path) -> dict[Path, tuple[int, int]]:
    return {
        path: (path.stat().st_size, path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file() and path.suffix != ".lock"
    }


def main(module: str, samples: Path, first: int, count: int) -> None:
    """Try inputs, and print what is wrong."""
    doors = importlib.import_module(f"tests.faults.{module}")
    before = doors.expected(samples)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (used + MOST_MEMORY,) * 2)
    for number in range(first, first + count):
        print(f"input {number}", flush=True)
        signal.alarm(_SECONDS)
        with tempfile.TemporaryDirectory() as folder:
            work = Path(folder) / "work"
            shutil.copytree(samples, work)
            given = doors.damaged(work, Random(number))
            there = _files(work)
            for name, door in given.doors.items():
                reason = wrong(door, before.get(name) if given.exact else None)
                if reason is None and _files(work) != there:
                    reason = "files were written"
                if reason is not None:
                    print(f"wrong {number} {name} ({given.what}): {reason}", flush=True)
        signal.alarm(0)


def run(module: str, samples: Path, count: int, *, first: int = 0) -> list[str]:
    """What was wrong with ``count`` inputs; a process that dies of one goes on with the next."""
    found: list[str] = []
    end = first + count
    while first < end:
        command = [sys.executable, "-m", f"{__package__}.campaign", module, str(samples)]
        done = subprocess.run(
            [*command, str(first), str(end - first)],
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        lines = done.stdout.splitlines()
        found += [line for line in lines if line.startswith("wrong ")]
        if done.returncode == 0:
            break
        tried = [int(line.split()[1]) for line in lines if line.startswith("input ")]
        if not tried:
            raise RuntimeError(done.stderr)
        found.append(
            f"input {tried[-1]} ended the process ({done.returncode}): {done.stderr[-500:]}"
        )
        first = tried[-1] + 1
    return found


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
