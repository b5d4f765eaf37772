"""Parts of a sweep as tasks of an engine, whose workers share no disk with this process."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm

from recsim_drpo.agents.registry import make_agent
from recsim_drpo.core.executor import Engine
from recsim_drpo.core.policy import PolicyEvaluator
from recsim_drpo.core.torch_settings import threads
from recsim_drpo.core.transitions import Transitions
from recsim_drpo.training.loop import Row
from recsim_drpo.training.streaming import Stream
from recsim_drpo.training.sweep import Callbacks, Job, Key, Logs, Run, Trained, hyperparameters

Reader = Callable[[torch.device], AbstractContextManager[Transitions | Stream]]
"""Opens a log on a worker, on the device that the worker trains on."""

_OF_WORKERS = ("observation_dim", "action_dim", "device", "initial", "execution", "precision")


@dataclass(frozen=True)
class OnEngine:
    """Trains the parts of a sweep by an engine; :func:`.sweep.train_many` takes it as ``compute``.

    A part is a fleet, or one agent from outside; it computes what it would here, to the bit, on one
    thread or on the GPUs of its task. Rows, checkpoints and states come back, and this process
    alone writes.

    Attributes:
        engine: what computes.
        read: gives workers the log, which is else sent to them; pickles have to hold either. The
            evaluator is sent, and stays on the CPU.
    """

    engine: Engine
    read: Reader | None = None

    @property
    def device(self) -> str | None:
        """The kind of device that workers train on; ``None``: that of the log."""
        return "cuda" if self.engine.gpus_per_task else None

    def __call__(
        self,
        parts: Sequence[Job],
        logs: Logs,
        shape: Mapping[str, Any],
        callbacks: Callbacks,
    ) -> Iterator[tuple[Key, Trained]]:
        """Train every run of the parts; they are handed over as their task is done."""
        kept_in = callbacks.checkpoints
        given = _Given(
            {} if self.read else logs,
            self.read,
            {**shape, "device": torch.device(self.device or shape["device"])},
            callbacks.evaluator,
            None if kept_in is None else kept_in.every,
        )
        tasks = [
            partial(_trained, part=each, kept=_kept(each, callbacks))
            for part in parts
            for each in part.independent()
        ]
        total = sum(len(part.runs()) for part in parts)
        hidden = None if callbacks.progress else True
        with tqdm(total=total, desc="train", unit="run", disable=hidden) as bar:
            for event in self.engine.results(given, tasks):
                if isinstance(event, _Logged):
                    callbacks.log(event.run, event.row)
                elif isinstance(event, _Kept):
                    assert kept_in is not None
                    kept_in.save(event.name, event.state)
                else:
                    bar.update()
                    yield event.key, event.trained(shape)


@dataclass(frozen=True)
class _Given:
    """What every task is given.

    Attributes:
        logs: by seed, on the CPU; none where they are read.
        read: what opens the log on a worker.
        shape: what agents take besides their hyper-parameters, the worker's device among it.
        evaluator: measures agents as they learn.
        every: updates between checkpoints, if there are any.
    """

    logs: Logs
    read: Reader | None
    shape: Mapping[str, Any]
    evaluator: PolicyEvaluator | None
    every: int | None

    def opened(self) -> AbstractContextManager[Transitions | Stream | None]:
        """The log that is read, as long as it is needed."""
        return nullcontext() if self.read is None else self.read(self.shape["device"])

    def by_seed(self, seeds: Sequence[int], read: Transitions | Stream | None) -> Logs:
        """The logs of seeds, on the worker's device."""
        if read is not None:
            return dict.fromkeys(seeds, read)
        device = self.shape["device"]
        moved: dict[int, Transitions | Stream] = {}
        for log in {id(self.logs[seed]): self.logs[seed] for seed in seeds}.values():
            if isinstance(log, Transitions) and log.device.type != device.type:
                moved[id(log)] = log.with_room(0, device)
            else:
                moved[id(log)] = log
        return {seed: moved[id(self.logs[seed])] for seed in seeds}


class _Logged(NamedTuple):
    """A row of a run's history."""

    run: Run
    row: Row


class _Kept(NamedTuple):
    """A state that was kept under a name."""

    name: str
    state: Mapping[str, Any]


class _Done(NamedTuple):
    """A run that is done, and the state of its agent in place of the agent."""

    key: Key
    run: Run
    state: Mapping[str, Any]
    history: list[Row]
    diverged_at: int | None

    def trained(self, shape: Mapping[str, Any]) -> Trained:
        """The outcome, with the agent made again here."""
        dims = shape["observation_dim"], shape["action_dim"]
        options = {name: value for name, value in shape.items() if name not in _OF_WORKERS}
        agent = make_agent(
            self.run.agent,
            observation_dim=dims[0],
            action_dim=dims[1],
            seed=self.run.seed,
            device=shape["device"],
            **options,
            **hyperparameters(self.run.overrides),
        )
        agent.load_state_dict(self.state)
        return Trained(self.run, dims, {}, agent, self.history, self.diverged_at)


class _Places:
    """Checkpoints of a worker: what it was sent, and what it tells; see :class:`.Checkpoints`."""

    def __init__(self, every: int, kept: Mapping[str, Any], tell: Callable[[_Kept], None]) -> None:
        self.every, self._kept, self._tell = every, kept, tell

    def load(self, name: str) -> Mapping[str, Any] | None:
        return self._kept.get(name)

    def save(self, name: str, state: Mapping[str, Any]) -> None:
        self._tell(_Kept(name, _portable(state)))


def _kept(part: Job, callbacks: Callbacks) -> dict[str, Any]:
    """What was kept of a part before, by name."""
    places = [callbacks.checkpoint(*place) for place in part.places()]
    states = {place.name: place.place.load(place.name) for place in places if place is not None}
    return {name: state for name, state in states.items() if state is not None}


def _trained(given: _Given, part: Job, kept: Mapping[str, Any]) -> Iterator[Any]:
    """Train a part on a worker; what is to be told of it, as it comes."""
    events: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def work() -> None:
        checkpoints = None if given.every is None else _Places(given.every, kept, events.put)
        callbacks = Callbacks(
            given.evaluator,
            lambda run, row: events.put(_Logged(run, row)),
            progress=False,
            checkpoints=checkpoints,
        )
        with threads(1), given.opened() as read:
            logs = given.by_seed(part.seeds, read)
            for key, run in part.train(logs, given.shape, callbacks):
                state = _portable(run.agent.state_dict())
                events.put(_Done(key, run.run, state, run.history, run.diverged_at))

    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(work)
        future.add_done_callback(lambda _: events.put(None))
        while (event := events.get()) is not None:
            yield event
        future.result()


def _portable(value: Any) -> Any:
    """A state with tensors of its own on the CPU: of a view, a pickle would hold the whole."""
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, Mapping):
        return {name: _portable(each) for name, each in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_portable(each) for each in value)
    return value
