"""Commands on input from outside, many in one child process with limits, and what became of each.

An input is right, or refused: exit code 2 and one line on standard error, nothing written.
"""

from __future__ import annotations

import contextlib
import faulthandler
import importlib
import io
import os
import pickle
import re
import resource
import select
import shutil
import signal
import struct
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.strategies import SearchStrategy

MEMORY = 3 * 2**30
"""How much more address space than at its start a child can have, in bytes."""

SECONDS = 40
"""How long one input may take."""

LONGEST = 430
"""How long an error's line is at most, with the program's name before it."""

_KINDS = 12
_PACKAGE = Path(__file__).parents[2].resolve()
_PRELOADED = ("minari", "torch", "pyarrow.parquet", "recsim_drpo.datasets.import_log")
_PRELOADED += ("recsim_drpo.serving.recommender", "recsim_drpo.training.sweep")


@dataclass(frozen=True)
class Case:
    """One input.

    Attributes:
        words: of the command line.
        files: written into the folder that the command runs in.
        stdin: of the command.
        env: variables of the environment; ``None`` takes one away.
    """

    words: Sequence[str]
    files: Mapping[str, bytes] = field(default_factory=dict)
    stdin: bytes = b""
    env: Mapping[str, str | None] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """What became of an input: the exit code, or what stopped it, and what it said and left.

    ``foreign`` is where an error came from that no line of ours raised: its message is not ours.
    """

    code: int | None
    err: str
    left: tuple[str, ...] = ()
    raised: str = ""
    seconds: float = 0.0
    foreign: str = ""

    @property
    def fault(self) -> str:
        """What is wrong with it; empty where nothing is."""
        said = self.err[-1500:]
        one_line = self.err.startswith("recsim-drpo: error: ") and self.err.count("\n") == 1
        faults = {
            f"raised: {self.raised}": bool(self.raised),
            f"noise: {said}": re.search(r"Warning\b|Traceback", self.err) is not None,
            f"exit code {self.code}: {said}": self.code not in (0, 2),
            f"not one line: {said!r}": self.code == 2 and not one_line,
            f"not our message: {said!r} by {self.foreign}": self.code == 2 and self.foreign != "",
            f"{len(self.err)} characters: {said!r}": self.code == 2 and len(self.err) > LONGEST,
            f"left {self.left} after {said!r}": self.code == 2 and self.left != (),
        }
        return next((text for text, wrong in faults.items() if wrong), "")


def outcomes(
    inputs: Sequence[Any], body: Callable[[Any], Outcome], *, limit: int = MEMORY
) -> list[Outcome]:
    """What ``body`` makes of each input, in children with limits; a new one where one has died.

    Args:
        inputs: whatever ``body`` takes.
        body: is called in a child, whose standard streams are files.
        limit: of its memory, in bytes.
    """
    for name in _PRELOADED:  # once, and not in each child
        importlib.import_module(name)
    found: list[Outcome] = []
    while len(found) < len(inputs):
        found += _in_child(inputs[len(found) :], body, limit)
    return found


def _in_child(inputs: Sequence[Any], body: Callable[[Any], Outcome], limit: int) -> list[Outcome]:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.close(reading)
            _limited(limit)
            with open(writing, "wb", buffering=0) as pipe:  # noqa: PTH123
                for one in inputs:
                    signal.alarm(SECONDS + 10)
                    data = pickle.dumps(body(one))
                    pipe.write(struct.pack("q", len(data)) + data)
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    os.close(writing)
    found: list[Outcome] = []
    with open(reading, "rb") as pipe:  # noqa: PTH123
        while len(found) < len(inputs):
            ready, _, _ = select.select([pipe], [], [], SECONDS) if not pipe.peek(1) else (1, 0, 0)
            if not ready:
                os.kill(child, signal.SIGKILL)
                found.append(Outcome(None, "", raised=f"no end within {SECONDS} s"))
                break
            head = pipe.read(8)
            if len(head) < 8:
                found.append(Outcome(None, "", raised="died"))
                break
            found.append(pickle.loads(pipe.read(struct.unpack("q", head)[0])))
    _, status = os.waitpid(child, 0)
    if found and found[-1].raised == "died":
        found[-1] = Outcome(None, "", raised=f"the process died ({status=})")
    return found


def _limited(limit: int) -> None:
    with open("/proc/self/statm") as file:  # noqa: PTH123
        now = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + limit, now + limit))
    faulthandler.disable()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**30, 2**30))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    warnings.resetwarnings()
    for kind in (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning):
        warnings.simplefilter("ignore", kind)


def commands(cases: Sequence[Case], scene: Path, *, limit: int = MEMORY) -> list[Outcome]:
    """What became of commands, each in an empty folder with its files.

    Args:
        cases: the commands.
        scene: a folder of files that commands are given, which stay as they are.
        limit: of their memory, beyond what a process has at its start, in bytes.
    """
    return outcomes(cases, lambda case: _command(case, scene), limit=limit)


def _command(case: Case, scene: Path) -> Outcome:
    folder = Path(tempfile.mkdtemp(dir=scene.parent, prefix="case-"))
    before = os.environ.copy()
    try:
        for name, content in case.files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        os.chdir(folder)
        for name, value in case.env.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})
        (folder / ".tmp").mkdir()
        tempfile.tempdir = str(folder / ".tmp")
        there = listing(folder), listing(scene)
        started = time.perf_counter()
        with _errors_seen() as seen:
            code, err, raised = _said(case)
        seconds = time.perf_counter() - started
        gone = [
            name
            for at, at0 in zip((folder, scene), there, strict=True)
            for name in listing(at) ^ at0
        ]
        root = (
            str(folder / (case.env.get("MINARI_DATASETS_PATH") or "")) + " "
        )  # Minari's own doing
        left = tuple(sorted(name for name in gone if not root.startswith(name)))
        return Outcome(code, err, left, raised, seconds, "".join(map(_foreign, seen[:1])))
    finally:
        os.environ.clear()
        os.environ.update(before)
        tempfile.tempdir = None
        os.chdir(scene)
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _errors_seen() -> Iterator[list[BaseException]]:
    """The errors that a command says, for as long as it runs."""
    from recsim_drpo.cli import app

    seen: list[BaseException] = []
    say = app._say

    def heard(text: str) -> None:
        seen.append(sys.exc_info()[1] or RuntimeError("none"))
        say(text)

    app._say = heard
    try:
        yield seen
    finally:
        app._say = say


def _foreign(error: BaseException) -> str:
    """Where an error was raised, unless by a line of ours that says ``raise``, or by the system."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    ours = str(_PACKAGE) in str(Path(last.filename).resolve())
    if isinstance(error, OSError) and error.strerror and error.filename:
        return ""
    if isinstance(error, MemoryError) or "memory" in str(error):  # which is said in one place
        return ""
    if (ours and "raise" in (last.line or "")) or type(error).__module__.startswith("typer"):
        return ""
    return f"{type(error).__name__} at {last.filename}:{last.lineno}: {last.line}"


def listing(folder: Path) -> set[str]:
    """Everything below a folder but Minari's own folders and records of its root: path and size."""
    return {
        f"{path} {'' if path.is_dir() else path.lstat().st_size}"
        for path in folder.rglob("*")
        if path.name not in (".recsim-drpo", "minari", ".tmp") and path.suffix != ".lock"
    }


def _said(case: Case) -> tuple[int | None, str, str]:
    """The exit code, standard error, and the last lines of what was raised."""
    from recsim_drpo.cli import main

    with _streams(case.stdin) as err:
        code, raised = None, ""
        try:
            code = main(list(case.words))
        except SystemExit as stopped:
            code = stopped.code if isinstance(stopped.code, int) else 1
        except BaseException:
            raised = "\n".join(traceback.format_exc().splitlines()[-9:])
        sys.stderr.flush()
        with contextlib.suppress(ValueError, OSError):
            sys.stdout.flush()
        text = err.read().decode(errors="replace")
    return code, text, raised


@contextlib.contextmanager
def _streams(stdin: bytes) -> Iterator[io.BufferedReader]:
    """The process's streams as files, and what comes to standard error; for a child."""
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as err:
        given.write(stdin)
        given.seek(0)
        null = os.open(os.devnull, os.O_WRONLY)
        for descriptor, place in ((given.fileno(), 0), (null, 1), (err.fileno(), 2)):
            os.dup2(descriptor, place)
        os.close(null)
        sys.stdin = open(0, closefd=False)  # noqa: SIM115
        sys.stdout = open(1, "w", closefd=False, encoding="utf-8")  # noqa: SIM115
        sys.stderr = open(  # noqa: SIM115
            2, "w", closefd=False, encoding="utf-8", errors="backslashreplace", buffering=1
        )
        yield _Reread(err)  # type: ignore[misc]


class _Reread:
    def __init__(self, file: Any) -> None:
        self._file = file

    def read(self) -> bytes:
        self._file.seek(0)
        data: bytes = self._file.read()
        return data


def drawn(strategy: SearchStrategy[Any], count: int) -> list[Any]:
    """So many values of a strategy of hypothesis, the same every time."""
    values: list[Any] = []

    @settings(
        max_examples=count,
        phases=[Phase.generate],
        database=None,
        derandomize=True,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def keep(value: Any) -> None:
        values.append(value)

    keep()
    return values


def check(inputs: Sequence[Any], found: Sequence[Outcome]) -> None:
    """Fail with the first fault of each kind, where there is one."""
    kinds: dict[str, list[str]] = {}
    for one, outcome in zip(inputs, found, strict=True):
        if fault := outcome.fault:
            kind = re.sub(r"'[^']*'|\"[^\"]*\"|\d+", "…", fault[:30] + fault[-150:])
            kinds.setdefault(kind, []).append(f"{_shown(one)}\n    {_cut(fault)}")
    parts = [f"{len(each)} ×\n  {each[0]}" for each in kinds.values()]
    if parts:
        total = sum(map(len, kinds.values()))
        pytest.fail(f"{total} of {len(found)}:\n" + "\n".join(parts[:_KINDS]), pytrace=False)


def _shown(one: Any) -> str:
    if not isinstance(one, Case):
        return _cut(repr(one))
    files = "".join(f"\n    {name}: {_cut(repr(data))}" for name, data in one.files.items())
    files = files if len(one.files) < 6 else ""
    more = "".join(f"\n    {what!r}" for what in (one.env, one.stdin[:500]) if what)
    return _cut(repr(list(one.words))) + more + files


def _cut(text: str) -> str:
    text = re.sub(r"(.)\1{50,}", r"\1\1\1…", text)
    return text if len(text) < 1200 else text[:600] + " … " + text[-600:]
