"""Files and folders that appear whole or not at all: written in a hidden place, then renamed.

The place is a folder ``.recsim-drpo`` beside what is made. What lies there has a lock that its
owner's process holds; a lock ends with its process, however that ends. So what a killed process
left can be told from what another is writing, and goes when a command next comes to the place.
"""

from __future__ import annotations

import ctypes
import errno
import hashlib
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import filelock

STAGING = ".recsim-drpo"
"""Folder of what is being written, beside what it will be; hidden, so that Minari passes it by."""

_PLACE = re.compile(re.escape(STAGING) + r"(-\d+)?")  # or a user's own, by number
_PARTIAL, _LOCK, _CLAIM = ".partial", ".lock", ".claim"
_LONGEST = 180  # bytes of a name that endings still fit behind
_PATIENCE = 1.0  # seconds to wait for one who removes what a killed process left
_TRIES = 100
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
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
def staged(target: Path, *, busy: str | None = None, alone: bool = True) -> Iterator[Path]:
    """A path to fill on the file system of ``target``, which no other process touches meanwhile.

    Nothing is there at first. When the block ends, what is there is removed: rename it to keep it.
    So are folders that were made for it and are empty. What killed processes left beside it goes.

    Args:
        target: what is to be made.
        busy: message where another process is making it.
        alone: whether one process at a time may; ``False``: each has a path of its own.

    Raises:
        RuntimeError: another process is making it.
        OSError: nothing can be written there.
    """
    name = _short(target.name if alone else f"{target.name}.{secrets.token_hex(4)}")
    sweep(target.parent)
    with _made_if_filled(target.absolute().parent) as parent, _held(parent, name) as mine:
        if mine is None:
            raise RuntimeError(busy or _busy(target))
        path = mine.with_name(f"{name}{_PARTIAL}")
        _remove(path)
        try:
            yield path
        except OSError as error:
            if error.errno in _NO_ROOM and error.filename is None:  # say where
                raise OSError(error.errno, error.strerror, str(target)) from error
            raise
        finally:
            _remove(path)


def discard(folder: Path) -> None:
    """Remove a folder, of which nobody sees a part meanwhile, however this process ends."""
    with staged(folder) as aside, suppress(FileNotFoundError):
        folder.rename(aside)


@contextmanager
def claimed(*targets: Path) -> Iterator[None]:
    """Let no other process claim what is to be made within the block.

    For work that takes long before it writes anything: two that would make the same are told so
    before the work, not after it.

    Raises:
        RuntimeError: another process has one of them.
        OSError: nothing can be written there.
    """
    with ExitStack() as stack:
        for target in targets:
            sweep(target.parent)
            parent = stack.enter_context(_made_if_filled(target.absolute().parent))
            name = _short(target.name) + _CLAIM
            if stack.enter_context(_held(parent, name)) is None:
                raise RuntimeError(_busy(target))
        yield


def stale(folder: Path) -> list[Path]:
    """What killed processes left unfinished for a place in ``folder``; nothing is removed."""
    return _left(folder, remove=False)


def sweep(folder: Path) -> list[Path]:
    """Remove what killed processes left unfinished for a place in ``folder``, and say what it was.

    What a living process writes stays, and so does what this user may not remove. Where nothing
    else was in the folder it goes as well.
    """
    gone = _left(folder, remove=True)
    if gone:
        with suppress(OSError):
            folder.rmdir()
    return gone


def is_staged(path: Path) -> bool:
    """Whether a path lies in a place of what is being written."""
    return any(_PLACE.fullmatch(part) for part in path.parts)


def _left(folder: Path, *, remove: bool) -> list[Path]:
    left = []
    for place in _places(folder):
        with suppress(OSError):  # another removes it at this moment, or it is another user's
            entries = sorted(place.iterdir())
            for name in dict.fromkeys(_name_of(entry) for entry in entries):
                left += _left_by_the_dead(place, name, remove=remove)
            place.rmdir()
    return left


def _left_by_the_dead(place: Path, name: str, *, remove: bool) -> list[Path]:
    # Before there was the ending, a dataset lay under the name alone.
    with _held(place.parent, name, place, patience=0.0) as lock:
        if lock is None:
            return []
        things = [place / name, place / f"{name}{_PARTIAL}"]
        found = [thing for thing in things if thing.exists()]
        if remove:
            for thing in found:
                _remove(thing)
        return found or [lock]


def _name_of(entry: Path) -> str:
    return entry.stem if entry.suffix in (_PARTIAL, _LOCK) else entry.name


def _places(folder: Path) -> list[Path]:
    """The folders of what is being written that there can be in a folder, and are."""
    names = [STAGING, f"{STAGING}-{os.getuid()}"] if hasattr(os, "getuid") else [STAGING]
    return [folder / name for name in names if (folder / name).is_dir()]


def _place(folder: Path) -> Path:
    """Where this process may write: a user's own folder where the common one is another's."""
    common = folder / STAGING
    if hasattr(os, "getuid") and common.exists() and not os.access(common, os.W_OK | os.X_OK):
        return folder / f"{STAGING}-{os.getuid()}"
    return common


@contextmanager
def _held(
    folder: Path, name: str, place: Path | None = None, *, patience: float = _PATIENCE
) -> Iterator[Path | None]:
    """The file of a lock that is held within the block and then goes; ``None``: another has it."""
    place = _place(folder) if place is None else place
    path = place / f"{name}{_LOCK}"
    lock = _locked(path, patience)
    try:
        yield None if lock is None else path
    finally:
        if lock is not None:
            with suppress(OSError):  # before it is free, so that nobody holds a file that is gone
                path.unlink()
            lock.release()
        with suppress(OSError):
            place.rmdir()


def _locked(path: Path, patience: float) -> filelock.BaseFileLock | None:
    for _ in range(_TRIES):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = filelock.FileLock(path, timeout=patience)
            lock.acquire()
        except filelock.Timeout:
            if path.exists():
                return None
        except FileNotFoundError:  # another removed the empty folder at this moment
            continue
        else:
            if path.exists():
                return lock
            lock.release()  # of a file that its former owner removed
    return None


@contextmanager
def _made_if_filled(folder: Path) -> Iterator[Path]:
    """A folder that may be made in the block; with those above, it goes again if it is empty."""
    made = [one for one in (folder, *folder.parents) if not one.exists()]
    try:
        yield folder
    finally:
        with suppress(OSError):
            for one in made:
                one.rmdir()


def _remove(path: Path) -> None:
    """Remove a file or a folder; an interrupt meanwhile is let through when it is gone."""
    try:
        _remove_once(path)
    except BaseException:
        _remove_once(path)
        raise


def _remove_once(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


def _short(name: str) -> str:
    """A name, or where it is so long that no ending fits behind it one that stands for it."""
    whole = os.fsencode(name)
    return name if len(whole) <= _LONGEST else hashlib.sha256(whole).hexdigest()


def _busy(target: Path) -> str:
    return (
        f"Another process is making {str(target)!r} right now; wait for it, or choose another name."
    )


@contextmanager
def atomic_dir(folder: Path) -> Iterator[Path]:
    """A folder to fill, which takes the name ``folder`` if the block ends well and else is removed.

    Raises:
        FileExistsError, OSError: as :func:`check_new_folder`.
        RuntimeError: another process is making it.
    """
    check_new_folder(folder)
    with staged(folder) as partial:
        check_new_folder(folder)  # another may have made it since
        partial.mkdir()
        yield partial
        partial.rename(folder)


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """A path to write to; the file is renamed to ``path`` if the block ends well, else removed.

    Raises:
        FileExistsError, OSError: as :func:`check_new_folder`.
        RuntimeError: another process is making it.
    """
    check_new_folder(path, "file")
    with staged(path) as partial:
        check_new_folder(path, "file")
        yield partial
        partial.rename(path)


@contextmanager
def replaced_file(path: Path) -> Iterator[Path]:
    """A path to write to; it takes the place of ``path`` in one step if the block ends well.

    Readers see the former content or the new one; of two processes the last one's stays.
    """
    with staged(path, alone=False) as partial:
        yield partial
        partial.replace(path)


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file in one step, a text as UTF-8: readers see the former content or the new one."""
    with replaced_file(path) as partial:
        partial.write_bytes(content.encode() if isinstance(content, str) else content)


def read_text(path: Path) -> str:
    """The text of a file in UTF-8; an error names the file, which the system's own need not.

    Raises:
        OSError: it cannot be read.
        UnicodeDecodeError: it is no such text.
    """
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        if error.filename is not None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


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
