"""The folder where torch keeps what it compiled, and makes as soon as its compiler is imported."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def cache_folder() -> Path:
    """Return the folder: the variable ``TORCHINDUCTOR_CACHE_DIR``, or one of the temporary files.

    It follows ``torch._inductor.runtime.cache_dir_utils``, without importing torch.
    """
    named = os.environ.get("TORCHINDUCTOR_CACHE_DIR")
    if named:
        return Path(named)
    import getpass
    import tempfile

    try:
        user = getpass.getuser()
    except (KeyError, ModuleNotFoundError, OSError):
        user = f"uid_{os.getuid()}" if hasattr(os, "getuid") else "unknown_user"
    plain = re.sub(r'[\\/:*?"<>|]', "_", user)
    return Path(tempfile.gettempdir()) / f"torchinductor_{plain}"


@contextmanager
def no_empty_cache() -> Iterator[None]:
    """Remove the folder after the block if it was made within it and nothing was compiled.

    ``torch.optim``, which other libraries' agents use, imports the compiler, and that makes it.
    """
    folder = cache_folder()
    was_there = folder.exists()
    try:
        yield
    finally:
        if not was_there:
            with suppress(OSError):  # it is not there, or has something in it
                folder.rmdir()
