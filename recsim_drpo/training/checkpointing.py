"""What a training keeps of itself as it goes, to go on exactly from there after it was stopped."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from recsim_drpo.agents.engine.algorithm import AVERAGED
from recsim_drpo.agents.engine.learner import Learner
from recsim_drpo.agents.fleet import Fleet
from recsim_drpo.agents.protocol import Agent
from recsim_drpo.core.messages import one_line, shown
from recsim_drpo.core.validation import check_integer

Row = dict[str, float]


class Checkpoints(Protocol):
    """Where states of trainings are kept by name; :mod:`recsim_drpo.runs.unfinished` has one."""

    @property
    def every(self) -> int:
        """Updates between checkpoints, ≥ 1."""
        ...

    def load(self, name: str) -> Mapping[str, Any] | None:
        """What :meth:`save` was given last under a name, or ``None``."""
        ...

    def save(self, name: str, state: Mapping[str, Any]) -> None:
        """Keep a state, of what a run folder can keep, in place of the former of that name."""
        ...


class Checkpoint(NamedTuple):
    """The place of one training among :class:`Checkpoints`."""

    place: Checkpoints
    name: str


class RunningMeans:
    """Means, over the updates since the last row, of the metrics that are told so.

    They are those of :data:`recsim_drpo.agents.engine.algorithm.AVERAGED`. Sums stay on the
    device: nothing waits for it.
    """

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._count = 0

    def add(self, metrics: Mapping[str, Tensor]) -> None:
        """Take the metrics of one update in."""
        self._count += 1
        for name in AVERAGED & metrics.keys():
            value = metrics[name]
            self._sums[name] = self._sums[name] + value if name in self._sums else value.clone()

    def take(self, metrics: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Metrics with means in place of the last update's values; begins anew."""
        means = {name: total.to(torch.float64) / self._count for name, total in self._sums.items()}
        self._sums, self._count = {}, 0
        return {**metrics, **means}

    def state_dict(self) -> dict[str, Any]:
        """The sums and the number of updates."""
        return {"sums": dict(self._sums), "count": self._count}

    def load_state_dict(self, state: Mapping[str, Any], device: torch.device) -> None:
        """Restore what :meth:`state_dict` returned."""
        sums, count = state["sums"], state["count"]
        if not isinstance(count, int) or count < 0 or not sums.keys() <= AVERAGED:
            raise ValueError("its running means are none")
        self._sums = {name: total.to(device) for name, total in sums.items()}
        self._count = count


@dataclass
class Journal:
    """A training as far as it has come: histories, running means, and where they are kept.

    Attributes:
        learner: the agent or the fleet that is trained.
        histories: of each learner.
        checkpoint: where it is kept, if anywhere.
        means: of the updates since the last row.
    """

    learner: Agent | Fleet
    histories: list[list[Row]]
    checkpoint: Checkpoint | None
    means: RunningMeans = field(default_factory=RunningMeans)

    def restored(self, first_step: int, device: torch.device) -> int:
        """Go back to the last checkpoint, if there is one; the number of updates made until then.

        Raises:
            ValueError: the state is of another agent, or of an agent of another shape; or damaged.
        """
        if self.checkpoint is None:
            return first_step
        state = self.checkpoint.place.load(self.checkpoint.name)
        if state is None:
            return first_step
        try:
            self.learner.load_state_dict(state["learner"])
            self.means.load_state_dict(state["means"], device)
            for history, rows in zip(self.histories, state["histories"], strict=True):
                history[:] = [_checked_row(row) for row in rows]
            if state["random"] is not None:
                _restore_generators(state["random"])
            step = state["step"]
            check_integer("step", step, first_step)
        except Exception as error:  # an agent from outside may raise anything
            raise ValueError(
                f"The checkpoint of {self.checkpoint.name!r} is damaged or another's "
                f"({one_line(repr(error))}): train anew into another folder."
            ) from error
        return int(step)

    def due(self, first_step: int, steps: int) -> set[int]:
        """The numbers of updates in (first_step, steps] after which it is kept, the last too."""
        if self.checkpoint is None or first_step == steps:
            return set()
        every = self.checkpoint.place.every
        return {*range(first_step - first_step % every + every, steps, every), steps}

    def keep(self, step: int) -> None:
        """Keep everything as it is after so many updates."""
        if self.checkpoint is None:
            return
        # Our own draw from their seed and step alone; agents from outside from wherever they like.
        draws_from_outside = not isinstance(self.learner, Learner | Fleet)
        state = {
            "step": step,
            "learner": self.learner.state_dict(),
            "means": self.means.state_dict(),
            "histories": self.histories,
            "random": _generators() if draws_from_outside else None,
        }
        self.checkpoint.place.save(self.checkpoint.name, state)


def _checked_row(row: Any) -> Row:
    """A row of a history; ``ValueError`` unless it is numbers by name, ``step`` among them."""
    numbers = isinstance(row, dict) and all(
        isinstance(name, str) and isinstance(value, int | float) for name, value in row.items()
    )
    if not numbers or "step" not in row:
        raise ValueError(f"a row of its history is {shown(row)}")
    return dict(row)


def _generators() -> dict[str, Any]:
    """The states of the generators that a process has one of."""
    _, key, *rest = np.random.get_state()  # noqa: NPY002 - what agents from outside may draw from
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "numpy": [torch.from_numpy(np.asarray(key).astype(np.int64)), *rest],
        "python": random.getstate(),
    }


def _restore_generators(states: Mapping[str, Any]) -> None:
    torch.set_rng_state(states["torch"])
    if states["cuda"]:
        torch.cuda.set_rng_state_all(states["cuda"])
    key, *rest = states["numpy"]
    np.random.set_state(("MT19937", key.numpy().astype(np.uint32), *rest))  # noqa: NPY002
    random.setstate(states["python"])
