"""Read item embeddings from a file: .npy, .npz, .safetensors, .parquet or delimited text.

A table (Parquet or text) holds each vector either in one *list column*, such as
``"0.1,-0.3,0.7"`` or ``[0.1, -0.3, 0.7]``, or in one column a dimension. Memory holds the vectors
and the ids; a .npy stays on the disk.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsim_drpo.core.arrays import read_npy, read_npz, read_safetensors
from recsim_drpo.core.messages import one_line, shown, shown_path
from recsim_drpo.core.table_headers import listed
from recsim_drpo.simulator.catalogue import check_ids
from recsim_drpo.simulator.vector_tables import as_ids, parse_vector as parse_vector, read_vectors

SUFFIXES = (".npy", ".npz", ".safetensors", ".parquet", ".csv", ".tsv", ".txt")

Embeddings = tuple[NDArray[Any], NDArray[Any]]


def load_embeddings(
    path: str | Path, *, id_column: str | None = None, vector_columns: str | None = None
) -> Embeddings:
    """Read embeddings and item ids.

    Args:
        path: a file; its suffix tells the format: ``.npy`` (N, d), memory-mapped; ``.npz`` with one
            2-d array, or one named ``embeddings`` and optionally ``item_ids``; ``.safetensors``
            likewise; ``.parquet``; ``.csv``, ``.tsv`` or ``.txt`` with a header line.
        id_column: the table's column of item ids. ``None``: ``item_id``, ``item`` or ``id`` if one
            is there, else the rows' numbers.
        vector_columns: the list column's name, or a shell pattern such as ``"emb_*"`` for one
            column a dimension, in the table's order. ``None``: the one list column if there is
            one, else every column but the ids, all of which must then be numbers.

    Returns:
        ``(embeddings, item_ids)``: floating array (N, d), not normalised and not checked for finite
        values (:class:`recsim_drpo.simulator.catalogue.Catalogue` does both), and array (N,).

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the format is unknown, or the file does not hold one vector a row.
    """
    path = Path(path)
    if not _is_file(path):
        raise FileNotFoundError(f"There is no embeddings file at {shown_path(path)}.")
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(
            f"Embeddings file {shown(path.name)} has suffix {shown(suffix)}; known: "
            f"{', '.join(SUFFIXES)}."
        )
    if suffix in (".npy", ".npz", ".safetensors"):
        for option, value in (("id_column", id_column), ("vector_columns", vector_columns)):
            if value is not None:
                raise ValueError(
                    f"{option}={shown(value)} is for tables; {shown(path.name)} has no columns."
                )
        vectors, ids = _load_arrays(path, suffix)
    else:
        vectors, ids = read_vectors(
            path,
            "parquet" if suffix == ".parquet" else "csv",
            id_column=id_column,
            vector_columns=vector_columns,
        )
    if vectors.ndim != 2 or 0 in vectors.shape:
        raise ValueError(
            f"{path.name!r} holds an array of shape {vectors.shape}; embeddings are (items, dims)."
        )
    if vectors.dtype.kind not in "biuf":
        raise ValueError(f"{path.name!r} holds vectors of {vectors.dtype}; they are real numbers.")
    if ids is None:
        ids = np.arange(len(vectors), dtype=np.int64)
    if ids.dtype.kind not in "iuSU":
        raise ValueError(f"{path.name!r} holds ids of {ids.dtype}; they are integers or text.")
    check_ids(ids, len(vectors), path.name)
    return vectors, ids


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # its name is too long
        return False


def load_item_ids(path: str | Path) -> NDArray[Any]:
    """Ids of the rows of an embeddings file that has none: ``.npy``, or text with one on a line.

    Returns:
        array (N,), of integers where all of them are, else of text.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it holds something else.
    """
    path = Path(path)
    if not _is_file(path):
        raise FileNotFoundError(f"There is no file of item ids at {shown_path(path)}.")
    if path.suffix.lower() != ".npy":
        try:
            return as_ids(path.read_text(encoding="utf-8-sig").splitlines())
        except (OSError, ValueError) as error:
            raise ValueError(
                f"{path.name!r} is not a readable file of ids ({one_line(error)})."
            ) from error
    ids = read_npy(path)
    if ids.ndim != 1 or ids.dtype.kind not in "iuSU":
        raise ValueError(f"{path.name!r} holds {ids.dtype} {ids.shape}; ids are (items,).")
    return ids


def _load_arrays(path: Path, suffix: str) -> tuple[NDArray[Any], NDArray[Any] | None]:
    if suffix == ".npy":
        return read_npy(path), None
    arrays = read_npz(path) if suffix == ".npz" else read_safetensors(path)
    matrices = [name for name, array in arrays.items() if array.ndim == 2]
    name = "embeddings" if "embeddings" in arrays else (matrices or [""])[0]
    if not name or ("embeddings" not in arrays and len(matrices) > 1):
        raise ValueError(
            f"{path.name!r} holds [{listed(sorted(arrays))}]; name the (items, dims) array "
            "'embeddings'."
        )
    return arrays[name], arrays.get("item_ids")
