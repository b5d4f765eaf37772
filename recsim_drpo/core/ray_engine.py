"""Tasks on a cluster by Ray (https://docs.ray.io), the extra ``ray``; imported when it is used.

Values stream to the driver as a task yields them (Ray's generators), and it alone writes. Ray
computes a task anew whose worker or node is lost. A worker of other versions than the driver's is
refused, as its last digits could differ.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import socket
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from recsim_drpo.core.messages import one_line, shown
from recsim_drpo.core.provenance import sources_digest, versions

_RETRIES = 5
"""How often a task is computed anew whose worker or node was lost."""

_AHEAD = 2
"""Tasks a CPU that are on their way where values have to come in order."""

_PATIENCE = 10.0
"""Seconds in which an address has to take a connection."""

_LONGEST_START = 30.0
"""Seconds in which what took it has to be a Ray."""

_TRIAL = """
import sys, ray
try:
    ray.init(address=sys.argv[1], log_to_driver=False, logging_level="ERROR")
except BaseException as error:
    sys.exit(" ".join(str(error).split()))
"""

_START = "start one there (ray start --head), see docs/scale.md"

_LOCAL = (
    "try again when the machine is less busy, or take --engine local; Ray's logs are in "
    "/tmp/ray/session_latest/logs"
)

_AGAIN = "start the same again, it goes on from what was finished"


def results(
    shared: Any,
    tasks: Sequence[Callable[[Any], Iterable[Any]]],
    *,
    processes: int,
    address: str | None,
    gpus_per_task: float,
    in_order: bool = False,
) -> Iterator[Any]:
    """The values of all tasks, see :meth:`recsim_drpo.core.executor.Engine.results`."""
    with connected(processes, address) as ray, _own_failures_told(ray):
        _check_gpus(ray, gpus_per_task)
        work = ray.remote(_entry()).options(
            num_cpus=1,
            num_gpus=gpus_per_task,
            num_returns="streaming",
            max_retries=_RETRIES,
        )
        ours, argument = stamp(), ray.put(shared)
        most = _AHEAD * int(ray.cluster_resources().get("CPU", 1)) if in_order else len(tasks)
        coming = iter(tasks)
        streams: list[Any] = []
        try:
            while True:
                for task in itertools.islice(coming, max(1, most) - len(streams)):
                    # In a list Ray hands over references, which a worker follows once its version
                    # is known.
                    streams.append(work.remote(ours, [argument, ray.put(task)]))
                if not streams:
                    return
                ready = streams if in_order else ray.wait(streams, num_returns=1)[0]
                value = next(ready[0], None)
                if value is None:
                    streams.remove(ready[0])
                else:
                    yield _value(ray, value)
        finally:
            with contextlib.suppress(Exception):  # of a Ray that is lost; its first error is told
                for stream in streams:
                    ray.cancel(stream, force=True)


def imported() -> Any:
    """The module ``ray``, which leaves this program's way to end on a signal as it is.

    Raises:
        ValueError: it is not installed, or cannot be imported.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it would tell its makers of each start
    try:
        with _signals_kept():
            import ray
    except ImportError as error:
        raise ValueError(
            f"The engine ray is not installed ({one_line(error)}): pip install 'recsim-drpo[ray]'."
        ) from error
    except Exception as error:  # whatever it makes of libraries of other versions
        raise ValueError(
            f"The engine ray cannot be imported ({one_line(error)}): install it anew, with the "
            "versions that it asks for: pip install --force-reinstall 'recsim-drpo[ray]'."
        ) from error
    return ray


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Let what this process does on SIGTERM be the same after the block; Ray would answer it."""
    handler = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)


def stamp() -> dict[str, str]:
    """What results depend on beside their configuration: versions, and a digest of our sources."""
    return versions() | {"recsim_drpo sources": sources_digest()}


def run(ours: Mapping[str, str], references: Sequence[Any]) -> Iterator[Any]:
    """The values of a task, on a worker.

    Args:
        ours: the driver's :func:`stamp`.
        references: Ray's, to the task's argument and the task.

    Raises:
        ValueError: this worker has other versions than the driver.
    """
    theirs = stamp()
    for name in ours.keys() | theirs.keys():
        here, there = theirs.get(name, "none"), ours.get(name, "none")
        if here != there:
            raise ValueError(
                f"The worker on {socket.gethostname()} has {name} {here}, this process {there}: "
                "install the same on all nodes, see docs/scale.md."
            )
    import ray

    shared, task = ray.get(list(references))
    yield from task(shared)


def _entry() -> Callable[[Mapping[str, str], Sequence[Any]], Iterator[Any]]:
    """What is sent to workers by its code, as one of them may not have this module."""

    def work(ours: Mapping[str, str], references: Sequence[Any]) -> Iterator[Any]:
        try:
            from recsim_drpo.core.ray_engine import run
        except ImportError as error:
            import socket

            raise ValueError(
                f"The worker on {socket.gethostname()} has no recsim_drpo, or another ({error}): "
                "install the same on all nodes, see docs/scale.md."
            ) from None
        # Ray sends into what yields, which not every iterator takes.
        for value in run(ours, references):  # noqa: UP028
            yield value

    return work


def _value(ray: Any, reference: Any) -> Any:
    """What a task has yielded; what it has raised is raised."""
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        cause = error.cause
        if isinstance(cause, Exception) and not isinstance(cause, ray.exceptions.RayError):
            raise cause from None
        raise RuntimeError(f"A task of Ray failed ({one_line(error)}); {_AGAIN}.") from None
    except ray.exceptions.RayError as error:
        raise RuntimeError(
            f"Ray lost a task {_RETRIES + 1} times ({one_line(error)}); {_AGAIN}, on nodes with "
            "more memory."
        ) from error


@contextmanager
def _own_failures_told(ray: Any) -> Iterator[None]:
    """Raise what Ray itself fails with in the block, whoever asked it, as ``RuntimeError``."""
    try:
        yield
    except ray.exceptions.RayError as error:
        raise RuntimeError(f"Ray failed ({one_line(error)}); {_AGAIN}.") from error


@contextmanager
def connected(processes: int, address: str | None) -> Iterator[Any]:
    """The module ``ray``, connected in the block: as it is, to the address, or to a Ray of our own.

    Args:
        processes: CPUs of our own.
        address: see :class:`recsim_drpo.core.executor.Engine`.

    Raises:
        ValueError: Ray is not installed, or does not answer.
    """
    ray = imported()
    if ray.is_initialized():
        yield ray
        return
    address = address or os.environ.get("RAY_ADDRESS")
    if address is not None:
        _check_answers(address)
    own: dict[str, Any] = {"num_cpus": processes, "include_dashboard": False}
    try:
        with _signals_kept():
            ray.init(
                address=address or "local",
                log_to_driver=False,
                logging_level="ERROR",
                **(own if address is None else {}),
            )
    except BaseException as error:
        _end_half_started(ray, error)
        if not isinstance(error, Exception):  # an interrupt
            raise
        # Ray's start raises errors of all kinds, plain exceptions among them.
        if address is None:
            text = f"Ray does not start here ({one_line(error)}): {_LOCAL}."
        else:
            text = f"No Ray answers at {shown(address)} ({one_line(error)}): {_START}."
        raise ValueError(text) from error
    try:
        yield ray
    finally:
        with contextlib.suppress(Exception):  # of a Ray that is lost
            ray.shutdown()


def _end_half_started(ray: Any, error: BaseException) -> None:
    """End the processes of a Ray whose start has failed.

    Its own shutdown does not know of a node that was not made whole, which the error comes from.
    """
    for frame, _ in traceback.walk_tb(error.__traceback__):
        end = getattr(frame.f_locals.get("self"), "kill_all_processes", None)
        if end is not None:
            with contextlib.suppress(Exception):
                end(check_alive=False, allow_graceful=False)
            break
    with contextlib.suppress(Exception):
        ray.shutdown()


def _check_answers(address: str) -> None:
    """Raise ``ValueError`` if an address is none, or no Ray answers at it.

    A driver waits for minutes where something silent takes its connection, or ends without a word:
    another process tries first.
    """
    if address != "auto":
        _check_takes_connections(address)
    paths = os.pathsep.join(path for path in sys.path if path)
    try:
        trial = subprocess.run(
            [sys.executable, "-c", _TRIAL, address],
            env=os.environ | {"PYTHONPATH": paths},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_LONGEST_START,
        )
    except subprocess.TimeoutExpired as error:
        reason = f"what is there says nothing within {_LONGEST_START:g} seconds"
        raise ValueError(f"No Ray answers at {shown(address)} ({reason}): {_START}.") from error
    if trial.returncode:
        reason = one_line((trial.stderr.strip().splitlines() or ["no reason is given"])[-1])
        raise ValueError(f"No Ray answers at {shown(address)} ({reason}): {_START}.")


def _check_takes_connections(address: str) -> None:
    """Raise ``ValueError`` if an address is no HOST:PORT, or nothing takes connections at it."""
    host, colon, port = address.rpartition(":")
    if "/" in address:
        raise ValueError(
            f"address={shown(address)}: drivers run in the cluster, not through a Ray client; "
            "send this command by `ray job submit`, see docs/scale.md."
        )
    if not (host and colon and port.isdecimal() and 0 < int(port[:6]) < 2**16):
        raise ValueError(
            f"address={shown(address)} is neither auto nor HOST:PORT, as 10.0.0.1:6379."
        )
    try:
        with contextlib.closing(socket.create_connection((host, int(port)), _PATIENCE)):
            return
    except OSError as error:
        raise ValueError(
            f"No Ray answers at {shown(address)} within {_PATIENCE:g} seconds "
            f"({one_line(error)}): {_START}, or leave the address out."
        ) from error


def _check_gpus(ray: Any, wanted: float) -> None:
    """Raise ``ValueError`` if no node has the GPUs of one task, which would wait for ever."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    most = max((resources.get("GPU", 0) for resources in nodes), default=0)
    if wanted > most:
        raise ValueError(
            f"gpus_per_task={wanted:g}: no node of the cluster has so many, the most is {most:g}; "
            "ask for fewer, or add a node that has them."
        )
