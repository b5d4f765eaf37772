"""What ``recsim-drpo train`` was asked for, in a form that can be kept and gone on with."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recsim_drpo.core.messages import one_line, shown
from recsim_drpo.core.validation import check_integer
from recsim_drpo.training.config import TrainingConfig

if TYPE_CHECKING:
    import torch

    from recsim_drpo.core.executor import Engine
    from recsim_drpo.core.transitions import Transitions
    from recsim_drpo.runs.unfinished import Unfinished
    from recsim_drpo.training.streaming import Stream

_DEFAULTS = TrainingConfig()
_MOST_THREADS = 1_024
_NO_HYPERPARAMETERS = {
    "name": "--agent",
    "observation_dim": "another dataset",
    "action_dim": "another dataset",
    "seed": "--seeds",
    "device": "--device",
    "batch_size": "--batch-size",
    "precision": "--precision",
    "execution": "--execution",
    "dtype": "Python's make_agent",
    "initial": "--init",
}


@dataclass(frozen=True)
class Plan:
    """The options of ``recsim-drpo train`` but for its folder; their names are the options'."""

    dataset: str | list[str] | None
    agent: str | None
    seeds: list[int] = field(default_factory=lambda: [0])
    steps: int = _DEFAULTS.steps
    batch_size: int = _DEFAULTS.batch_size
    log_every: int = _DEFAULTS.log_every
    evaluate_every: int = _DEFAULTS.evaluate_every
    set: dict[str, Any] = field(default_factory=dict)
    fleet_size: int | None = None
    infos: list[str] = field(default_factory=list)
    held_out: float | None = None
    precision: str = "float32"
    execution: str = "auto"
    tracker: str | None = None
    device: str = "cpu"
    init: str | None = None
    checkpoint_every: int | None = None
    threads: int = 1
    stream: bool = False
    shuffle_radius: int | None = None
    storage: str | None = None
    decoder: str | None = None

    def checked(self) -> Plan:
        """The plan itself.

        Raises:
            ValueError: what is named as a hyper-parameter is none; no such number of threads; a
                shuffle radius of a log that is not streamed.
        """
        if self.shuffle_radius is not None and not self.stream:
            raise ValueError("--shuffle-radius is about --stream; a log in memory is mixed whole.")
        check_integer("--threads", self.threads, 1, _MOST_THREADS)
        for name, instead in _NO_HYPERPARAMETERS.items():
            if name in self.set:
                raise ValueError(f"--set {name}=… is no hyper-parameter; use {instead}.")
        return self

    @property
    def datasets(self) -> list[str]:
        """The ids of the datasets, in order."""
        return named(self.dataset)

    @property
    def config(self) -> TrainingConfig:
        """How it is trained."""
        return TrainingConfig(self.steps, self.batch_size, self.log_every, self.evaluate_every)

    def as_dict(self) -> dict[str, Any]:
        """The options by name, as JSON can hold them."""
        return asdict(self)

    @classmethod
    def resumed(cls, kept: Mapping[str, Any], asked: Plan) -> Plan:
        """The plan that was kept.

        Raises:
            ValueError: the plan asked for says otherwise where it does not leave a default; the one
                that was kept has options that there are not.
        """
        unknown = sorted(kept.keys() - {option.name for option in fields(cls)})
        if unknown:
            raise ValueError(
                f"The training to go on with has the option {shown(unknown[0])}, which this "
                "version does not know; go on with it by the version that began it."
            )
        plan, default = cls._of_json(kept), cls(None, None)
        for option in fields(cls):
            before, now = getattr(plan, option.name), getattr(asked, option.name)
            if now not in (before, getattr(default, option.name)):
                name = option.name.replace("_", "-")
                raise ValueError(
                    f"--{name} is {shown(now)}, but the training to go on with has "
                    f"{shown(before)}; leave "
                    "the option out, or train anew into another folder."
                )
        return plan.checked()

    @classmethod
    def _of_json(cls, kept: Mapping[str, Any]) -> Plan:
        """The plan that JSON has; ``ValueError`` where an option is of another type."""
        from pydantic import TypeAdapter, ValidationError

        try:
            TypeAdapter(cls).validate_json(json.dumps(kept), strict=True)
        except ValidationError as error:
            first = error.errors(include_url=False, include_context=False)[0]
            name = str(first["loc"][0] if first["loc"] else "plan").replace("_", "-")
            raise ValueError(
                f"The training to go on with is damaged: its --{name} is {shown(first['input'])} "
                f"({one_line(first['msg'])}). Remove its folder 'unfinished', and train anew."
            ) from error
        return cls(**kept)


def named(datasets: str | list[str] | None) -> list[str]:
    """The ids that an option names: none, one as it was always kept, or several."""
    return [datasets] if isinstance(datasets, str) else datasets or []


def check_engine(plan: Plan, engine: Engine) -> None:
    """Raise ``ValueError`` if an engine is asked for what its tasks cannot do."""
    if engine.name == "local":
        return
    if plan.threads > 1:
        raise ValueError(
            f"--threads {plan.threads} is for this machine; a task of {engine.name} has one."
        )
    if plan.stream and plan.storage is None:
        raise ValueError(
            f"--stream reads the log from this machine's disk, which workers of {engine.name} do "
            "not have; put it where they read it, and name that by --storage."
        )


def check_online(plan: Plan, engine: Engine) -> None:
    """Raise ``ValueError`` if an agent that learns online is asked for what it cannot do."""
    if engine.name != "local":
        raise ValueError(
            f"--engine {engine.name} trains from logs; {plan.agent} learns online, on this machine."
        )
    for option, given in (
        ("--infos", plan.infos),
        ("--init", plan.init),
        ("--checkpoint-every", plan.checkpoint_every),
        ("--stream", plan.stream),
    ):
        if given:
            of_logs = option in ("--infos", "--stream")
            why = "reads no column of a log" if of_logs else "has nothing of the kind"
            raise ValueError(f"{option}: {plan.agent} learns online and {why}.")


def initial_of(
    plan: Plan, transitions: Transitions | Stream, source: dict[str, Any]
) -> Mapping[str, torch.Tensor] | None:
    """The parameters to start from, of which the source then tells, if a run is named."""
    from recsim_drpo.runs.starting import initial_parameters

    if plan.init is None:
        return None
    dims = transitions.observation_dim, transitions.action_dim
    initial, source["init"] = initial_parameters(plan.init, str(plan.agent), dims, source)
    return initial


def checkpoints_of(
    plan: Plan, out: Path, kept: Unfinished | None, transitions: Transitions | Stream
) -> Unfinished | None:
    """Where the training is kept: what was, once its log is checked, or a new place, or none."""
    from recsim_drpo.runs.unfinished import Unfinished

    if kept is not None:
        kept.check_log(transitions, ", ".join(plan.datasets))
        return kept
    if plan.checkpoint_every is None:
        return None
    return Unfinished.create(out, plan.checkpoint_every, plan.as_dict(), transitions)


@contextmanager
def removed_at_the_end(checkpoints: Unfinished | None) -> Iterator[None]:
    """Remove checkpoints when all is done, or where a training failed before there was any.

    Where there are some, a line says how to go on with them.
    """
    try:
        yield
    except BaseException:
        if checkpoints is not None and checkpoints.is_empty():
            checkpoints.remove()
        elif checkpoints is not None:
            out = checkpoints.folder.parent
            print(
                f"Go on from the last checkpoint: recsim-drpo train --resume {out}", file=sys.stderr
            )
        raise
    if checkpoints is not None:
        checkpoints.remove()
