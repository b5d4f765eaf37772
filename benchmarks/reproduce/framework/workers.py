"""Processes that work for this one, and end when it does, however it ends."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing.connection import Connection

from recsim_drpo.core import interrupts


@contextmanager
def workers(processes: int) -> Iterator[ProcessPoolExecutor]:
    """A pool of so many new processes, none of which goes on when this one is gone or stopped.

    They hold the reading end of a pipe, of which this process alone has the other: it is closed
    where the block ends by an error or an interrupt, and by the system where this process is
    killed. Then they end at once, in the midst of what they do.
    """
    context = multiprocessing.get_context("spawn")
    theirs, ours = context.Pipe(duplex=False)
    with ProcessPoolExecutor(processes, context, _follow, (theirs,)) as pool:
        try:
            yield pool
        except BaseException:
            ours.close()
            raise
    ours.close()
    theirs.close()


def _follow(pipe: Connection) -> None:
    """Let this process end when the pipe's other end is closed."""
    interrupts.leave_to_parent()

    def watch() -> None:
        try:
            pipe.recv_bytes()
        except (EOFError, OSError):
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
