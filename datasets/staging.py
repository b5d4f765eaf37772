"""Write a Minari dataset under a temporary name, and move it into place in one step."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from minari.dataset.minari_dataset import parse_dataset_id
from minari.namespace import create_namespace, list_local_namespaces

from recsim_drpo.core.files import exchange, staged, sweep
from recsim_drpo.core.messages import shown
from recsim_drpo.datasets.root import ROOT as _ROOT, check_root, dataset_folder


@contextmanager
def minari_root(folder: str | Path) -> Iterator[None]:
    """Let Minari keep its datasets in ``folder`` within the block, and then where it did before."""
    before = os.environ.get(_ROOT)
    os.environ[_ROOT] = str(Path(folder).resolve())
    try:
        yield
    finally:
        if before is None:
            del os.environ[_ROOT]
        else:
            os.environ[_ROOT] = before


@contextmanager
def temporary_root() -> Iterator[Path]:
    """A folder for datasets that are needed for a block; it goes afterwards.

    What a killed process left of another goes when one is next made.
    """
    with staged(Path(tempfile.gettempdir()) / "recsim-drpo", alone=False) as folder:
        folder.mkdir()
        yield folder


def sweep_datasets() -> None:
    """Remove what killed processes left of datasets that they were making, of whatever id."""
    sweep(dataset_folder())


def check_id(dataset_id: str, *, replace: bool = False) -> None:
    """Raise ``ValueError`` unless a dataset of that id can be made: well-formed, and not there.

    With ``replace`` it may be there, if it is a dataset.
    """
    check_root()
    check_name(dataset_id)
    _check_absent(dataset_id, replace)


def check_name(dataset_id: str) -> None:
    """Raise ``ValueError`` unless an id of a dataset is well-formed."""
    try:
        parse_dataset_id(dataset_id)
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"dataset_id={shown(dataset_id)} is not a Minari id; write (namespace/)name-v0 in "
            "letters, digits, '-' and '_', a namespace of at least two."
        ) from error


def _check_absent(dataset_id: str, replace: bool) -> None:
    path, root = dataset_folder(dataset_id), dataset_folder()
    for parent in path.parents:
        if parent != root and parent.is_relative_to(root) and (parent / "data").exists():
            raise ValueError(f"dataset_id={dataset_id!r} lies inside the dataset {parent.name!r}.")
    if path.exists() and not (replace and (path / "data").is_dir()):
        raise ValueError(
            f"There is a dataset {dataset_id!r} already; choose another version, or delete it with "
            f"minari.delete_dataset({dataset_id!r})."
        )


@contextmanager
def new_dataset(
    dataset_id: str, what: str, needed: int, *, replace: bool = False
) -> Iterator[Path]:
    """A folder to fill, which becomes the dataset if the block ends well and else is removed.

    Args:
        dataset_id: checked by :func:`check_id`.
        what: what is written, in words: "200,000 rounds".
        needed: estimated size of the dataset, in bytes.
        replace: take the place of a dataset of that id, which stays until then.

    Raises:
        ValueError: there is a dataset of that id by now.
        OSError: the folder cannot be written or the disk is (or would be) full; nothing is left.
        RuntimeError: another process is making this dataset.
    """
    root = dataset_folder().resolve()  # absolute: Minari's storage stumbles over relative paths
    busy = (
        f"Another process is generating {dataset_id!r} right now; wait for it, or choose another "
        "id."
    )
    _check_disk(root, what, needed)
    try:
        with staged(root / dataset_id.replace("/", "__"), busy=busy) as staging:
            _check_absent(dataset_id, replace)
            staging.mkdir()
            yield staging
            _publish(staging, root / dataset_id, dataset_id)
    except OSError as error:
        raise _explained(error, root, needed) from error


def _check_disk(root: Path, what: str, needed: int) -> None:
    free = shutil.disk_usage(root).free
    if free < needed:
        raise OSError(
            errno.ENOSPC,
            f"{what} need about {needed / 1e9:.2f} GB and {free / 1e9:.2f} GB are "
            f"free at {str(root)!r}; free some, take fewer rounds, or set MINARI_DATASETS_PATH",
        )


def _explained(error: OSError, root: Path, needed: int) -> OSError:
    """The same error with a message that names the folder and what to do."""
    if error.errno == errno.ENOSPC and "MINARI_DATASETS_PATH" in str(error):
        return error
    return OSError(
        error.errno or errno.EIO,
        f"Could not write the dataset (about {needed / 1e9:.2f} GB) under {str(root)!r}: "
        f"{error.strerror or error}. Nothing was left behind; make room or make the folder "
        "writable, or set MINARI_DATASETS_PATH",
    )


def _publish(staging: Path, target: Path, dataset_id: str) -> None:
    """Move the finished dataset to where Minari lists it, in one step."""
    namespace = parse_dataset_id(dataset_id)[0]
    if namespace is not None and namespace not in list_local_namespaces():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                create_namespace(namespace)
            except ValueError:  # another process was quicker
                if namespace not in list_local_namespaces():
                    raise
    if target.exists():
        exchange(staging, target)
    else:
        staging.rename(target)
