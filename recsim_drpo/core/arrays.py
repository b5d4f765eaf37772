"""Read arrays from files: NumPy's .npy and .npz, and safetensors, none of which can run code.

What a file declares is compared with its bytes before anything is allocated, and what is packed is
not unpacked where it declares to become very much larger. Objects, that is pickles, are refused.
"""

from __future__ import annotations

import math
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from recsim_drpo.core.messages import one_line, shown

UNPACKED_FREELY = 2**28
"""The bytes that an archive may unpack to, however small it is."""

MOST_UNPACKED = 64
"""Beyond them, how many times its own size an archive may unpack to."""

_NPY = np.lib.format


@contextmanager
def _reading(path: Path, what: str) -> Iterator[None]:
    """Turn whatever a reader raises about damaged bytes into one ``ValueError`` on one line."""
    try:
        yield
    except MemoryError as error:
        raise ValueError(f"{path.name!r} does not fit into memory.") from error
    except Exception as error:  # NumPy, tokenize, zipfile, zlib and safetensors have their own
        raise ValueError(
            f"{path.name!r} is not a readable {what} ({one_line(error).rstrip('.')})."
        ) from error


def read_npy(path: Path) -> NDArray[Any]:
    """The array of a .npy file, memory-mapped and not to be written to.

    Raises:
        ValueError: it is another file, or cut short, or holds objects.
    """
    with _reading(path, ".npy file"):
        with path.open("rb") as file:
            if file.read(4) == b"PK\x03\x04":
                raise ValueError("it is an archive; call it .npz")
            file.seek(0)
            _check_npy(file, path.stat().st_size)
        array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
        return _of_characters(array)


def read_npz(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of a .npz file by name.

    Raises:
        ValueError: it is another file or damaged, holds objects, or would become more than 256 MiB
            and 64 times its size.
    """
    with _reading(path, ".npz file"):
        most = max(UNPACKED_FREELY, MOST_UNPACKED * path.stat().st_size)
        with zipfile.ZipFile(path) as archive:
            declared = sum(member.file_size for member in archive.infolist())
            if declared > most:
                raise ValueError(
                    f"it declares {declared:,} bytes in an archive of {path.stat().st_size:,}; "
                    "keep such arrays unpacked, by np.savez"
                )
            for member in archive.infolist():
                if not member.filename.endswith(".npy"):
                    raise ValueError(f"{shown(member.filename)} in it is no .npy")
                with archive.open(member) as file:
                    _check_npy(file, member.file_size)
        with np.load(path, allow_pickle=False) as arrays:
            return {name: _of_characters(arrays[name]) for name in arrays.files}


def read_safetensors(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of a safetensors file by name.

    Raises:
        ValueError: it is another file or damaged, or has a type that NumPy has not.
    """
    from safetensors.numpy import load_file

    with _reading(path, ".safetensors file"):
        arrays: dict[str, NDArray[Any]] = load_file(path)
        return arrays


def _of_characters(array: NDArray[Any]) -> NDArray[Any]:
    """An array itself; ``ValueError`` if it is of text and has what is no character."""
    if array.dtype.kind == "U" and array.size:
        codes = np.frombuffer(array.astype(array.dtype.newbyteorder("=")).tobytes(), np.uint32)
        if codes.max(initial=0) > sys.maxunicode:
            raise ValueError("its text has what is no character")
    return array


def _check_npy(file: IO[bytes], size: int) -> None:
    """Raise ``ValueError`` unless a .npy of so many bytes has a header and the data it declares."""
    version = _NPY.read_magic(file)
    read = _NPY.read_array_header_1_0 if version == (1, 0) else _NPY.read_array_header_2_0
    shape, _, dtype = read(file)
    if dtype.hasobject:
        raise ValueError("it holds Python objects, which would run code; save numbers or text")
    if any(length < 0 for length in shape):
        raise ValueError(f"its header declares the shape {shown(shape)}")
    declared, there = math.prod(shape) * dtype.itemsize, size - file.tell()
    if declared > there:
        raise ValueError(
            f"its header declares {shown(shape)} of {dtype}, {declared:,} bytes, and {there:,} "
            "are there"
        )
