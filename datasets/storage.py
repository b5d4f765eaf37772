"""Datasets in a place that all machines see: a path, or a URI that pyarrow's filesystems know.

A dataset ``ns/name-v0`` is there as its folder, as Minari has it, and beside its files a manifest
with their sizes and SHA-256, which is written last: without it there is no dataset. So none is seen
in part, on stores too that know neither folders nor renaming.
"""

from __future__ import annotations

import hashlib
import json
import posixpath
import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated, Any

from minari import MinariDataset
from pydantic import Field

from recsim_drpo.core.messages import one_line, shown
from recsim_drpo.core.schemas import Described, object_of
from recsim_drpo.core.tables import require_pyarrow
from recsim_drpo.datasets.carried import PIECE_BYTES, check_names, files_in
from recsim_drpo.datasets.root import dataset_folder
from recsim_drpo.datasets.soundness import open_dataset
from recsim_drpo.datasets.staging import check_id, minari_root, new_dataset, temporary_root
from recsim_drpo.datasets.together import opened

MANIFEST = "recsim-drpo.json"

_EXAMPLES = "/mnt/logs, s3://bucket/logs, gs://bucket/logs or hdfs://host:8020/logs"


class _Manifest(Described):
    """What the manifest of a dataset says."""

    dataset: str
    files: dict[str, Annotated[list[int | str], Field(min_length=2, max_length=2)]]
    about: dict[str, Any]


class Storage:
    """Datasets in a folder of a filesystem of pyarrow.

    Args:
        place: a path, or a URI such as ``s3://bucket/logs``.

    Raises:
        ValueError: pyarrow is missing; the URI is none that it knows, or cannot be reached.
    """

    def __init__(self, place: str) -> None:
        self.place = place
        require_pyarrow("--storage needs")
        self._files, self._folder = _filesystem(place)

    @property
    def folder_here(self) -> str | None:
        """The folder, if it is one of this machine's file system."""
        return self._folder if self._files.type_name == "local" else None

    def has(self, dataset_id: str) -> bool:
        """Whether there is a whole dataset of that id."""
        with self._reached():
            return bool(self._files.get_file_info(self._at(dataset_id, MANIFEST)).is_file)

    def manifest(self, dataset_id: str) -> dict[str, Any]:
        """The manifest of a dataset: ``dataset``, ``files`` by name, and what is said ``about`` it.

        Raises:
            FileNotFoundError: there is no such dataset.
            ValueError: it is damaged, or the storage cannot be reached.
        """
        if not self.has(dataset_id):
            raise FileNotFoundError(
                f"There is no dataset {shown(dataset_id)} in the storage {shown(self.place)}: its "
                f"{MANIFEST} is missing. Put it there by recsim-drpo generate or import --storage, "
                "or from Python by put_dataset."
            )
        with self._reached(), self._files.open_input_stream(self._at(dataset_id, MANIFEST)) as file:
            content = file.read()
        with tempfile.NamedTemporaryFile() as copy:
            Path(copy.name).write_bytes(content)
            try:
                found = object_of(Path(copy.name), _Manifest)
            except ValueError as error:
                raise self._damaged(dataset_id, one_line(error)) from error
        check_names(found["files"], f"The manifest of {shown(dataset_id)}")
        if found["dataset"] != dataset_id:
            raise self._damaged(dataset_id, f"it is of {shown(found['dataset'])}")
        return found

    def put(self, folder: Path, dataset_id: str, about: dict[str, Any] | None = None) -> None:
        """Put a dataset's folder into the storage; one that is there with the same bytes stays.

        Raises:
            ValueError: there is another of that id already; the storage cannot be reached.
        """
        files = files_in(folder)
        if self.has(dataset_id):
            there = self.manifest(dataset_id)["files"]
            if {name: tuple(of) for name, of in there.items()} == files:
                return
            self.check_absent(dataset_id)
        for name in files:
            with (folder / name).open("rb") as mine, self._reached():
                self._files.create_dir(posixpath.dirname(self._at(dataset_id, name)))
                with self._files.open_output_stream(self._at(dataset_id, name)) as theirs:
                    while data := mine.read(PIECE_BYTES):
                        theirs.write(data)
        manifest = {"dataset": dataset_id, "files": files, "about": about or {}}
        partial = self._at(dataset_id, f"{MANIFEST}.partial")
        with self._reached():
            with self._files.open_output_stream(partial) as file:
                file.write(json.dumps(manifest, indent=1).encode())
            self._files.move(partial, self._at(dataset_id, MANIFEST))

    def check_sizes(self, dataset_id: str) -> None:
        """Raise ``ValueError`` unless the files of a dataset have the sizes that they should.

        Raises:
            FileNotFoundError, ValueError: as :meth:`manifest`.
        """
        for name, (size, _) in self.manifest(dataset_id)["files"].items():
            with self._reached():
                found = self._files.get_file_info(self._at(dataset_id, name)).size
            if found != size:
                raise self._damaged(dataset_id, f"{name!r} is not as it was put there")

    def check_absent(self, dataset_id: str) -> None:
        """Raise ``ValueError`` if there is a dataset of that id."""
        if self.has(dataset_id):
            raise ValueError(
                f"There is a dataset {dataset_id!r} already in the storage {shown(self.place)}; "
                "choose another version, or remove its folder."
            )

    def fetch(self, dataset_id: str) -> MinariDataset:
        """Copy a dataset from the storage to where Minari keeps its own; it appears whole or not.

        Raises:
            FileNotFoundError: there is no such dataset.
            ValueError: there is one of the id here already; it is damaged, or not as its manifest
                says; the storage cannot be reached.
            OSError: the disk is full.
        """
        check_id(dataset_id)
        files = self.manifest(dataset_id)["files"]
        size = sum(int(size) for size, _ in files.values())
        with new_dataset(dataset_id, f"its {len(files)} files", int(1.02 * size)) as staging:
            for name, (_, expected) in files.items():
                target = staging / name
                target.parent.mkdir(parents=True, exist_ok=True)
                digest = hashlib.sha256()
                with target.open("wb") as copy:
                    for data in self._read(self._at(dataset_id, name)):
                        digest.update(data)
                        copy.write(data)
                if digest.hexdigest() != expected:
                    raise self._damaged(dataset_id, f"{name!r} is not as it was put there")
        return open_dataset(dataset_id)

    def _read(self, source: str) -> Iterator[bytes]:
        """The bytes of a file in the storage."""
        with ExitStack() as stack:
            with self._reached():
                file = stack.enter_context(self._files.open_input_stream(source))
            data = b"first"
            while data:
                with self._reached():
                    data = file.read(PIECE_BYTES)
                yield data

    def _at(self, dataset_id: str, name: str) -> str:
        return posixpath.join(self._folder, dataset_id, name)

    def _damaged(self, dataset_id: str, why: str) -> ValueError:
        return ValueError(
            f"The dataset {shown(dataset_id)} in the storage {shown(self.place)} is damaged: "
            f"{why}. Remove its folder there, and put it there anew."
        )

    @contextmanager
    def _reached(self) -> Iterator[None]:
        """Turn what a filesystem raises into one ``ValueError``."""
        try:
            yield
        except (OSError, NotImplementedError) as error:
            raise ValueError(
                f"The storage {shown(self.place)} cannot be used ({one_line(error)})."
            ) from error


def _filesystem(place: str) -> tuple[Any, str]:
    """A filesystem of pyarrow, and the path in it."""
    from pyarrow import ArrowException, fs

    if "://" not in place and not re.match(r"[A-Za-z][\w+.-]+:", place):
        if not place.strip():
            raise ValueError(f"--storage is empty; name a folder: {_EXAMPLES}.")
        return fs.LocalFileSystem(), str(Path(place).resolve())
    try:
        found: tuple[Any, str] = fs.FileSystem.from_uri(place)
    except (ArrowException, OSError, ValueError, ImportError) as error:
        raise ValueError(
            f"--storage {shown(place)} is no folder that pyarrow knows ({one_line(error)}); name "
            f"one such as {_EXAMPLES}."
        ) from error
    return found


def place_of(dataset_id: str, storage: str | None) -> str:
    """Where a dataset is, in words: its folder here, or in a storage."""
    if storage is None:
        return str(dataset_folder(dataset_id))
    return f"{storage.rstrip('/')}/{dataset_id}"


@contextmanager
def put_after(dataset_id: str, storage: str | None, *, replace: bool = False) -> Iterator[None]:
    """Let the dataset that is made in the block be put into a storage, not kept here.

    Args:
        dataset_id: its id.
        storage: see :class:`Storage`; ``None``: it is kept here.
        replace: whether it is to take another's place, which no storage can do in one step.

    Raises:
        ValueError: there is one of that id in the storage, or it cannot be used.
    """
    if storage is None:
        yield
        return
    if replace:
        raise ValueError("--replace is of datasets here; remove the one in --storage beforehand.")
    kept = Storage(storage)
    kept.check_absent(dataset_id)
    with temporary_root() as folder, minari_root(folder):
        yield
        kept.put(dataset_folder(dataset_id), dataset_id)


def put_dataset(dataset_id: str, storage: str) -> None:
    """Copy a local dataset into a storage.

    Raises:
        FileNotFoundError: there is no such dataset.
        ValueError: it is damaged; there is one of that id in the storage, or it cannot be used.
    """
    open_dataset(dataset_id)
    Storage(storage).put(dataset_folder(dataset_id), dataset_id)


def fetch_dataset(dataset_id: str, storage: str) -> MinariDataset:
    """Copy a dataset from a storage to where Minari keeps its own.

    Raises:
        FileNotFoundError, OSError, ValueError: as :meth:`Storage.fetch`.
    """
    return Storage(storage).fetch(dataset_id)


@contextmanager
def fetched(dataset_ids: Sequence[str], storage: str) -> Iterator[list[MinariDataset]]:
    """Datasets of one world in a storage, opened within the block.

    In a folder of this machine's file system they are read where they are, once their sizes are
    checked; a temporary folder has those of any other.

    Raises:
        FileNotFoundError, OSError, ValueError: as :meth:`Storage.fetch` and
            :func:`.together.opened`.
    """
    kept = Storage(storage)
    for each in dataset_ids:
        kept.check_sizes(each)
    with ExitStack() as stack:
        folder = kept.folder_here
        if folder is None:
            folder = str(stack.enter_context(temporary_root()))
        with minari_root(folder):
            for each in [] if kept.folder_here else dict.fromkeys(dataset_ids):
                kept.fetch(each)
            found = opened(dataset_ids)
        yield found
