"""A process that has imported everything, and runs commands in forks of itself: run as a script.

It reads a request as JSON from each line of its standard input, and answers each by a line. So a
command can be killed at any moment for the time that it itself takes, not that of its imports.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

_LINES = 30


class Warm:
    """The process, and what it is asked for; see :func:`answer` for the requests."""

    def __init__(self) -> None:
        command = [sys.executable, str(Path(__file__)), json.dumps([p for p in sys.path if p])]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )

    def __call__(self, words: list[str], folder: Path, **request: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        request |= {"words": words, "folder": str(folder)}
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answered: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answered

    def close(self) -> None:
        self._process.communicate()


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Run a command in a fork: ``words`` in ``folder``.

    It gets the signal ``signal`` after ``seconds``, or at its file operation number ``event`` in
    the folder. ``user``: whose number it has. ``learn``: tell what it imported, so that this
    process imports it too.

    Returns:
        ``status`` (minus the signal where it ended so), ``seconds``, ``events`` (operations on
        files in the folder, of a command that ended by itself), and what it ``said``.
    """
    out, told = os.pipe()
    started = time.monotonic()
    pid = os.fork()
    if pid == 0:
        os.close(out)
        _run(request, told)
    os.close(told)
    said = Path(request["folder"], "..", "said.txt").resolve()
    status = _waited(pid, request, started)
    seconds = time.monotonic() - started
    with os.fdopen(out) as file:
        report = json.loads(file.read() or "{}")
    if request.get("learn"):
        for name in report.pop("modules", []):
            with contextlib.suppress(Exception):
                importlib.import_module(name)
    lines = said.read_text(errors="replace").splitlines()[-_LINES:]
    return {"status": status, "seconds": seconds, "said": "\n".join(lines), "events": 0} | report


def _waited(pid: int, request: dict[str, Any], started: float) -> int:
    due = request.get("seconds")
    while due is not None and time.monotonic() < started + due:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(min(0.001, max(0.0, started + due - time.monotonic())))
    if due is not None:
        os.kill(pid, request["signal"])
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _run(request: dict[str, Any], told: int) -> None:
    """What the fork does; does not return."""
    status = 70
    try:
        folder = request["folder"]
        said = os.open(Path(folder, "..", "said.txt"), os.O_CREAT | os.O_TRUNC | os.O_RDWR)
        for stream in (1, 2):
            os.dup2(said, stream)
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115 - for as long as it lives
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115
        os.chdir(folder)
        os.environ["MINARI_DATASETS_PATH"] = str(Path(folder, "minari"))
        count = _count_operations(folder, request.get("event"), request.get("signal"))
        before = set(sys.modules)
        if request.get("user"):
            os.setgroups([])
            os.setgid(request["user"])
            os.setuid(request["user"])
        _make_small()
        sys.argv = ["recsim-drpo", *request["words"]]
        from recsim_drpo.benchmarks.reproduce import publish
        from recsim_drpo.cli import main
        from recsim_drpo.core import interrupts

        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
        signal.signal(signal.SIGINT, signal.default_int_handler)
        interrupts.install_in_program()  # as it is at the first import
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])

        try:
            if request["words"][0] == "publish":  # a module of its own
                status = interrupts.run_program(lambda: publish.main(request["words"][1:]))
            else:
                status = main()
        except SystemExit as ended:
            status = ended.code if isinstance(ended.code, int) else 1
        report = {"events": count[0]}
        if request.get("learn"):
            report["modules"] = sorted(set(sys.modules) - before)
        os.write(told, json.dumps(report).encode())
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os._exit(status)


def _make_small() -> None:
    """Let quick experiments be those of seconds, without a search for other worlds."""
    from recsim_drpo.benchmarks.reproduce import runner
    from recsim_drpo.benchmarks.reproduce.experiments import phase_map
    from recsim_drpo.benchmarks.reproduce.framework import settings
    from recsim_drpo.benchmarks.reproduce.framework.conditions import OtherWorld
    from recsim_drpo.benchmarks.reproduce.theory import figure2, theorems
    from tests.benchmarks.reproduce.small import TINY
    from tests.benchmarks.reproduce.test_runner import FACTS, experiments

    settings.QUICK = TINY
    figure2._QUICK = {"steps": 20, "every": 5, "num_rounds": 1_000}
    theorems.QUICK_INSTANCES = 20
    phase_map.QUICK_AXES = {name: axis[:1] for name, axis in phase_map.QUICK_AXES.items()}
    runner.EXPERIMENTS.update(experiments(OtherWorld(1, {"delta": 0.3}, {}, 100, FACTS)))


_OPERATIONS = frozenset(
    ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.truncate", "shutil.rmtree")
)


def _count_operations(folder: str, event: int | None, number: int | None) -> list[int]:
    count = [0]

    def hook(name: str, arguments: tuple[Any, ...]) -> None:
        if name not in _OPERATIONS:
            return
        path = arguments[0]
        try:
            path = os.path.abspath(os.fspath(path))  # noqa: PTH100 - resolve() opens files
        except TypeError:  # a number of an open file
            return
        if isinstance(path, str) and path.startswith(folder):
            count[0] += 1
            if count[0] == event and number is not None:
                os.kill(os.getpid(), number)

    sys.addaudithook(hook)
    return count


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # until the command has its own
    sys.path[:0] = json.loads(sys.argv[1])
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), flush=True)
