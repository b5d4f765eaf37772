"""How the program ends when it is told to: SIGINT, SIGTERM and SIGHUP, at any moment.

``import recsim_drpo`` calls ``install_in_program`` first, so that the seconds in which libraries
are imported are as safe as the command. Until the command begins a signal ends the process at
once, as nothing is begun; while it runs a signal is an exception, so that what is not complete is
taken away. An import is let end before, since a module that is half there fails in ways of its
own. A process that only imports this package keeps its own handlers.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

PROGRAM = "recsim-drpo"
_MODULES = ("recsim_drpo.cli", "recsim_drpo.benchmarks.reproduce.publish")
_DEFAULTS: dict[str, Any] = {
    "SIGINT": signal.default_int_handler,
    "SIGTERM": signal.SIG_DFL,
    "SIGHUP": signal.SIG_DFL,
}
_WORDS = {"SIGINT": "interrupted", "SIGTERM": "terminated", "SIGHUP": "hung up"}
_IMPORTING = "<frozen importlib._bootstrap>"
_PAUSE = 0.02
"""Seconds until it is looked again whether an import has ended."""

_PATIENCE = 10.0
"""Seconds that an import is waited for."""


class Interrupted(KeyboardInterrupt):
    """A signal told the program to end."""

    def __init__(self, signum: int = signal.SIGINT) -> None:
        super().__init__(signum)
        self.signum = int(signum)


class _State:
    """Whether a command runs, what interrupted it, and since when an import is waited for."""

    installed = False
    running = False
    received: int | None = None
    waiting_since: float | None = None


def install_in_program() -> None:
    """Handle signals where this process is ``recsim-drpo``, or ``-m`` one of its modules."""
    path = sys.argv[0] if getattr(sys, "argv", None) else ""
    name = os.path.basename(path)  # noqa: PTH119 - pathlib takes time to import
    is_module = name == "-m" and not set(_MODULES).isdisjoint(sys.orig_argv)
    is_child = "--multiprocessing-fork" in sys.orig_argv
    if (is_module or name.partition(".")[0] == PROGRAM) and not is_child:
        _install()


def run_program(command: Callable[[], int]) -> int:
    """Return the exit status of a command that signals interrupt by an exception.

    Args:
        command: what is run; it answers ``Interrupted`` itself, see ``status_of``.
    """
    _install()
    _State.running = True
    try:
        try:
            return command()
        finally:
            _State.running = False
    except Interrupted as interrupt:  # in the moment between the command and its end
        return status_of(interrupt)


def status_of(error: BaseException | None) -> int:
    """Return the exit status after an interrupt, which one line on stderr names.

    Args:
        error: a ``KeyboardInterrupt``, or what became of one in another library.
    """
    signum = error.signum if isinstance(error, Interrupted) else _State.received or signal.SIGINT
    _say(signum)
    return 128 + signum


def was_interrupted() -> bool:
    """Return whether a signal came while the command ran, whatever became of its exception."""
    return _State.received is not None


def leave_to_parent() -> None:
    """Let the parent answer a Ctrl-C, which reaches its whole group: for processes of a pool."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _install() -> None:
    if _State.installed:
        return
    try:
        for name, default in _DEFAULTS.items():
            number = getattr(signal, name, None)  # Windows has no SIGHUP
            if number is not None and signal.getsignal(number) == default:
                signal.signal(number, _handle)  # one that is ignored, as under nohup, stays so
    except ValueError:  # not in the main thread, which alone hears signals
        return
    _State.installed = True
    previous = sys.unraisablehook

    def unraisable(lost: Any) -> None:
        if isinstance(lost.exc_value, Interrupted):  # raised in a __del__, which nothing interrupts
            _again(lost.exc_value.signum)
        else:
            previous(lost)

    sys.unraisablehook = unraisable
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_forget)


def _forget() -> None:
    """Give a forked child, which is no program of ours, the handlers of before."""
    for name, default in _DEFAULTS.items():
        number = getattr(signal, name)
        if signal.getsignal(number) is _handle:
            signal.signal(number, default)


def _handle(signum: int, frame: FrameType | None) -> None:
    if not _State.running:
        if _State.received is None:
            _say(signum)
        os._exit(128 + signum)
    if _State.waiting_since is None:
        _State.waiting_since = time.monotonic()
    if _is_importing(frame) and time.monotonic() < _State.waiting_since + _PATIENCE:
        _again(signum)
        return
    _State.received = signum
    raise Interrupted(signum)


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename == _IMPORTING:
            return True
        frame = frame.f_back
    return False


def _again(signum: int) -> None:
    """Send the main thread the signal once more, in a moment."""
    import _thread
    import threading

    main = threading.main_thread().ident

    def send() -> None:
        if hasattr(signal, "pthread_kill") and main is not None:
            signal.pthread_kill(main, signum)
        else:
            _thread.interrupt_main(signal.Signals(signum))

    timer = threading.Timer(_PAUSE, send)
    timer.daemon = True
    timer.start()


def _say(signum: int) -> None:
    word = _WORDS[signal.Signals(signum).name]
    line = f"{PROGRAM}: {word}; what was not complete is gone.\n"
    try:
        sys.stderr.write(line)
        sys.stderr.flush()
    except (OSError, RuntimeError, ValueError):  # hung up; or in the middle of another write
        pass
