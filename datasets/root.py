"""Where Minari keeps its datasets."""

from __future__ import annotations

import os
from pathlib import Path

from minari.storage.datasets_root_dir import get_dataset_path

from recsim_drpo.core.messages import shown

ROOT = "MINARI_DATASETS_PATH"
"""The environment variable that names the folder."""


def dataset_folder(dataset_id: str = "") -> Path:
    """Return the folder of a dataset, or that of all of them, which is made if it is not there.

    Raises:
        OSError: the folder of all cannot be made; says which, and by which variable it is named.
    """
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
