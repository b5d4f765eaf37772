"""How much memory there is, and the error of what would take more, before it is asked for."""

from __future__ import annotations

import ctypes
import functools
import os
import sys
from contextlib import suppress
from pathlib import Path

_KIB = 2**10
_MOST = 2**80  # said as "over" it
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")

_MALLOC_VARIABLES = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of malloc.h


def check_memory(what: str, num_bytes: float, mend: str) -> None:
    """Raise ``ValueError`` where something would take more memory than there is.

    Args:
        what: what would take it, with its sizes, to begin the message with.
        num_bytes: what it would take, ≥ 0; any size, beyond what an array can have too.
        mend: what to do, in the imperative.
    """
    there_is = available_memory()
    if there_is is not None and num_bytes > there_is:
        raise ValueError(
            f"{what} would take {in_units(num_bytes)} of memory, and there are "
            f"{in_units(there_is)}; {mend}."
        )


def available_memory() -> int | None:
    """Return the bytes that this process can still have, ``None`` where no system call tells.

    The least of what the machine has free or can free, what a container's limit leaves (cgroups of
    version 2), and what the limit of address space (``RLIMIT_AS``) leaves.
    """
    known = [_of_machine(), _of_container(), _of_limit()]
    return min((size for size in known if size is not None), default=None)


def in_units(num_bytes: float) -> str:
    """Return a size as text of three digits, such as ``"1.95 GiB"``."""
    size, unit = float(min(num_bytes, _MOST)), 0
    while size >= _KIB and unit < len(_UNITS) - 1:
        size, unit = size / _KIB, unit + 1
    return f"{'over ' * (num_bytes > _MOST)}{size:.3g} {_UNITS[unit]}"


def _of_machine() -> int | None:
    for line in _text("/proc/meminfo").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * _KIB
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # Windows
        return None


def _of_container() -> int | None:
    path = _text("/proc/self/cgroup").rpartition("0::")[2].strip()
    for folder in (f"/sys/fs/cgroup{path}", "/sys/fs/cgroup"):
        most, used = _text(f"{folder}/memory.max").strip(), _text(f"{folder}/memory.current")
        if most.isdecimal() and used.strip().isdecimal():
            return max(0, int(most) - int(used))
    return None


def _of_limit() -> int | None:
    try:
        import resource
    except ImportError:  # Windows
        return None
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    pages = _text("/proc/self/statm").split()
    if limit == resource.RLIM_INFINITY or not pages:
        return None
    return max(0, limit - int(pages[0]) * resource.getpagesize())


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="ascii")
    except (OSError, ValueError):
        return ""


@functools.cache
def keep_freed_memory() -> None:
    """Let the C library keep what is freed for the next use: 256 MiB, and blocks of 32 MiB.

    An update frees some tens of megabytes and asks for them again at once. The library may hand
    them to the system and fetch them page by page, which can take a quarter of the update. Where it
    is no glibc, or its environment variables have been set, nothing is changed.
    """
    if any(name in os.environ for name in _MALLOC_VARIABLES) or sys.platform != "linux":
        return
    with suppress(AttributeError, OSError):
        set_option = ctypes.CDLL(None).mallopt
        set_option(_M_MMAP_THRESHOLD, 2**25)
        set_option(_M_TRIM_THRESHOLD, 2**28)
