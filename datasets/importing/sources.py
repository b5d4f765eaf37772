"""Where the bytes of a log lie: files, packed or not, and what comes by standard input."""

from __future__ import annotations

import glob
import io
import os
import shutil
import tempfile
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any
from urllib.parse import unquote

from recsim_drpo.core.messages import shown, shown_path
from recsim_drpo.core.validation import repeated_values, unknown_name

FORMATS = ("csv", "jsonl", "parquet", "arrow")
"""Formats of logs."""

SUFFIXES = {
    ".csv": "csv",
    ".tsv": "csv",
    ".txt": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".parquet": "parquet",
    ".arrow": "arrow",
    ".feather": "arrow",
}
"""Formats by suffix."""

COMPRESSIONS = {".gz": "gzip", ".zst": "zstd"}
"""What the last suffix of packed text says."""

STREAM = "-"
"""What stands for standard input."""

_NO_PARTITION = "__HIVE_DEFAULT_PARTITION__"
_PACKED = ("csv", "jsonl")
_LOGS_IN_FOLDERS = SUFFIXES.keys() - {".json", ".txt"}  # which may be notes on the logs beside them


class Source:
    """A file whose bytes can be read more than once.

    Attributes:
        name: for messages.
        path: the file; ``None`` of one without a name.
        size: how many bytes are stored.
        format: one of :data:`FORMATS`.
        partition: columns whose one value its folders name, as ``day=2024-05-01``.
    """

    def __init__(
        self,
        path: Path,
        format: str | None = None,
        partition: Mapping[str, str | None] | None = None,
    ) -> None:
        self.name = path.name
        self.path: Path | None = path
        self.size = path.stat().st_size
        self.partition = dict(partition or {})
        self.format, self._compression = _format_of(path, format)

    def __reduce__(self) -> tuple[Any, ...]:
        """In a pickle the bytes are with it, as another machine may not have the file."""
        with self.stored() as file:
            return _arrived, (self.name, self.format, self._compression, file.read())

    @contextmanager
    def stored(self) -> Iterator[IO[bytes]]:
        """The bytes as they are stored."""
        assert self.path is not None
        with self.path.open("rb", buffering=0) as file:
            yield file

    @contextmanager
    def opened(self) -> Iterator[UnpackedFile]:
        """The bytes, unpacked."""
        with self.stored() as file, UnpackedFile(file, self._compression) as unpacked:
            yield unpacked


class Spooled(Source):
    """What a stream has, in a temporary file without a name, which is gone with this object.

    Args:
        name: for messages.
        format: one of :data:`FORMATS`.
        compression: what the bytes are packed by.
    """

    def __init__(self, name: str, format: str, compression: str | None = None) -> None:
        self.name, self.path, self.format, self.partition = name, None, format, {}
        self._compression = compression
        self.size = 0
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - read again and again
        weakref.finalize(self, self._file.close)

    @contextmanager
    def filling(self) -> Iterator[IO[bytes]]:
        """The file, to be written."""
        yield self._file
        self._file.flush()
        self.size = self._file.tell()

    @contextmanager
    def stored(self) -> Iterator[IO[bytes]]:
        """The bytes as they are stored."""
        with os.fdopen(os.dup(self._file.fileno()), "rb", buffering=0) as file:
            file.seek(0)
            yield file


class UnpackedFile(io.RawIOBase):
    """A file that is unpacked while it is read."""

    def __init__(self, file: IO[bytes], compression: str | None) -> None:
        self._stored = file
        self._file: Any = file
        if compression is not None:
            import pyarrow

            self._file = pyarrow.CompressedInputStream(pyarrow.PythonFile(file, "r"), compression)

    def readable(self) -> bool:
        """Whether it can be read, which it can."""
        return True

    def read(self, size: int = -1) -> bytes:
        """At most so many further bytes; none at the end."""
        data: bytes = self._file.read(size)
        return data

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer; returns how many bytes of it are filled."""
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    @property
    def done(self) -> int:
        """How many of the bytes stored have been read."""
        return self._stored.tell()


def spooled(stream: IO[bytes], name: str, format: str) -> Spooled:
    """A copy of what a stream has, since a log is read more than once."""
    source = Spooled(name, format)
    with source.filling() as file:
        shutil.copyfileobj(stream, file, 2**20)
    return source


def _arrived(name: str, format: str, compression: str | None, content: bytes) -> Spooled:
    source = Spooled(name, format, compression)
    with source.filling() as file:
        file.write(content)
    return source


def files_of(logs: Sequence[str | Path], format: str | None) -> list[list[Source]]:
    """The files that each of some names stands for, with names that tell them apart.

    Args:
        logs: of files; of folders, which stand for all logs in them and below, in the order of
            their names; or patterns as ``part-*.csv``, with ``**`` for folders.
        format: one of :data:`FORMATS`; ``None``: by the suffix.

    Raises:
        FileNotFoundError: there is no such file, or none in a folder, or that fits a pattern.
        ValueError: a file is named twice; its suffix says no format.
    """
    expanded = [list(_expanded(str(log), format)) for log in logs]
    sources = [source for files in expanded for source in files]
    paths = [str(source.path) for source in sources if source.path is not None]
    twice = repeated_values(paths)
    if len(twice):
        raise ValueError(
            f"{str(twice[0])!r} is named more than once; each row is a round of its own."
        )
    if len({source.name for source in sources}) < len(sources) and len(paths) > 1:
        above = os.path.commonpath([os.path.abspath(path) for path in paths])  # noqa: PTH100
        for source in sources:
            if source.path is not None:
                source.name = source.path.absolute().relative_to(above).as_posix()
    return expanded


def _expanded(log: str, format: str | None) -> Iterator[Source]:
    path = Path(log)
    if path.is_file():
        yield Source(path, format)
        return
    if path.is_fifo():  # which a shell makes of <(command)
        with path.open("rb") as pipe:
            yield spooled(pipe, path.name, format or "csv")
        return
    if path.is_dir():
        root, found = path, [path]
    else:
        found = [Path(name) for name in sorted(glob.glob(log, recursive=True))]  # noqa: PTH207
        fixed = list(_before_magic(path))
        root = Path(*fixed) if fixed else Path()
    files = [file for one in found for file in ([one] if one.is_file() else _below(one, format))]
    if not files:
        what = "table in the folder" if path.is_dir() else "file at"
        raise FileNotFoundError(f"There is no {what} {shown_path(log)}.")
    for file in files:
        yield Source(file, format, _partition(file.relative_to(root).parts[:-1]))


def _before_magic(path: Path) -> Iterator[str]:
    for part in path.parts:
        if glob.has_magic(part):
            return
        yield part


def _below(folder: Path, format: str | None) -> list[Path]:
    """Logs in a folder and below; neither files nor folders that begin with _ or a point."""
    return [
        path
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        and not any(part.startswith(("_", ".")) for part in path.relative_to(folder).parts)
        and (format is not None or _suffix(path)[0] in _LOGS_IN_FOLDERS)
    ]


def _partition(folders: Sequence[str]) -> dict[str, str | None]:
    """Columns that folders name, as writers of partitioned tables do: ``day=2024-05-01``."""
    pairs = [folder.partition("=") for folder in folders]
    return {
        unquote(name): None if value == _NO_PARTITION else unquote(value)
        for name, mark, value in pairs
        if mark and name
    }


def _suffix(path: Path) -> tuple[str, str | None]:
    """The suffix that says the format, and that of packing."""
    last = path.suffix.lower()
    if last in COMPRESSIONS:
        return Path(path.stem).suffix.lower(), last
    return last, None


def _format_of(path: Path, named: str | None) -> tuple[str, str | None]:
    suffix, packing = _suffix(path)
    if named is not None and named not in FORMATS:
        raise unknown_name("--input-format", named, FORMATS)
    format = named or SUFFIXES.get(suffix)
    if format is None:
        raise ValueError(
            f"{path.name!r} has suffix {shown(suffix)}; known: {', '.join(SUFFIXES)}, and of text "
            f"{' and '.join(COMPRESSIONS)} after it. Or name its format by --input-format: "
            f"{', '.join(FORMATS)}."
        )
    if packing is not None and format not in _PACKED:
        raise ValueError(f"{path.name!r} is packed; unpack it: {format} packs its columns itself.")
    return format, COMPRESSIONS[packing] if packing else None
