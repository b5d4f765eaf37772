"""Files and folders that appear whole or not at all: written under another name, then renamed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def check_new_folder(folder: Path, what: str = "folder") -> None:
    """Check that ``folder`` does not exist and can be made, before work goes into its content.

    Args:
        folder: path of the folder or file that is to be made.
        what: ``"folder"`` or ``"file"``, for the message.

    Raises:
        FileExistsError: it is there.
        OSError: it cannot be made.
    """
    if folder.exists():
        raise FileExistsError(f"{str(folder)!r} is there already; choose another {what}.")
    nearest = next(parent for parent in folder.absolute().parents if parent.exists())
    if not nearest.is_dir():
        raise NotADirectoryError(f"{str(folder)!r} cannot be made: {str(nearest)!r} is a file.")
    if not os.access(nearest, os.W_OK):
        raise PermissionError(f"{str(folder)!r} cannot be made: {str(nearest)!r} is not writable.")


@contextmanager
def atomic_dir(folder: Path) -> Iterator[Path]:
    """A folder to fill, which takes the name ``folder`` if the block ends well and else is removed.

    Raises:
        FileExistsError, OSError: as :func:`check_new_folder`.
    """
    check_new_folder(folder)
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        yield partial
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """A path to write to; the file is renamed to ``path`` if the block ends well, else removed.

    Raises:
        FileExistsError, OSError: as :func:`check_new_folder`.
    """
    check_new_folder(path, "file")
    partial = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        partial.rename(path)
    finally:
        partial.unlink(missing_ok=True)


def write_atomically(path: Path, text: str) -> None:
    """Write UTF-8 text to a file in one step: readers see the former content or the new one."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
