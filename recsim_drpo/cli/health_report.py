"""What a bug report should say of an installation."""

from __future__ import annotations

import os
import platform
import re
import shutil
import sys
import tempfile
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any

import torch
from minari.storage.datasets_root_dir import get_dataset_path

from recsim_drpo.core.provenance import revision, versions

_VARIABLES = (
    "MINARI_DATASETS_PATH",
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "CUDA_VISIBLE_DEVICES",
    "TORCHINDUCTOR_CACHE_DIR",
    "TMPDIR",
)


def installation() -> dict[str, dict[str, Any]]:
    """Versions, packages, the build of torch, devices, threads and paths, by group and name.

    The home folder is written ``~``, so that a report does not tell who made it.
    """
    root = get_dataset_path()
    free = shutil.disk_usage(next(one for one in (root, *root.parents) if one.exists())).free
    return {
        "versions": {
            **versions(),
            "revision": revision(),
            "system": platform.platform(),
        },
        "packages": _packages(),
        "torch": {
            "build": torch.version.git_version,
            "cuda": torch.version.cuda,
            "cpu": torch.backends.cpu.get_cpu_capability(),
            "devices": _devices(),
            "threads": torch.get_num_threads(),
            "cpus": os.cpu_count(),
        },
        "paths": {
            "package": str(at_home(Path(__file__).resolve().parents[1])),
            "python": str(at_home(Path(sys.executable))),
            "datasets": f"{at_home(root)} ({free / 1e9:,.1f} GB free)",
            "temporary files": str(at_home(Path(tempfile.gettempdir()))),
        },
        "environment": {
            name: str(at_home(Path(os.environ[name]))) for name in _VARIABLES if name in os.environ
        },
    }


def at_home(path: Path) -> Path:
    """A path, with ``~`` in place of the home folder."""
    try:
        return Path("~") / path.relative_to(Path.home())
    except (ValueError, RuntimeError):
        return path


def _packages() -> dict[str, str]:
    """Versions of all packages that this one needs or can use, as far as they are installed."""
    names = {
        re.split(r"[ ;<>=!~\[(]", need, maxsplit=1)[0] for need in requires("recsim-drpo") or ()
    }
    found = {}
    for name in sorted(names):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _devices() -> list[str]:
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return ["cpu", *(f"cuda:{i} {torch.cuda.get_device_name(i)}" for i in range(count))]
