"""Indexes in files: one folder each, which appears whole, names its catalogue and is checked.

Beside a file of vectors, and for drawn catalogues, the same rule: indexes are kept below one folder
of the machine, ``$RECSIM_DRPO_INDEXES`` or else ``$XDG_CACHE_HOME/recsim_drpo/indexes``, which is
``~/.cache/recsim_drpo/indexes`` by default, each in ``CHECKSUM/FACTORY``, by the catalogue's
checksum. Whatever is there may be deleted: it is built anew.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from filelock import FileLock

from recsim_drpo.core.files import atomic_dir, write_atomically
from recsim_drpo.core.memory import check_memory
from recsim_drpo.core.messages import one_line, shown
from recsim_drpo.simulator.faiss_engine import reason, require_faiss

INDEX, ABOUT = "index.faiss", "index.json"
"""Files of an index's folder: faiss's own, and what it is of."""

_FORMAT = "recsim_drpo.simulator.index_files/1"


class UnusableIndexError(ValueError):
    """Error for an index that is no index, is damaged, or is of another catalogue."""


def kept_indexes() -> Path:
    """The folder below which indexes are kept on this machine, as the environment says it now."""
    if own := os.environ.get("RECSIM_DRPO_INDEXES"):
        return Path(own)
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "recsim_drpo" / "indexes"


def kept_folder(checksum: str, factory: str) -> Path:
    """The folder of the index of a catalogue by a factory string."""
    plain = re.sub(r"[^A-Za-z0-9,]", "_", factory)[:60]
    if plain != factory:
        plain = f"{plain}-{hashlib.sha256(factory.encode()).hexdigest()[:8]}"
    return kept_indexes() / checksum[:32] / plain


def write_index(folder: Path, index: Any, factory: str, checksum: str) -> None:
    """Write an index, filled, into a folder that is not there yet and appears whole.

    Args:
        folder: where.
        index: of faiss.
        factory: its factory string.
        checksum: of the catalogue that it is of.

    Raises:
        FileExistsError, OSError: as :func:`recsim_drpo.core.files.atomic_dir`.
    """
    faiss = require_faiss()
    with atomic_dir(folder) as partial:
        try:
            faiss.write_index(index, str(partial / INDEX))
        except RuntimeError as error:
            raise OSError(f"The index cannot be written: {reason(error)}.") from error
        about = {
            "format": _FORMAT,
            "factory": factory,
            "catalogue_checksum": checksum,
            "shape": [int(index.ntotal), int(index.d)],
            "metric": "inner product",
            "sha256": _sha256(partial / INDEX),
            "faiss": faiss.__version__,
        }
        (partial / ABOUT).write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")


def read_about(folder: Path) -> dict[str, Any]:
    """What is told of an index in its folder.

    Raises:
        UnusableIndexError: it is no folder of an index.
    """
    try:
        about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
        if about["format"] != _FORMAT:
            raise ValueError(f"format {shown(about['format'])}, not {_FORMAT!r}")
        return {name: about[name] for name in ("factory", "catalogue_checksum", "shape", "sha256")}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UnusableIndexError(f"{str(folder)!r} holds no index: {one_line(error)}.") from error


def read_index(folder: Path, checksum: str) -> tuple[Any, str]:
    """An index and its factory string, from its folder.

    Raises:
        UnusableIndexError: it is no folder of an index, the file is truncated or otherwise not as
            it was written, or it is of another catalogue.
        ValueError: it would take more memory than there is.
    """
    about = read_about(folder)
    if about["catalogue_checksum"] != checksum:
        raise UnusableIndexError(
            f"The index in {str(folder)!r} is of the catalogue {about['catalogue_checksum'][:12]}…,"
            f" not of {checksum[:12]}…: write it anew, or name it by faiss:{about['factory']}."
        )
    # Before faiss reads it, which a damaged file can crash.
    try:
        whole = _sha256(folder / INDEX) == about["sha256"]
    except OSError as error:
        raise UnusableIndexError(f"{str(folder)!r} holds no index: {one_line(error)}.") from error
    if not whole:
        raise UnusableIndexError(
            f"{str(folder / INDEX)!r} is truncated, or not as it was written; write it anew."
        )
    size = (folder / INDEX).stat().st_size
    check_memory(f"The index in {str(folder)!r}", size, "name another decoder, or decode exactly")
    try:
        return require_faiss().read_index(str(folder / INDEX)), about["factory"]
    except RuntimeError as error:
        raise UnusableIndexError(
            f"This faiss cannot read {str(folder / INDEX)!r}: {reason(error)}."
        ) from error


def kept_index(checksum: str, factory: str, build: Callable[[], Any]) -> Any:
    """The index of a catalogue, from the machine's folder, or built and put there.

    One that is damaged, or cannot be read, is built anew; where nothing can be written, a
    ``UserWarning`` says so and nothing is kept. Of processes that want the same, one builds it.
    """
    folder = kept_folder(checksum, factory)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder.with_name(f".{folder.name}.lock"))
        lock.acquire()
    except OSError as error:
        _not_kept(folder, error)
        return build()
    try:
        return read_index(folder, checksum)[0]
    except UnusableIndexError:
        index = build()
        try:
            shutil.rmtree(folder, ignore_errors=True)
            write_index(folder, index, factory, checksum)
        except OSError as error:
            _not_kept(folder, error)
        return index
    finally:
        lock.release()


def kept_settings(
    checksum: str, factory: str, recall: float, tune: Callable[[], dict[str, float]]
) -> dict[str, float]:
    """Settings by which a kept index reaches a recall, as they were chosen first."""
    folder = kept_folder(checksum, factory)
    path = folder / f"recall-{recall:g}.json"
    try:
        return {str(k): float(v) for k, v in json.loads(path.read_text(encoding="utf-8")).items()}
    except (OSError, ValueError, AttributeError, TypeError):
        settings = tune()
    if folder.is_dir():
        try:
            write_atomically(path, json.dumps(settings) + "\n")
        except OSError as error:
            _not_kept(path, error)
    return settings


def _not_kept(path: Path, error: OSError) -> None:
    warnings.warn(
        f"The index is not kept in {str(path)!r} ({one_line(error)}), so the next process builds "
        "it again; RECSIM_DRPO_INDEXES names another folder.",
        stacklevel=3,
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
