"""Where the bytes of a log lie: a file, packed or not, or what came by standard input."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

COMPRESSIONS = {".gz": "gzip", ".zst": "zstd"}
"""What the last suffix of packed text says."""


class Source:
    """A file, whose bytes can be read more than once.

    Attributes:
        path: the file.
        name: for messages.
        size: how many bytes are stored.
        compression: ``"gzip"``, ``"zstd"``, or ``None``.
    """

    def __init__(self, path: Path, compression: str | None = None) -> None:
        self.path = path
        self.name = path.name
        self.size = path.stat().st_size
        self.compression = compression

    @contextmanager
    def stored(self) -> Iterator[IO[bytes]]:
        """The bytes as they are stored."""
        with self.path.open("rb", buffering=0) as file:
            yield file

    @contextmanager
    def opened(self) -> Iterator[UnpackedFile]:
        """The bytes, unpacked."""
        with self.stored() as file:
            yield UnpackedFile(file, self.compression)


class UnpackedFile:
    """A file that is unpacked while it is read."""

    def __init__(self, file: IO[bytes], compression: str | None) -> None:
        self._stored = file
        self._file: Any = file
        if compression is not None:
            import pyarrow

            self._file = pyarrow.CompressedInputStream(pyarrow.PythonFile(file, "r"), compression)

    def read(self, size: int) -> bytes:
        """At most so many further bytes; none at the end."""
        data: bytes = self._file.read(size)
        return data

    @property
    def done(self) -> int:
        """How many of the bytes stored have been read."""
        return self._stored.tell()
