"""Trackers that follow training: TensorBoard, and Weights & Biases; imported where chosen.

Each has a run of its own for every seed, and is written beside the run folders, which appear only
when they are whole.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recsim_drpo.core.validation import unknown_name

if TYPE_CHECKING:
    from recsim_drpo.training.loop import Row
    from recsim_drpo.training.sweep import Run

OnLog = Callable[["Run", "Row"], None]
_Write = Callable[[dict[str, float], int], None]
_OpenWriter = Callable[[ExitStack, Path, "Run", Mapping[str, Any]], _Write]


@contextmanager
def tracker(name: str, folder: Path, about: Mapping[str, Any]) -> Iterator[OnLog]:
    """Open a tracker; gives the function that writes a row to it, for ``on_log`` of ``train_many``.

    Args:
        name: ``"tensorboard"``, into ``folder/tensorboard/seed-N``; or ``"wandb"``, into
            ``folder/wandb``, offline unless the environment variable ``WANDB_MODE`` says otherwise:
            without network and account, to be sent later by ``wandb sync``.
        folder: of the runs.
        about: values that all runs share; Weights & Biases keeps them as their configuration.

    Raises:
        ValueError: an unknown name, or its package is missing.
    """
    if name not in TRACKERS:
        raise unknown_name("tracker", name, TRACKERS)
    try:
        open_writer = TRACKERS[name]()
    except ImportError as error:
        raise ValueError(
            f'The tracker {name!r} needs pip install "recsim-drpo[{name}]".'
        ) from error
    with ExitStack() as stack:
        writers: dict[int, _Write] = {}

        def log(run: Run, row: Row) -> None:
            if run.seed not in writers:
                writers[run.seed] = open_writer(stack, folder, run, about)
            values = {key: value for key, value in row.items() if key != "step"}
            writers[run.seed](values, int(row["step"]))

        yield log


def _tensorboard() -> _OpenWriter:
    from torch.utils.tensorboard import SummaryWriter

    def open_writer(stack: ExitStack, folder: Path, run: Run, about: Mapping[str, Any]) -> _Write:
        writer = SummaryWriter(str(folder / "tensorboard" / f"seed-{run.seed}"))
        stack.enter_context(writer)

        def write(values: dict[str, float], step: int) -> None:
            for name, value in values.items():
                writer.add_scalar(name, value, step)

        return write

    return open_writer


def _wandb() -> _OpenWriter:
    import wandb

    def open_writer(stack: ExitStack, folder: Path, run: Run, about: Mapping[str, Any]) -> _Write:
        folder.mkdir(parents=True, exist_ok=True)
        mode: Any = os.environ.get("WANDB_MODE", "offline")
        opened = wandb.init(
            project="recsim_drpo",
            dir=folder,
            mode=mode,
            group=folder.name,
            name=f"{run.agent}, seed {run.seed}",
            config={**about, "agent": run.agent, "seed": run.seed, **run.overrides},
            reinit="create_new",  # a fleet's learners are tracked side by side
            settings=wandb.Settings(console="off", silent=True, disable_git=True, save_code=False),
        )
        stack.enter_context(opened)
        return lambda values, step: opened.log(values, step=step)

    return open_writer


TRACKERS = {"tensorboard": _tensorboard, "wandb": _wandb}
"""The trackers by name: functions that import one and return what opens a run's writer."""
