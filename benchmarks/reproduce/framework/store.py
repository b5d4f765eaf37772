"""Finished pieces of an experiment on the disk, so that a stopped one goes on where it was."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from recsim_drpo.core.files import sweep, write_atomically

PLAN = "plan.json"
_RECORDS = "records"


class Store:
    """A folder of finished pieces of one experiment.

    A piece is written aside and renamed: it is there whole, or not at all. A folder holds pieces of
    one plan only. What killed processes left unfinished in it goes when it is opened.

    Args:
        folder: made if it is not there.
        plan: everything that the numbers depend on, as JSON can hold it.

    Raises:
        ValueError: the folder holds pieces of another plan; the message shows the difference.
    """

    def __init__(self, folder: str | Path, plan: Mapping[str, Any]) -> None:
        self._folder = Path(folder)
        self._records = self._folder / _RECORDS
        wanted = json.loads(json.dumps(plan))
        path = self._folder / PLAN
        if path.exists():
            kept = json.loads(path.read_text(encoding="utf-8"))
            if kept != wanted:
                lines = "\n".join(f"  {line}" for line in differences(kept, wanted))
                raise ValueError(
                    f"{str(self._folder)!r} holds results of another configuration:\n{lines}\n"
                    "Choose another --out, or remove that folder."
                )
        self.sweep()
        self._records.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            _write(path, wanted)

    def sweep(self) -> None:
        """Remove what processes that were stopped left unfinished."""
        sweep(self._folder)
        sweep(self._records)

    def has(self, key: str) -> bool:
        """Whether the piece is finished."""
        return self._path(key).exists()

    def put(self, key: str, piece: Any) -> None:
        """Keep a finished piece."""
        _write(self._path(key), piece)

    def get(self, key: str) -> Any:
        """A finished piece.

        Raises:
            KeyError: it is not there.
        """
        if not self.has(key):
            raise KeyError(key)
        return json.loads(self._path(key).read_text(encoding="utf-8"))

    def kept(self, key: str, make: Callable[[], Any]) -> Any:
        """A finished piece, which is made and kept if it is not there yet."""
        if not self.has(key):
            self.put(key, make())
        return self.get(key)

    def _path(self, key: str) -> Path:
        # Folders made before have keys as they are; Windows refuses ":", every system "/".
        former = self._records / f"{key}.json"
        return former if former.exists() else self._records / f"{quote(key, safe=' ')}.json"


def differences(kept: Any, wanted: Any, name: str = "") -> Iterator[str]:
    """Lines that say where the JSON value ``kept`` differs from the one that is wanted."""
    if isinstance(kept, dict) and isinstance(wanted, dict):
        for key in sorted(kept.keys() | wanted.keys()):
            place = f"{name}.{key}" if name else str(key)
            if key not in kept:
                yield f"{place}: not there, now {wanted[key]!r}"
            elif key not in wanted:
                yield f"{place}: {kept[key]!r}, now not there"
            else:
                yield from differences(kept[key], wanted[key], place)
    elif kept != wanted:
        yield f"{name}: {kept!r}, now {wanted!r}"


def _write(path: Path, value: Any) -> None:
    write_atomically(path, json.dumps(value, indent=1) + "\n")
