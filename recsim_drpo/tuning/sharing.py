"""Which trials of a search that machines share are under way, and whose machine is gone.

Optuna's own heartbeats belong to ``Study.optimize``; trials that are asked for and told have none.
Here a thread counts up in an attribute of every trial that is being trained, and whoever sees a
count stand still for long, by its own clock, takes the machine for gone: clocks need not agree.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from optuna import Trial
    from optuna.trial import FrozenTrial

ALIVE = "alive"
"""The attribute of a trial that is counted up."""

INTERVAL = 30.0
PATIENCE = 120.0
"""Seconds: between two counts, and after which a machine that no longer counts is gone."""


@contextmanager
def counting(under_way: Callable[[], Sequence[Trial]]) -> Iterator[None]:
    """Count up in trials, every :data:`INTERVAL` seconds, while the block runs.

    Args:
        under_way: the trials, as they are at that moment.
    """
    from optuna.exceptions import UpdateFinishedTrialError

    ended = Event()

    def count_up() -> None:
        count = 0
        while not ended.wait(INTERVAL):
            count += 1
            for trial in under_way():
                with suppress(UpdateFinishedTrialError):  # told meanwhile
                    trial.set_user_attr(ALIVE, count)

    thread = Thread(target=count_up, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


class Watch:
    """What was seen of running trials, and since when.

    Args:
        clock: seconds, of whoever watches.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: dict[int, tuple[Any, float]] = {}

    def gone(self, running: Sequence[FrozenTrial]) -> list[FrozenTrial]:
        """Of all running trials, those whose count has stood still for :data:`PATIENCE` seconds."""
        now = self._clock()
        counts = {trial.number: trial.user_attrs.get(ALIVE) for trial in running}
        self._seen = {
            number: before
            if (before := self._seen.get(number)) is not None and before[0] == count
            else (count, now)
            for number, count in counts.items()
        }
        return [trial for trial in running if now - self._seen[trial.number][1] > PATIENCE]
