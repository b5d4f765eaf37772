"""Whether a Minari dataset is sound: the one place where its files are opened and checked.

What a file declares is compared with what it holds before anything is allocated; whatever HDF5,
Minari or Gymnasium raise about damaged bytes becomes one line that names the dataset and the mend.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import h5py
import minari
import numpy as np
from minari import EpisodeData, MinariDataset
from minari.data_collector import EpisodeBuffer
from minari.dataset.minari_dataset import parse_dataset_id
from numpy.typing import NDArray

from recsim_drpo.core.messages import one_line, shown
from recsim_drpo.core.schemas import (
    check_shape,
    read_json,
)
from recsim_drpo.core.validation import unknown_name
from recsim_drpo.datasets.metadata import DatasetMetadata
from recsim_drpo.datasets.root import dataset_folder

_METADATA, _HDF5 = "metadata.json", "main_data.hdf5"
_COLUMNS = ("observations", "actions", "rewards", "terminations", "truncations")
_MOST_COMPRESSED = 1100  # deflate, the strongest filter of HDF5, makes 1,032 bytes of one
_SLACK = 4096
_KINDS = "biuf"
_WIDEST = 8  # bytes of a number that torch knows


class DamagedDatasetError(ValueError):
    """A dataset that is damaged, or of another program, so that it cannot be read.

    Args:
        name: the dataset's id.
        why: what is wrong with it.
    """

    def __init__(self, name: str, why: str) -> None:
        super().__init__(
            f"Dataset {name!r} is damaged: {why}. Delete it, minari.delete_dataset({name!r}), and "
            "generate or import it again."
        )


def open_dataset(dataset_id: str) -> MinariDataset:
    """The local Minari dataset of that id.

    Raises:
        FileNotFoundError: it is not there; says where it was looked for.
        ValueError, OSError: as :func:`.root.dataset_folder`.
        DamagedDatasetError: it is there and cannot be read.
    """
    folder = dataset_folder(dataset_id)
    if not (folder / "data").exists():
        raise FileNotFoundError(
            f"There is no local dataset {dataset_id!r} under {str(dataset_folder())!r}; make it "
            "by recsim-drpo generate, or set MINARI_DATASETS_PATH to where it is."
        )
    with soundly(dataset_id):
        metadata = _checked_metadata(dataset_id, folder / "data")
        _check_id(dataset_id, metadata["dataset_id"])
        for name in ("observation_space", "action_space"):
            _check_space(dataset_id, name, json.loads(metadata[name]))
        _check_episodes(dataset_id, folder / "data", metadata)
        return minari.load_dataset(dataset_id)


def metadata_of(dataset: MinariDataset) -> dict[str, Any]:
    """The metadata of a dataset, as JSON has them, checked by :class:`DatasetMetadata`.

    Raises:
        DamagedDatasetError: they are not readable, or of another shape.
    """
    with soundly(dataset.id):
        return _checked_metadata(dataset.id, Path(dataset.storage.data_path))


def num_transitions(dataset: MinariDataset) -> int:
    """The number of transitions of a dataset, by the length of its columns of rewards.

    Raises:
        DamagedDatasetError: its metadata say another number, or an episode has none.
    """
    if not (Path(dataset.storage.data_path) / _HDF5).is_file():
        return int(dataset.total_steps)
    total = int(episode_lengths(dataset).sum())
    with soundly(dataset.id):
        whole = dataset.total_episodes == int(dataset.storage.total_episodes)
        declared = int(dataset.storage.total_steps) if whole else total
        if total != declared:
            raise DamagedDatasetError(
                dataset.id,
                f"it says {declared:,} transitions but holds {total:,}",
            )
        return total


def episode_lengths(dataset: MinariDataset) -> NDArray[np.int64]:
    """The number of transitions of each episode of a dataset, by its column of rewards: int64 (E,).

    Raises:
        DamagedDatasetError: an episode is not there.
    """
    path, numbers = Path(dataset.storage.data_path) / _HDF5, dataset.episode_indices
    with soundly(dataset.id):
        if not path.is_file():
            episodes = dataset.storage.get_episode_metadata(numbers)
            return np.array([int(each["total_steps"]) for each in episodes], dtype=np.int64)
        lengths = np.zeros(len(numbers), dtype=np.int64)
        if len(numbers):
            with h5py.File(path, "r") as file:
                for k, number in enumerate(numbers):
                    extent = _extent(_member(dataset.id, file, f"episode_{number}/rewards"))
                    lengths[k] = extent[0] if extent else 0
        return lengths


def episodes_of(
    dataset: MinariDataset, indices: Iterable[int] | None = None
) -> Iterator[EpisodeData]:
    """The episodes of a dataset, or those of some numbers, each checked before it is read.

    Raises:
        DamagedDatasetError: an episode cannot be read, or does not hold together.
    """
    numbers = [int(number) for number in dataset.episode_indices] if indices is None else [*indices]
    if not numbers:
        return
    path = Path(dataset.storage.data_path) / _HDF5
    with soundly(dataset.id):
        sizes = _SizeCheck(dataset.id, path) if path.is_file() else None
        episodes = iter(dataset.iterate_episodes(numbers))
    try:
        for number in numbers:
            with soundly(dataset.id):
                if sizes is not None:
                    sizes.check(number)
                episode = next(episodes)
                check_episode(dataset.id, number, episode)
            yield episode
    finally:
        if sizes is not None:
            sizes.close()


def check_episode(name: str, number: int, episode: EpisodeData | EpisodeBuffer) -> None:
    """Raise :class:`DamagedDatasetError` unless the columns of an episode are of one length.

    Args:
        name: of the dataset.
        number: of the episode.
        episode: of a dataset with Box spaces; of others only the columns of numbers are checked.
    """
    length = len(episode.rewards)
    for column in _COLUMNS:
        values = getattr(episode, column)
        if isinstance(values, dict | tuple | list) and column in ("observations", "actions"):
            continue  # of a space that is no Box
        array = np.asarray(values)
        kinds = "biu" if column in ("terminations", "truncations") else _KINDS
        if array.dtype.kind not in kinds and column not in ("observations", "actions"):
            raise DamagedDatasetError(
                name, f"episode {number}: its {column} are of type {array.dtype}"
            )
        due = length + (column == "observations")
        if array.ndim == 0 or len(array) != due:
            rows = 0 if array.ndim == 0 else len(array)
            more = " where one more is due" if column == "observations" else ""
            raise DamagedDatasetError(
                name, f"episode {number}: {length} rewards and {rows} {column}{more}"
            )
        if column not in ("observations", "actions") and array.ndim != 1:
            raise DamagedDatasetError(
                name, f"episode {number}: its {column} are an array of shape {array.shape}"
            )


def flat_rows(name: str, what: str, values: object, length: int, width: int) -> NDArray[Any]:
    """Rows of numbers (length, width) of a column of observations or actions of an episode.

    Raises:
        DamagedDatasetError: they are no numbers, or not so many.
    """
    array = np.asarray(values)
    if array.dtype.kind not in _KINDS or array.size != length * width:
        raise DamagedDatasetError(
            name,
            f"{what} of {array.dtype}, {array.shape}, are not {length} rows of {width} numbers",
        )
    return array.reshape(length, width)


def info_column(name: str, episode: EpisodeData | EpisodeBuffer, column: str) -> NDArray[Any]:
    """The values (n, …) of an info column that belong to the n actions of an episode.

    Raises:
        ValueError: there is no such column; names the nearest and lists them.
        DamagedDatasetError: it is of another length, or not of numbers.
    """
    infos, length = episode.infos or {}, len(episode.rewards)
    values = infos.get(column)
    if values is not None and not isinstance(values, np.ndarray | dict):
        raise DamagedDatasetError(name, f"its info column {shown(column)} is {shown(values)}")
    if not isinstance(values, np.ndarray):
        known = [key for key, array in infos.items() if isinstance(array, np.ndarray)]
        raise unknown_name(f"info column of dataset {name!r}", column, known)
    if values.ndim == 0 or len(values) != length + 1:
        raise DamagedDatasetError(
            name,
            f"its info column {shown(column)} has the shape {values.shape}, not {length + 1} rows",
        )
    if values.dtype.kind not in _KINDS or values.dtype.itemsize > _WIDEST:
        raise DamagedDatasetError(
            name, f"its info column {shown(column)} is of type {values.dtype}, not of numbers"
        )
    rows: NDArray[Any] = values[1:]
    return rows


@contextmanager
def soundly(name: str) -> Iterator[None]:
    """Turn whatever reading a dataset raises into a :class:`DamagedDatasetError`.

    Errors of this kind, and files that are not there or may not be read, pass unchanged.

    Raises:
        DamagedDatasetError: it cannot be read.
        ValueError: it does not fit into memory.
    """
    try:
        yield
    except (DamagedDatasetError, FileNotFoundError, PermissionError):
        raise
    except MemoryError as error:
        raise ValueError(
            f"Dataset {name!r} does not fit into memory; split it, or read it on a larger machine."
        ) from error
    except Exception as error:  # HDF5, Minari, Gymnasium and NumPy have many
        what = "" if isinstance(error, ValueError | OSError) else f"{type(error).__name__}: "
        raise DamagedDatasetError(name, what + one_line(error).rstrip(".")) from error


def _checked_metadata(name: str, data: Path) -> dict[str, Any]:
    path = data / _METADATA
    if not path.is_file():
        raise DamagedDatasetError(name, f"its {_METADATA} is missing")
    stat = path.stat()
    text = _read_metadata(name, path, stat.st_mtime_ns, stat.st_size)
    metadata: dict[str, Any] = json.loads(text)
    return metadata


@lru_cache(maxsize=8)
def _read_metadata(name: str, path: Path, changed: int, size: int) -> str:
    """The text of a file of metadata that is sound; a file that changed is read anew."""
    try:
        values = read_json(path)
        check_shape(DatasetMetadata, values)
    except ValueError as error:
        raise DamagedDatasetError(name, f"{_METADATA}: {error}") from error
    return json.dumps(values)


def _check_id(name: str, declared: str) -> None:
    try:
        parse_dataset_id(declared)
    except (TypeError, ValueError) as error:
        raise DamagedDatasetError(
            name, f"{_METADATA}: dataset_id={shown(declared)} is no id"
        ) from error


def _check_space(name: str, what: str, space: Any) -> None:
    """Raise unless a Box declares as many bounds as it has dimensions, of a type of numbers."""
    parts = space["subspaces"] if space["type"] in ("Dict", "Tuple") else []
    for part in parts.values() if isinstance(parts, dict) else parts:
        _check_space(name, what, part)
    if space["type"] != "Box":
        return
    shape = space["shape"]
    bounds = [np.shape(space[side]) for side in ("low", "high")]
    dtype = np.dtype(space["dtype"])
    if dtype.kind not in _KINDS or any(list(found) != list(shape) for found in bounds):
        raise DamagedDatasetError(
            name,
            f"{_METADATA}: its {what} is of {shown(space['dtype'])} and shape {shown(shape)}, its "
            f"bounds have {shown(bounds[0])} and {shown(bounds[1])}",
        )


def _check_episodes(name: str, data: Path, metadata: dict[str, Any]) -> None:
    """Raise unless there are as many episodes as are declared."""
    declared = metadata["total_episodes"]
    if metadata["data_format"] == "hdf5":
        path = data / _HDF5
        if not path.is_file():
            raise DamagedDatasetError(name, f"its {_HDF5} is missing")
        there = 0
        if path.stat().st_size:
            with h5py.File(path, "r") as file:
                there = len(file)
    else:
        there = sum(entry.is_dir() for entry in data.iterdir())
    if declared != there:
        raise DamagedDatasetError(name, f"it says {declared:,} episodes but holds {there:,}")


class _SizeCheck:
    """Compares what columns declare with the bytes that are there, in an HDF5 file.

    Args:
        name: of the dataset.
        path: of the file.
    """

    def __init__(self, name: str, path: Path) -> None:
        self._name, self._file = name, h5py.File(path, "r")

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def check(self, number: int) -> None:
        """Raise unless an episode has its columns, each with the bytes that it declares."""
        name = f"episode_{number}"
        group = _member(self._name, self._file, name)
        if not isinstance(group, h5py.h5g.GroupID):
            raise DamagedDatasetError(self._name, f"{name} is no group")
        there = {key.decode("utf-8", "replace") for key in group}
        for column in _COLUMNS:
            if column not in there:
                raise DamagedDatasetError(self._name, f"{name} has no {column}")
        self._check_sizes(name, group)

    def _check_sizes(self, place: str, group: Any) -> None:
        for key in group:
            member = h5py.h5o.open(group, key)
            if isinstance(member, h5py.h5g.GroupID):
                self._check_sizes(f"{place}/{key.decode('utf-8', 'replace')}", member)
            elif isinstance(member, h5py.h5d.DatasetID):
                declared = math.prod(_extent(member)) * int(member.get_type().get_size())
                stored = member.get_storage_size()
                if declared > stored and declared > _most_bytes(member, stored):
                    raise DamagedDatasetError(
                        self._name,
                        f"{place}/{key.decode('utf-8', 'replace')} declares {declared:,} bytes, of "
                        f"which {stored:,} are there",
                    )


def _most_bytes(dataset: Any, stored: int) -> int:
    """The most bytes that so many on the disk can be, with the filters of a dataset of HDF5."""
    filtered = dataset.get_create_plist().get_nfilters() > 0
    return stored * (_MOST_COMPRESSED if filtered else 1) + _SLACK


def _extent(dataset: Any) -> tuple[int, ...]:
    if not isinstance(dataset, h5py.h5d.DatasetID):
        return ()
    return tuple(dataset.get_space().get_simple_extent_dims() or ())


def _member(name: str, file: h5py.File, path: str) -> Any:
    """What is in a file under a path, by HDF5's own interface, which is quicker than h5py's."""
    try:
        return h5py.h5o.open(file.id, path.encode())
    except KeyError as error:
        raise DamagedDatasetError(name, f"it has no {path}") from error
