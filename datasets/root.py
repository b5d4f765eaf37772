"""Where Minari keeps its datasets."""

from __future__ import annotations

import os
from pathlib import Path

from minari.storage.datasets_root_dir import get_dataset_path

from recsim_drpo.core.messages import shown

ROOT = "MINARI_DATASETS_PATH"
"""The environment variable that names the folder."""


def check_root() -> None:
    """Raise ``ValueError`` for a MINARI_DATASETS_PATH that Minari takes for what nobody means."""
    root = os.environ.get(ROOT)
    if root is None:
        return
    if not root.strip():
        raise ValueError(f"{ROOT} is empty; unset it, or let it name a folder.")
    if not root.isprintable():
        raise ValueError(
            f"{ROOT}={shown(root)} has what is no printable character; let it name another folder."
        )
    if root.startswith("~"):
        raise ValueError(
            f"{ROOT}={root!r} would be a folder named '~' here, as Minari reads it; write "
            f"{str(Path(root).expanduser())!r}."
        )


def dataset_folder(dataset_id: str = "") -> Path:
    """Return the folder of a dataset, or that of all of them, which is made if it is not there.

    Raises:
        ValueError: as :func:`check_root`.
        OSError: the folder of all cannot be made; says which, and by which variable it is named.
    """
    check_root()
    try:
        return Path(get_dataset_path(dataset_id))
    except (OSError, ValueError) as error:  # a ValueError of signs that no path can have
        reason = error.strerror if isinstance(error, OSError) else None
        if ROOT not in os.environ:
            raise
        raise OSError(
            f"{ROOT}={shown(os.environ[ROOT])} is no folder for datasets ({reason or error}); set "
            "it to one that is there or can be made."
        ) from error
