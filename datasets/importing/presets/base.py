"""What a known format says of a log, and what such formats share."""

from __future__ import annotations

import io
import itertools
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from recsim_drpo.core.csv_rows import MAX_ROW_BYTES
from recsim_drpo.datasets.importing.arrow import NamedStream
from recsim_drpo.datasets.importing.base import BLOCK_ROWS, damaged
from recsim_drpo.datasets.importing.columns import Columns
from recsim_drpo.datasets.importing.sources import Source
from recsim_drpo.datasets.importing.table import Log, open_log_table
from recsim_drpo.simulator.embeddings import Embeddings

MAX_FEATURES = 1_000
"""How many features of a context, and of an item, a format can name."""

PROPENSITY, REWARD, ITEM = "propensity", "reward", "item_id"
_FEATURE = "x_"


class Preset(NamedTuple):
    """A log of a known format, as :func:`recsim_drpo.datasets.import_log.import_log` takes it.

    Attributes:
        log: the log.
        columns: what its columns mean.
        items: vectors float32 (N, d) of unit length and ids (N,); a file; ``None`` where the format
            has no items, which have to be given.
        notes: what the card should say.
    """

    log: Log | Sequence[Log]
    columns: Columns
    items: Embeddings | str | Path | None
    notes: tuple[str, ...]


class Example(NamedTuple):
    """A logged decision, its features by name.

    Attributes:
        context: of the context.
        item_id: what tells the item from others.
        item: features of the item that was shown.
        reward: what came of it.
        propensity: probability with which it was shown.
    """

    context: Mapping[str, float]
    item_id: str
    item: Mapping[str, float]
    reward: float
    propensity: float


def one_file(logs: Sequence[str | Path], preset: str) -> Path:
    """The one file that a preset takes.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: there are several.
    """
    if len(logs) != 1:
        raise ValueError(f"--preset {preset} takes one log; {len(logs)} are named.")
    path = Path(logs[0])
    if not path.is_file():
        raise FileNotFoundError(f"There is no log at {str(path)!r}.")
    return path


def numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Lines with their numbers from 1, without blanks around them; the file may be packed.

    Raises:
        ValueError: the file is damaged, not UTF-8, or has a line of 16 MiB or more.
    """
    number = 0
    with Source(path, "csv").opened() as file:
        text = io.TextIOWrapper(io.BufferedReader(file), encoding="utf-8-sig")
        try:
            for number, line in enumerate(_bounded_lines(text), start=1):
                if len(line) >= MAX_ROW_BYTES:
                    size = f"{MAX_ROW_BYTES / 2**20:g} MiB or more"
                    raise ValueError(f"{path.name!r}, line {number}: it has {size}.")
                yield number, line.strip()
        except UnicodeDecodeError as error:
            raise ValueError(f"{path.name!r}, after line {number}: not UTF-8 text.") from error
        except OSError as error:
            raise damaged(path.name, "log", error) from error


def _bounded_lines(text: io.TextIOWrapper) -> Iterator[str]:
    return iter(lambda: text.readline(MAX_ROW_BYTES), "")


def cells_of(
    path: Path, columns: Sequence[str], among: Container[str] | None = None
) -> dict[str, list[str]]:
    """All cells of some columns of a CSV file as text, empty where there are none.

    Args:
        path: the file.
        columns: names of the columns.
        among: which cells of the first of them a row can have; ``None``: any.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged, or a column is not there.
    """
    cells: dict[str, list[str]] = {name: [] for name in columns}
    for block in open_log_table(path, format="csv").blocks(columns):
        if block.malformed:
            row, what, _ = block.malformed[0]
            raise ValueError(f"{path.name!r} is damaged (row {row}: {what}).")
        lists = block.lists()
        rows = [row for row, cell in enumerate(lists[columns[0]]) if among is None or cell in among]
        for name, values in lists.items():
            cells[name] += [values[row] or "" for row in rows]
    return cells


def beside(log: Path, names: Sequence[str]) -> Path:
    """The first of some files that lies beside a log.

    Raises:
        FileNotFoundError: none does.
    """
    for name in names:
        if log.with_name(name).is_file():
            return log.with_name(name)
    raise FileNotFoundError(f"There is no {' or '.join(names)} beside {str(log)!r}.")


def one_hot(values: Sequence[Sequence[str]]) -> tuple[NDArray[np.float32], list[str]]:
    """Sets of words as float32 (n, words) of zeros and ones, and the words, sorted."""
    words = sorted({word for several in values for word in several})
    places = {word: place for place, word in enumerate(words)}
    rows = np.zeros((len(values), len(words)), dtype=np.float32)
    for row, several in enumerate(values):
        rows[row, [places[word] for word in several]] = 1.0
    return rows, words


def unit_vectors(rows: NDArray[Any]) -> NDArray[np.float32]:
    """Rows scaled to unit length, float32; one of zeros, or of one dimension, has a further one."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    if not lengths.all() or rows.shape[1] < 2:
        rows = np.concatenate([rows, lengths == 0.0], axis=1)
        lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / lengths, dtype=np.float32)


def stream(
    name: str, columns: Sequence[tuple[str, Any]], rows: Iterator[Sequence[Any]]
) -> NamedStream:
    """Rows as a table to import, a block in memory at a time.

    Args:
        name: of the log.
        columns: names and pyarrow's types.
        rows: a cell a column each.
    """
    import pyarrow

    schema = pyarrow.schema(list(columns))

    def batches() -> Iterator[Any]:
        while block := list(itertools.islice(rows, BLOCK_ROWS)):
            cells = [
                pyarrow.array(column, kind)
                for column, kind in zip(zip(*block, strict=True), schema.types, strict=True)
            ]
            yield pyarrow.RecordBatch.from_arrays(cells, schema=schema)

    return NamedStream(name, pyarrow.RecordBatchReader.from_batches(schema, batches()))


def of_examples(
    name: str,
    examples: Callable[[], Iterator[Example]],
    notes: Sequence[str],
    known: Columns | None = None,
) -> Preset:
    """Examples with features by name: columns are those that occur, and so are items.

    Args:
        name: of the log.
        examples: reads them, and is called twice.
        notes: what the card should say.
        known: columns of another such log, whose features contexts have; others are left out.

    Raises:
        ValueError: there is no example, or contexts or items have more than 1,000 features.
    """
    context: set[str] = set()
    items: dict[str, Mapping[str, float]] = {}
    features: set[str] = set()
    low, high = 0.0, 1.0
    for example in examples():
        context |= example.context.keys()
        features |= example.item.keys()
        items.setdefault(example.item_id, example.item)
        low, high = min(low, example.reward), max(high, example.reward)
        for what, found in (("contexts", context), ("items", features)):
            if len(found) > MAX_FEATURES:
                raise ValueError(
                    f"{name!r}: {what} have more than {MAX_FEATURES:,} different features, each of "
                    "which would be a dimension. Hash them, or leave some out."
                )
    if not items:
        raise ValueError(f"{name!r} has no example with a label.")
    names = sorted(context)
    if known is not None:
        names = [column.removeprefix(_FEATURE) for column in known.numbers]
    dims, ids = sorted(features), sorted(items)
    if not names:
        raise ValueError(f"{name!r}: contexts have no feature, so that there is nothing to act on.")
    vectors = unit_vectors(np.array([[items[i].get(dim, 0.0) for dim in dims] for i in ids]))
    columns = [f"{_FEATURE}{feature}" for feature in names]

    def rows() -> Iterator[Sequence[Any]]:
        for one in examples():
            cells = [one.context.get(feature, 0.0) for feature in names]
            yield [one.item_id, one.reward, one.propensity, *cells]

    schema = [(ITEM, "string"), (REWARD, "float64"), (PROPENSITY, "float64")]
    table = stream(name, schema + [(column, "float64") for column in columns], rows())
    meaning = known or Columns(numbers=columns, reward_range=(low, high))
    if known is None and (low, high) != (0.0, 1.0):
        notes = [*notes, f"Rewards are in [{low:g}, {high:g}], the range found, and not in [0, 1]."]
    return Preset(table, meaning, (vectors, np.array(ids)), tuple(notes))
