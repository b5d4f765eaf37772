"""Where numbers come from: the versions and the revision that made them."""

from __future__ import annotations

import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

import gymnasium
import minari
import numpy as np
import torch


def versions() -> dict[str, str]:
    """Versions of what results depend on."""
    return {
        "recsim_drpo": version("recsim-drpo"),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "gymnasium": gymnasium.__version__,
        "minari": minari.__version__,
    }


def revision() -> str:
    """The git revision of the checkout that this package runs from, or ``"unknown"``."""
    root = Path(__file__).resolve().parents[2]
    try:
        found = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"],
            cwd=root,
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return found.stdout.strip()
