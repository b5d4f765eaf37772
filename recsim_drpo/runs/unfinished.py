"""Trainings on their way: what is kept of one, so that it can go on after it was stopped.

Beside the run folders, which appear only when they are whole, a training with checkpoints has a
folder ``unfinished``: a description of it, and the state of every fleet or agent as it was last
kept. Each file takes the place of its former one in one step. The folder goes when all is done.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import Field

from recsim_drpo.core.files import atomic_dir, discard, replaced_file
from recsim_drpo.core.messages import shown
from recsim_drpo.core.schemas import Described, object_of
from recsim_drpo.core.transitions import Transitions
from recsim_drpo.core.validation import check_integer
from recsim_drpo.runs.checkpoints import load_state, save_state
from recsim_drpo.training.streaming import Stream

FOLDER = "unfinished"
_DESCRIPTION = "training.json"
_ROWS = 2**16


class Unfinished:
    """The folder of a training on its way; follows :class:`.training.checkpointing.Checkpoints`.

    Args:
        out: folder of the runs, in which it lies.
        every: updates between checkpoints, ≥ 1.
    """

    def __init__(self, out: Path, every: int) -> None:
        check_integer("checkpoint_every", every, 1)
        self.folder = out / FOLDER
        self.every = every

    @classmethod
    def create(
        cls, out: Path, every: int, plan: Mapping[str, Any], log: Transitions | Stream
    ) -> Unfinished:
        """Make the folder of a new training.

        Args:
            out: folder of the runs.
            every: updates between checkpoints.
            plan: how it is trained, as JSON can hold it.
            log: what it learns from.

        Raises:
            FileExistsError: there is a training in it that is not done.
            OSError: it cannot be written.
        """
        unfinished = cls(out, every)
        check_no_unfinished(out)
        with suppress(OSError):
            unfinished.folder.rmdir()  # empty, of a version that made it before its content
        description = {"plan": dict(plan), "every": every, "log": fingerprint(log)}
        text = json.dumps(description, indent=2) + "\n"
        with atomic_dir(unfinished.folder) as partial:
            (partial / _DESCRIPTION).write_text(text, encoding="utf-8")
        return unfinished

    @classmethod
    def open(cls, out: Path) -> tuple[Unfinished, dict[str, Any]]:
        """The folder of a training that was stopped, and its plan.

        Raises:
            FileNotFoundError: there is none.
            ValueError: its description is damaged.
        """
        path = out / FOLDER / _DESCRIPTION
        if not path.is_file():
            raise FileNotFoundError(
                f"There is no training to go on with in {str(out)!r} ({FOLDER}/{_DESCRIPTION} is "
                "missing): name the folder that --out was, of a training that had "
                "--checkpoint-every and is not done."
            )
        described = _description_of(path)
        return cls(out, described["every"]), dict(described["plan"])

    def check_log(self, log: Transitions | Stream, dataset: str) -> None:
        """Check that a log is the one that the training began with.

        Raises:
            ValueError: it has other dimensions, another length or other content.
        """
        path = self.folder / _DESCRIPTION
        before, now = _description_of(path)["log"], fingerprint(log)
        for what, value in now.items():
            if value != before.get(what):
                raise ValueError(
                    f"The dataset {shown(dataset)} is not the one that this training began with: "
                    f"its {what} is {shown(value)}, not {shown(before.get(what))}. Train anew on "
                    "it, by --init from a finished run if you like."
                )

    def load(self, name: str) -> dict[str, Any] | None:
        """The state that was kept last under a name, or ``None``.

        Raises:
            ValueError: its file is damaged.
        """
        path = self._path(name)
        return load_state(path) if path.is_file() else None

    def save(self, name: str, state: Mapping[str, Any]) -> None:
        """Keep a state in place of the former of that name: a reader sees one or the other."""
        path = self._path(name)
        with replaced_file(path) as partial:
            save_state(partial, state, name)
            with partial.open("rb") as file:  # on the disk, before it takes the name
                os.fsync(file.fileno())

    def is_empty(self) -> bool:
        """Whether no state has been kept yet."""
        return not any(self.folder.glob("*.safetensors"))

    def remove(self) -> None:
        """Remove the folder, and the one that it lies in if that is empty then."""
        discard(self.folder)
        with suppress(OSError):
            self.folder.parent.rmdir()

    def _path(self, name: str) -> Path:
        return self.folder / f"{hashlib.sha256(name.encode()).hexdigest()[:16]}.safetensors"


class _Description(Described):
    """What the description of a training says."""

    every: Annotated[int, Field(ge=1)]
    plan: dict[str, Any]
    log: dict[str, int | str]


def _description_of(path: Path) -> dict[str, Any]:
    try:
        return object_of(path, _Description)
    except ValueError as error:
        raise ValueError(
            f"{str(path)!r} does not describe a training ({error}); remove its folder and train "
            "anew."
        ) from error


def check_no_unfinished(out: Path) -> None:
    """Raise ``FileExistsError`` if there is a training in a folder that is not done."""
    if (out / FOLDER / _DESCRIPTION).is_file():
        raise FileExistsError(
            f"{str(out)!r} has a training that is not done: go on with it by --resume {out}, "
            f"remove its folder {FOLDER!r}, or choose another folder."
        )


def fingerprint(log: Transitions | Stream) -> dict[str, Any]:
    """Dimensions, length and SHA-256 of the columns of a log, by name."""
    digest = hashlib.sha256()
    for part in [log] if isinstance(log, Transitions) else log.parts():
        for start in range(0, len(part), _ROWS):
            stop = min(start + _ROWS, len(part))
            batch = part.take(torch.arange(start, stop, device=part.device))
            for tensor in (*batch[:-1], *(batch.infos[name] for name in sorted(batch.infos))):
                digest.update(tensor.cpu().contiguous().numpy().tobytes())
    return {
        "observation_dim": log.observation_dim,
        "action_dim": log.action_dim,
        "transitions": len(log),
        "checksum": digest.hexdigest(),
    }
