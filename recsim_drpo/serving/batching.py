"""Calculate requests that wait at the same time together, each within its own limits."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

R = TypeVar("R")
A = TypeVar("A")


@dataclass(eq=False)
class Turn(Generic[R, A]):
    """A request's place in the row.

    Attributes:
        request: what is asked.
        begun: done when the calculation begins; cancelled, the request is not calculated.
        ended: its answer, or the error that is its own.
    """

    request: R
    begun: asyncio.Future[None] = field(default_factory=lambda: _future())
    ended: asyncio.Future[A | Exception] = field(default_factory=lambda: _future())


class Batches(Generic[R, A]):
    """Calculates requests in the order in which they come, as many together as wait.

    One calculation runs at a time, in a thread. While it does, requests gather; then those that
    wait are the next one. A request that comes alone is calculated at once. Where there was more
    than one, a short window is waited for those whose answers have just gone out, so that they do
    not take turns with the others.

    Args:
        calculate: gives each request's answer or error.
        size: of a request; those of one calculation have ``most`` together, or it is one request.
        most: see ``size``, ≥ 1.
        window: seconds, ≥ 0.
    """

    def __init__(
        self,
        calculate: Callable[[Sequence[R]], Sequence[A | Exception]],
        size: Callable[[R], int],
        most: int,
        window: float,
    ) -> None:
        self._calculate, self._size = calculate, size
        self._most, self._window = most, window
        self._row: deque[Turn[R, A]] = deque()
        self._running: asyncio.Task[None] | None = None
        self._crowded = False

    def enter(self, request: R) -> Turn[R, A]:
        """A place for a request at the end of the row."""
        turn: Turn[R, A] = Turn(request)
        self._row.append(turn)
        if self._running is None or self._running.done():
            self._running = asyncio.get_running_loop().create_task(self._run())
        return turn

    async def _run(self) -> None:
        """Calculate until nobody waits."""
        while self._row:
            waiting = sum(self._size(turn.request) for turn in self._row)
            if self._window and self._most > 1 and self._crowded and waiting < self._most:
                await asyncio.sleep(self._window)
            turns = self._next()
            if not turns:
                continue
            self._crowded = len(turns) > 1 or bool(self._row)
            requests = [turn.request for turn in turns]
            answers: Sequence[A | Exception]
            try:
                answers = await asyncio.to_thread(self._calculate, requests)
            except Exception as error:  # of whatever kind, it is told to those who wait
                answers = [error] * len(turns)
            for turn, answer in zip(turns, answers, strict=True):
                if not turn.ended.done():
                    turn.ended.set_result(answer)

    def _next(self) -> list[Turn[R, A]]:
        """Those who wait, from the first on, as many as go together; they begin."""
        turns: list[Turn[R, A]] = []
        total = 0
        while self._row:
            size = self._size(self._row[0].request)
            if turns and total + size > self._most:
                break
            turn = self._row.popleft()
            if turn.begun.done():  # nobody waits for it
                continue
            turn.begun.set_result(None)
            turns.append(turn)
            total += size
        return turns


def _future() -> asyncio.Future[Any]:
    return asyncio.get_running_loop().create_future()
