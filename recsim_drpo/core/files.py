"""Files and folders that are there whole or not at all: written aside, then renamed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def check_new_folder(folder: Path, what: str = "folder") -> None:
    """Check that ``folder`` is not there and can be made, before work goes into what it is for.

    ``what`` is to be made, a folder or a file, is for the message.

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
def whole_folder(folder: Path) -> Iterator[Path]:
    """A folder to fill that takes the name ``folder`` when the block ends well, else is gone."""
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
def whole_file(path: Path) -> Iterator[Path]:
    """A path to write to that takes the name ``path`` when the block ends well, else is gone."""
    check_new_folder(path, "file")
    partial = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        partial.rename(path)
    finally:
        partial.unlink(missing_ok=True)


def write_aside(path: Path, text: str) -> None:
    """Write a file that is there whole or not at all."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
