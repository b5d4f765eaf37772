"""Where independent tasks are computed: here, in a pool of processes, or on a cluster by Ray."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from recsim_drpo.core.validation import check_integer, unknown_name

ENGINES = ("local", "ray")
_MOST_PROCESSES = 1_024
_MOST_GPUS = 64


@dataclass(frozen=True)
class Engine:
    """What computes tasks, whose values come back to this process: no shared disk is needed.

    Attributes:
        name: ``local``, this process or a pool of others beside it, or ``ray`` (extra ``ray``).
        processes: how many work at once, each with one thread, from 1 to 1,024. Of a cluster that
            runs already its own CPUs decide.
        address: of the Ray cluster, ``HOST:PORT`` of its head, or ``auto`` on one of its nodes.
            ``None`` is that of the variable ``RAY_ADDRESS``, which ``ray job submit`` sets, else a
            Ray of so many processes on this machine alone, for as long as it is needed.
        gpus_per_task: GPUs that a task has to itself, of Ray alone: 0, a share of one such as 0.25,
            or a whole number up to 64. A task sees no others.

    Raises:
        ValueError: a value out of its range, or one that the engine would not use.
    """

    name: str = "local"
    processes: int = 1
    address: str | None = None
    gpus_per_task: float = 0.0

    def __post_init__(self) -> None:
        if self.name not in ENGINES:
            raise unknown_name("engine", self.name, ENGINES)
        check_integer("processes", self.processes, 1, _MOST_PROCESSES)
        gpus = self.gpus_per_task
        if not (0 <= gpus <= 1 or (1 < gpus <= _MOST_GPUS and gpus == int(gpus))):
            raise ValueError(
                f"gpus_per_task={gpus!r} is neither from 0 to 1 nor a whole number up to "
                f"{_MOST_GPUS}."
            )
        for field, given in (("address", self.address), ("gpus_per_task", gpus)):
            if given and self.name != "ray":
                raise ValueError(
                    f"{field}={given!r} is for the engine ray; name it (--engine ray)."
                )

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Keep the connection to Ray for the block, which need not have one for each use in it.

        Raises:
            ValueError: Ray is not installed, or does not answer.
        """
        if self.name != "ray":
            yield
            return
        from recsim_drpo.core import ray_engine

        with ray_engine.connected(self.processes, self.address):
            yield

    def results(
        self,
        shared: Any,
        tasks: Sequence[Callable[[Any], Iterable[Any]]],
        *,
        in_order: bool = False,
    ) -> Iterator[Any]:
        """The values that all tasks yield, each as soon as there is one, whatever task is first.

        A task whose worker or node is lost is computed anew elsewhere by Ray; what it has yielded
        before is not yielded twice, so that it must yield the same whoever computes it.

        Args:
            shared: the argument of every task, which a worker is sent apart from them.
            tasks: what yields values. Pickles have to hold tasks, argument and values.
            in_order: the values of a task only after all of the task before it. Ray has twice as
                many tasks on their way as there are CPUs, whose values wait on the disk where
                memory holds no more; here tasks are then computed by this process alone.

        Raises:
            ValueError: Ray is not installed, does not answer, or has a worker of other versions.
            RuntimeError: workers were lost again and again. (What a task raises comes as it is.)
        """
        if self.name == "ray":
            from recsim_drpo.core import ray_engine

            return ray_engine.results(
                shared,
                tasks,
                processes=self.processes,
                address=self.address,
                gpus_per_task=self.gpus_per_task,
                in_order=in_order,
            )
        if in_order or self.processes == 1 or len(tasks) <= 1:
            return (value for task in tasks for value in task(shared))
        from recsim_drpo.core.workers import streamed

        return streamed(shared, tasks, self.processes)
