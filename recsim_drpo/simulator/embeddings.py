"""Read item embeddings from a file: .npy, .npz, .safetensors, .parquet or delimited text.

A table (Parquet or text) holds each vector either in one *list column*, such as
``"0.1,-0.3,0.7"`` or ``[0.1, -0.3, 0.7]``, or in one column a dimension.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsim_drpo.core.arrays import read_npy, read_npz, read_safetensors
from recsim_drpo.core.messages import one_line, shown, shown_path
from recsim_drpo.core.table_headers import DELIMITERS, check_unique, listed, no_column
from recsim_drpo.core.tables import Malformed, open_table, require_pyarrow, unreadable
from recsim_drpo.simulator.catalogue import check_ids

SUFFIXES = (".npy", ".npz", ".safetensors", ".parquet", ".csv", ".tsv", ".txt")
_ID_NAMES = ("item_id", "itemid", "item", "id")
_DELIMITERS = (*DELIMITERS, " ")
_ROWS = 4096

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
        columns = _read_table(path, "parquet" if suffix == ".parquet" else "csv")
        vectors, ids = _from_columns(path.name, columns, id_column, vector_columns)
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
            return _as_ids(path.read_text(encoding="utf-8-sig").splitlines())
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


def _read_table(path: Path, format: str) -> dict[str, list[Any]]:
    """All columns of a table, which has at least one row; every row has all of them."""
    if format == "parquet":
        require_pyarrow("Reading .parquet needs")
    malformed: list[Malformed] = []
    with open_table(
        path, format, path.name, delimiters=_DELIMITERS, unreadable=_unreadable
    ) as table:
        check_unique(path.name, table.columns)
        columns: dict[str, list[Any]] = {name: [] for name in table.columns}
        for block in table.blocks(table.columns, _ROWS):
            malformed += block.malformed
            for name, cells in block.lists().items():
                columns[name] += cells
    num_rows = len(next(iter(columns.values()), []))
    if format == "parquet" and num_rows == 0:
        raise ValueError(f"{path.name!r} has no rows.")
    if malformed:
        raise ValueError(
            f"{path.name!r} has {len(malformed)} rows (first: line {malformed[0][0]}) without the "
            f"header's {len(columns)} columns: {malformed[0][1]}."
        )
    if num_rows == 0:
        raise ValueError(f"{path.name!r} has no row with the header's {len(columns)} columns.")
    return columns


def _unreadable(name: str, format: str, error: Exception) -> ValueError:
    if isinstance(error, UnicodeDecodeError):
        return ValueError(f"{name!r} is not UTF-8 text ({error}).")
    return unreadable(name, format, error)


def parse_vector(value: Any) -> list[float] | None:
    """The numbers of a list cell, or None where the cell is not a list of at least two."""
    if isinstance(value, str):
        value = re.split(r"[,;\s]+", value.strip().strip("[]()").strip())
    if not isinstance(value, (list, tuple)) or len(value) < 2:
        return None
    try:
        return [float(x) for x in value]
    except (TypeError, ValueError):
        return None


def _from_columns(
    file: str,
    columns: Mapping[str, Sequence[Any]],
    id_column: str | None,
    vector_columns: str | None,
) -> tuple[NDArray[Any], NDArray[Any] | None]:
    if id_column is None:
        id_column = next((name for name in columns if name.lower() in _ID_NAMES), None)
    elif id_column not in columns:
        raise no_column(file, [id_column], list(columns))
    others = [name for name in columns if name != id_column]
    if not others:
        raise ValueError(f"{shown(file)} has item ids only ({id_column}); vectors are missing.")
    if vector_columns is not None:
        chosen = [name for name in others if fnmatch.fnmatch(name, vector_columns)]
        if not chosen:
            raise ValueError(
                f"{shown(file)} has no column like {shown(vector_columns)}; it has "
                f"{listed(list(columns))}."
            )
    else:
        chosen = [n for n in others if len(columns[n]) and parse_vector(columns[n][0]) is not None]
        if len(chosen) > 1:
            raise ValueError(
                f"{shown(file)} has {len(chosen)} list columns ({', '.join(chosen)}); choose one "
                "by vector_columns."
            )
        chosen = chosen or others
    if len(chosen) == 1 and parse_vector(columns[chosen[0]][0]) is not None:
        parsed = [parse_vector(value) for value in columns[chosen[0]]]
        length = len(parsed[0] or [])
        bad = [row for row, vector in enumerate(parsed) if vector is None or len(vector) != length]
        if bad:
            raise ValueError(
                f"{shown(file)}, column {shown(chosen[0])}: {len(bad)} rows (first: row {bad[0]}) "
                f"are not lists of {length} numbers."
            )
        vectors = np.asarray(parsed, dtype=np.float32)
    else:
        try:
            vectors = np.stack([np.asarray(columns[n], dtype=np.float32) for n in chosen], axis=1)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"{shown(file)}: not all of the columns {', '.join(chosen)} are numbers ({error}); "
                "choose the vector's columns by vector_columns."
            ) from error
    return vectors, None if id_column is None else _as_ids(columns[id_column])


def _as_ids(values: Sequence[Any]) -> NDArray[Any]:
    """Integers where all of them are, within 64 bits; else text."""
    try:
        integers = [int(value) for value in values]
        # "007" and "1_000" are names, not the numbers that they can be read as.
        if all(
            str(i) == v.strip() if isinstance(v, str) else i == v
            for i, v in zip(integers, values, strict=True)
        ):
            return np.asarray(integers, dtype=np.int64)
    except (TypeError, ValueError, OverflowError):
        pass
    return np.asarray([str(value) for value in values])
