"""What killed commands, broken disks and former versions left, found and removed."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from minari.storage.datasets_root_dir import get_dataset_path

from recsim_drpo.cli.health_report import at_home
from recsim_drpo.core.compiler_cache import cache_folder
from recsim_drpo.core.files import staged, stale, sweep
from recsim_drpo.core.messages import one_line
from recsim_drpo.datasets.load import open_dataset
from recsim_drpo.runs.folder import CHECKPOINT, CONFIG

DEPTH = 6
"""Levels below a folder in which runs and outputs are looked for."""

IDLE = 3600.0
"""Seconds after which a cache that nobody has written to counts as unused."""

STALE, DATASET, RUN, CACHE = "stale", "damaged dataset", "run without a checkpoint", "cache"
FORMER = "stale, of a former version"
_FORMER = re.compile(r"\.(?P<name>.+?)(\.(?P<pid>\d+))?\.partial", re.DOTALL)
_RUN_KEYS = frozenset(("agent", "hyperparameters", "observation_dim", "action_dim"))


@dataclass(frozen=True)
class Finding:
    """One thing that is found.

    Attributes:
        kind: :data:`STALE`, :data:`FORMER`, :data:`DATASET`, :data:`RUN` or :data:`CACHE`.
        path: where it is.
        why: what is the matter with it, in words.
        bytes: its size.
        removed: whether it has been removed.
    """

    kind: str
    path: Path
    why: str
    bytes: int
    removed: bool = False

    @property
    def is_fault(self) -> bool:
        """Whether it should not be there; a cache may."""
        return self.kind != CACHE

    def as_dict(self) -> dict[str, Any]:
        """Its fields, as JSON can hold them."""
        return {**asdict(self), "path": str(at_home(self.path))}


def examine(folders: Iterable[Path]) -> list[Finding]:
    """What is found in Minari's folder, in these folders and in that of temporary files.

    Nothing is changed. What a living process writes is not found.

    Raises:
        FileNotFoundError: a folder is not there.
    """
    folders = list(folders)
    for folder in folders:
        if not folder.is_dir():
            raise FileNotFoundError(f"There is no folder {str(folder)!r} to look into.")
    root = get_dataset_path().resolve()
    found = [_stale(path) for path in stale(root)]
    found += _damaged_datasets(root)
    for folder in dict.fromkeys(one.resolve() for one in folders):
        for below in _folders_in(folder, root):
            found += [_stale(path) for path in stale(below)]
            found += _left_by_former_versions(below)
            found += _runs_without_checkpoint(below)
    return [*{finding.path: finding for finding in found}.values(), *_caches()]


def removed(found: Sequence[Finding]) -> list[Finding]:
    """Remove what was found; gives the findings, and which of them are gone now."""
    after = []
    for finding in found:
        if finding.kind == STALE:
            sweep(finding.path.parent.parent)  # by its lock: nobody has begun to write it again
        elif finding.kind == FORMER:
            _remove_former(finding.path)
        elif finding.kind == CACHE and not _is_idle(finding.path):
            pass
        else:
            shutil.rmtree(finding.path, ignore_errors=True)
        after.append(replace(finding, removed=not finding.path.exists()))
    return after


def as_text(about: Mapping[str, Any], found: Sequence[Finding], *, remove: bool) -> str:
    """The installation and the findings, to be read, and to be pasted into a bug report."""
    lines = []
    for title, values in about.items():
        lines += [title, *(f"  {name}: {value}" for name, value in values.items())]
    faults = [finding for finding in found if finding.is_fault]
    lines += ["found" if found else "found: nothing"]
    for finding in found:
        state = " (removed)" if finding.removed else " (kept)" if remove else ""
        size = f"{finding.bytes / 1e6:,.1f} MB"
        lines.append(f"  {finding.kind}{state}: {at_home(finding.path)}, {size}: {finding.why}")
    if faults and not remove:
        lines.append("recsim-drpo doctor --remove removes what is found.")
    return "\n".join(lines)


def _stale(path: Path) -> Finding:
    return Finding(STALE, path, "a killed command left it unfinished", _size(path))


def _left_by_former_versions(folder: Path) -> Iterator[Finding]:
    """What versions wrote as ``.NAME.partial``, beside ``NAME``, before there was a place for it.

    They had no locks: what names a living process, or was written to lately, counts as alive.
    """
    with suppress(OSError):
        for path in sorted(folder.glob(".*.partial")):
            if _FORMER.fullmatch(path.name) and not path.is_symlink() and not _may_live(path):
                why = "a killed command of a former version left it unfinished"
                yield Finding(FORMER, path, why, _size(path))


def _may_live(path: Path) -> bool:
    named = _FORMER.fullmatch(path.name)
    if named is not None and named["pid"] is not None and _is_running(int(named["pid"])):
        return True
    latest: float = max(
        one.lstat().st_mtime for one in (path, *(path.rglob("*") if path.is_dir() else ()))
    )
    return time.time() - latest <= IDLE


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # another user's
        pass
    return True


def _remove_former(path: Path) -> None:
    """Remove what a former version left, unless it lives, or its name is being made right now."""
    named = _FORMER.fullmatch(path.name)
    if named is not None:
        with suppress(OSError, RuntimeError), staged(path.with_name(named["name"])) as aside:
            if not _may_live(path):
                path.rename(aside)


def _damaged_datasets(root: Path) -> Iterator[Finding]:
    for folder in _dataset_folders(root):
        dataset_id = folder.relative_to(root).as_posix()
        if damage := _damage(dataset_id):
            yield Finding(DATASET, folder, damage, _size(folder))


def _dataset_folders(folder: Path) -> Iterator[Path]:
    """Folders that Minari takes for datasets."""
    if not folder.is_dir():
        return
    for below in sorted(folder.iterdir()):
        if below.name.startswith(".") or not below.is_dir():
            continue
        if (below / "data").exists():
            yield below
        else:
            yield from _dataset_folders(below)


def _damage(dataset_id: str) -> str | None:
    """Why a dataset cannot be read, its first and its last episode; ``None`` where they can.

    One that needs a package, permission or memory that is not there is not damaged.
    """
    try:
        dataset = open_dataset(dataset_id)
        named = dataset.id
        total, episodes = int(dataset.total_steps), int(dataset.total_episodes)
        ends = sorted({0, episodes - 1} - {-1})
        read = sum(len(one.rewards) for one in dataset.iterate_episodes(ends))
    except (ImportError, MemoryError):
        return None
    except Exception as error:  # whatever a library says of a file that is none
        if isinstance(error, OSError) and error.errno in (errno.EACCES, errno.EPERM):
            return None
        return one_line(error)
    if named != dataset_id:
        return f"its metadata say that it is {named!r}"
    return None if read <= total else f"it says {total:,} transitions and holds {read:,} or more"


def _folders_in(folder: Path, root: Path) -> Iterator[Path]:
    """A folder and those below, but hidden ones and Minari's, which are looked at otherwise."""
    for name, below, _ in os.walk(folder):
        here = Path(name)
        deep = len(here.relative_to(folder).parts) >= DEPTH
        below[:] = [
            one
            for one in sorted(below)
            if not deep and not one.startswith(".") and (here / one) != root
        ]
        yield here


def _runs_without_checkpoint(folder: Path) -> Iterator[Finding]:
    path = folder / CONFIG
    if (folder / CHECKPOINT).exists() or not path.is_file():
        return
    with suppress(OSError, ValueError):
        config = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(config, dict) and config.keys() >= _RUN_KEYS:
            yield Finding(RUN, folder, f"{CHECKPOINT} is missing; train it again", _size(folder))


def _caches() -> Iterator[Finding]:
    """The folder where torch keeps what it compiled."""
    path = cache_folder()
    if path.is_dir():
        why = "of torch's compiler, which makes it anew where it is needed"
        if not _is_idle(path):
            why += "; in use within the last hour"
        yield Finding(CACHE, path, why, _size(path))


def _is_idle(path: Path) -> bool:
    times = [one.stat().st_mtime for one in path.rglob("*") if one.is_file()]
    return not times or time.time() - max(times) > IDLE


def _size(path: Path) -> int:
    files = [path] if path.is_file() else [one for one in path.rglob("*") if one.is_file()]
    total = 0
    for file in files:
        with suppress(OSError):
            total += file.stat().st_size
    return total
