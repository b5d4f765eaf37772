"""The versions of the libraries and the revision of the code that made a result."""

from __future__ import annotations

import functools
import hashlib
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]


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
    """Abbreviated git revision of the checkout that this package runs from, or ``"unknown"``.

    An installed package has none, though its environment may lie in somebody's repository.
    """
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return "unknown"
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


@functools.cache
def sources_digest(root: Path = _PACKAGE) -> str:
    """Twelve hexadecimal digits of SHA-256 over a package's Python files and their names.

    Args:
        root: folder of the package, this one's by default; links to folders in it are followed.
    """
    digest = hashlib.sha256()
    folders = [root, *sorted(path for path in root.iterdir() if path.is_symlink())]
    files = {
        path.relative_to(root).as_posix(): path for top in folders for path in top.rglob("*.py")
    }
    for name, path in sorted(files.items()):
        text = path.read_bytes().replace(b"\r\n", b"\n")
        digest.update(f"{name} {len(text)} ".encode() + text)
    return digest.hexdigest()[:12]
