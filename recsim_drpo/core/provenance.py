"""The versions of the libraries and the revision of the code that made a result."""

from __future__ import annotations

import platform
import subprocess
from importlib.metadata import version
from pathlib import Path


def versions() -> dict[str, str]:
    """Versions of Python, of this package and of the libraries that results depend on, by name."""
    import gymnasium
    import minari
    import numpy as np
    import torch

    return {
        "recsim_drpo": version("recsim-drpo"),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "gymnasium": gymnasium.__version__,
        "minari": minari.__version__,
    }


def revision() -> str:
    """Abbreviated git revision of the checkout that this package runs from, or ``"unknown"``."""
    root = Path(__file__).resolve().parents[2]
    try:
        result = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"],
            cwd=root,
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return result.stdout.strip()
