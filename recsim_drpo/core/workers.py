"""Processes that work for this one, and end when it does, however it ends."""

from __future__ import annotations

import multiprocessing
import os
import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any

from recsim_drpo.core import interrupts


class _Worker:
    """What a process of :func:`streamed` was given: an argument, and where its values go."""

    shared: Any = None
    outgoing: Connection
    lock: Any


@contextmanager
def workers(
    processes: int, begin: Callable[..., None] | None = None, *arguments: Any
) -> Iterator[ProcessPoolExecutor]:
    """A pool of so many new processes, none of which goes on when this one is gone or stopped.

    They hold the reading end of a pipe, of which this process alone has the other: it is closed
    where the block ends by an error or an interrupt, and by the system where this process is
    killed. Then they end at once, in the midst of what they do.

    Args:
        processes: at least 1.
        begin: called in each of them at first, with the arguments that follow.
        *arguments: of ``begin``.
    """
    context = multiprocessing.get_context("spawn")
    theirs, ours = context.Pipe(duplex=False)
    with ProcessPoolExecutor(processes, context, _follow, (theirs, begin, arguments)) as pool:
        try:
            yield pool
        except BaseException:
            ours.close()
            raise
    ours.close()
    theirs.close()


def streamed(
    shared: Any, tasks: Sequence[Callable[[Any], Iterable[Any]]], processes: int
) -> Iterator[Any]:
    """The values of all tasks, each as soon as a process has it, in the order in which they come.

    Args:
        shared: the argument of every task, which each process is sent once.
        tasks: what yields values; like these and the argument, pickles have to hold them.
        processes: at least 1.

    Raises:
        RuntimeError: a process was killed. (What a task raises comes as it is.)
    """
    context = multiprocessing.get_context("spawn")
    incoming, outgoing = context.Pipe(duplex=False)
    events: queue.SimpleQueue[Any] = queue.SimpleQueue()
    with workers(processes, _begin, shared, outgoing, context.Lock()) as pool:
        futures = [pool.submit(_send_all, task) for task in tasks]
        outgoing.close()  # all processes have begun; with the last of them the reader ends
        threading.Thread(target=_forward, args=(incoming, events), daemon=True).start()
        for future in futures:
            future.add_done_callback(events.put)
        running, sent, received = len(futures), 0, 0
        while running or received < sent:
            event = events.get()
            if isinstance(event, Future):
                sent, running = sent + _number_sent(event), running - 1
            else:
                received += 1
                yield event[0]


def _number_sent(future: Future[int]) -> int:
    try:
        return future.result()
    except BrokenProcessPool as error:
        raise RuntimeError(
            "A process that worked for this one was killed, perhaps for want of memory; start the "
            "same again, it goes on from what was finished, perhaps with fewer --processes."
        ) from error


def _begin(shared: Any, outgoing: Connection, lock: Any) -> None:
    _Worker.shared, _Worker.outgoing, _Worker.lock = shared, outgoing, lock


def _send_all(task: Callable[[Any], Iterable[Any]]) -> int:
    """Send the values of a task; how many they were."""
    number = 0
    for value in task(_Worker.shared):
        with _Worker.lock:
            _Worker.outgoing.send((value,))
        number += 1
    return number


def _forward(incoming: Connection, events: queue.SimpleQueue[Any]) -> None:
    with incoming:
        try:
            while True:
                events.put(incoming.recv())
        except (EOFError, OSError):
            return


def _follow(pipe: Connection, begin: Callable[..., None] | None, arguments: Sequence[Any]) -> None:
    """Let this process end when the pipe's other end is closed, and begin."""
    interrupts.leave_to_parent()

    def watch() -> None:
        try:
            pipe.recv_bytes()
        except (EOFError, OSError):
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
    if begin is not None:
        begin(*arguments)
