"""Files and folders that appear whole or not at all: written under another name, then renamed."""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_HERE, _EXCHANGE = -100, 2  # AT_FDCWD and RENAME_EXCHANGE of Linux


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


def exchange(one: Path, other: Path) -> None:
    """Give two files or folders of one file system each other's name.

    In one step where Linux's ``renameat2`` is there; else in three, of which an error leaves none.

    Raises:
        OSError: one of them is not there, or cannot be renamed.
    """
    if _exchanged(one, other):
        return
    aside = other.with_name(f".{other.name}.{os.getpid()}.aside")
    other.rename(aside)
    try:
        one.rename(other)
    except OSError:
        aside.rename(other)
        raise
    aside.rename(one)


def _exchanged(one: Path, other: Path) -> bool:
    """Whether the system could do it in one step; ``False`` where it does not know how to."""
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError, TypeError):
        return False
    if rename(_HERE, os.fsencode(one), _HERE, os.fsencode(other), _EXCHANGE) == 0:
        return True
    error = ctypes.get_errno()
    if error in (errno.ENOSYS, errno.EINVAL):  # an old kernel, or a file system that cannot
        return False
    raise OSError(error, os.strerror(error), str(other))


def write_atomically(path: Path, text: str) -> None:
    """Write UTF-8 text to a file in one step: readers see the former content or the new one."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
