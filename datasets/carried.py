"""Datasets that were made on another machine, and come to this one in pieces by the driver."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from recsim_drpo.core.messages import shown
from recsim_drpo.datasets.staging import new_dataset

PIECE_BYTES = 2**24
"""Most bytes of a file that are in memory at a time."""


class Begun(NamedTuple):
    """A dataset whose pieces follow.

    Attributes:
        dataset_id: its id.
        what: what it holds, in words.
        files: size in bytes and SHA-256 of each of its files, by relative path.
        host: where it was made.
    """

    dataset_id: str
    what: str
    files: Mapping[str, tuple[int, str]]
    host: str


class Piece(NamedTuple):
    """Further bytes of a file of a dataset."""

    dataset_id: str
    file: str
    data: bytes


def files_in(folder: Path) -> dict[str, tuple[int, str]]:
    """Size and SHA-256 of every file in a folder and below, by relative path, in its order."""
    found = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        found[path.relative_to(folder).as_posix()] = (path.stat().st_size, digest)
    return found


def in_pieces(folder: Path, dataset_id: str, what: str) -> Iterator[Begun | Piece]:
    """A dataset's folder as values that :class:`Arrivals` makes a dataset of again."""
    files = files_in(folder)
    yield Begun(dataset_id, what, files, socket.gethostname())
    for name in files:
        with (folder / name).open("rb") as file:
            while data := file.read(PIECE_BYTES):
                yield Piece(dataset_id, name, data)


class Arrivals:
    """Datasets that arrive in pieces, several at once, in a ``with`` block.

    Each appears whole, with the bytes that were sent, or not at all; what has not come by the end
    of the block is removed.
    """

    def __init__(self) -> None:
        self._open: dict[str, _Arrival] = {}

    def __enter__(self) -> Arrivals:
        """Itself."""
        return self

    def __exit__(self, *error: Any) -> None:
        """Remove what has not come."""
        for arrival in self._open.values():
            arrival.abandon()

    def take(self, value: Begun | Piece) -> str | None:
        """Take a value; the id of the dataset that is there with it, if one is.

        Raises:
            ValueError: there is a dataset of the id already, or it did not come as it was sent.
            OSError: it cannot be written.
        """
        if isinstance(value, Begun):
            self._open[value.dataset_id] = _Arrival(value)
        arrival = self._open[value.dataset_id]
        if isinstance(value, Piece):
            arrival.add(value)
        if arrival.left:
            return None
        arrival.check()
        del self._open[value.dataset_id]
        arrival.place.__exit__(None, None, None)
        return value.dataset_id


class _Arrival:
    """A dataset on its way, in the place from which it is renamed."""

    def __init__(self, begun: Begun) -> None:
        check_names(begun.files, f"The dataset {shown(begun.dataset_id)} of {begun.host}")
        self._begun = begun
        self.left = sum(size for size, _ in begun.files.values())
        self.place = new_dataset(begun.dataset_id, begun.what, int(1.02 * self.left) + 2**20)
        self._folder = self.place.__enter__()
        for name in begun.files:
            (self._folder / name).parent.mkdir(parents=True, exist_ok=True)
            (self._folder / name).touch()

    def add(self, piece: Piece) -> None:
        """Write a piece."""
        with (self._folder / piece.file).open("ab") as file:
            file.write(piece.data)
        self.left -= len(piece.data)

    def check(self) -> None:
        """Raise ``ValueError`` unless all is as it was sent."""
        if files_in(self._folder) != dict(self._begun.files):
            raise ValueError(
                f"The dataset {self._begun.dataset_id!r} did not come from {self._begun.host} as "
                "it was sent; start the same again."
            )

    def abandon(self) -> None:
        """Remove what has come."""
        with suppress(RuntimeError):
            self.place.__exit__(RuntimeError, RuntimeError("not whole"), None)


def check_names(names: Sequence[str] | Mapping[str, Any], what: str) -> None:
    """Raise ``ValueError`` for names of files that would lie outside the folder they are of."""
    for name in names:
        parts = name.split("/")
        if name.startswith("/") or "\\" in name or not all(parts) or {".", ".."} & {*parts}:
            raise ValueError(f"{what} has a file of the name {shown(name)}, which is none.")
