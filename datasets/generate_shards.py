"""The shards of a log, each a dataset, made here or by tasks of an engine."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from minari import MinariDataset
from tqdm import tqdm

from recsim_drpo.core.executor import Engine
from recsim_drpo.core.messages import shown, shown_path
from recsim_drpo.core.torch_settings import threads
from recsim_drpo.datasets.carried import Arrivals, Begun, Piece, in_pieces
from recsim_drpo.datasets.generate import IDENTITY, generate_dataset, identity_of_log
from recsim_drpo.datasets.root import dataset_folder
from recsim_drpo.datasets.shards import Shard, shard_ids
from recsim_drpo.datasets.soundness import metadata_of, open_dataset
from recsim_drpo.datasets.staging import check_id, check_name, minari_root, temporary_root
from recsim_drpo.datasets.storage import Storage


def generate_shards(
    dataset_id: str,
    shards: int,
    *,
    engine: Engine | None = None,
    storage: str | None = None,
    progress: bool = True,
    **options: Any,
) -> Iterator[tuple[str, int]]:
    """Log the shards of a log, each as soon as it is made: its id, and the number of its rounds.

    They are those of :func:`.generate.generate_dataset` with ``shard``, to the byte, whoever makes
    them. Where some of them are there already, of the same log, the others are made.

    Args:
        dataset_id: of the log; :func:`.shards.shard_ids` gives those of the shards.
        shards: how many.
        engine: what makes them, a task a shard, whose worker needs room for it on its disk;
            ``None``: this process. It comes back in pieces, and this process writes it.
        storage: where they go in place of this machine: a path that all workers see, or a URI, see
            :class:`.storage.Storage`.
        progress: show rate and time left on a terminal.
        **options: of :func:`.generate.generate_dataset`.

    Raises:
        ValueError: as :func:`.generate.generate_dataset`; all shards are there, or one of another
            log; the engine or the storage cannot be had.
        OSError, RuntimeError: as :func:`.generate.generate_dataset`.
    """
    shared = _Shared(_with_absolute_path(options), storage)
    missing = _missing(shard_ids(dataset_id, shards), shared)
    engine = Engine() if engine is None or engine.name == "local" else engine
    if storage is None and engine.name == "local":  # where it is made it stays
        for shard, each in missing:
            made = generate_dataset(each, **options, shard=shard, progress=progress)
            yield each, int(made.total_steps)
        return
    tasks = [partial(_made, shard=shard, dataset_id=each) for shard, each in missing]
    hidden = None if progress else True
    with Arrivals() as arrivals, tqdm(total=len(tasks), unit="shard", disable=hidden) as bar:
        for value in engine.results(shared, tasks):
            if isinstance(value, _Stored):
                _check_stored(value, str(storage))
                yield value.dataset_id, value.num_rounds
            elif (arrived := arrivals.take(value)) is not None:
                yield arrived, int(open_dataset(arrived).total_steps)
            else:
                continue
            bar.update()


def _with_absolute_path(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options whose file of vectors, if there is one, is named from the root."""
    kwargs = dict(options.get("env_kwargs") or {})
    if isinstance(kwargs.get("embeddings"), str | Path):
        kwargs["embeddings"] = str(Path(kwargs["embeddings"]).resolve())
    return {**options, "env_kwargs": kwargs}


class _Shared(NamedTuple):
    """What every task is given: options of :func:`.generate.generate_dataset`, and the storage."""

    options: Mapping[str, Any]
    storage: str | None


class _Stored(NamedTuple):
    """A shard that a task has put into the storage."""

    dataset_id: str
    num_rounds: int
    host: str


def _made(shared: _Shared, shard: Shard, dataset_id: str) -> Iterator[Begun | Piece | _Stored]:
    """Make a shard on a worker, in a temporary folder; it itself, or that it is in the storage."""
    vectors = (shared.options.get("env_kwargs") or {}).get("embeddings")
    if isinstance(vectors, str) and not Path(vectors).exists():
        raise FileNotFoundError(
            f"The worker on {socket.gethostname()} has no file {shown_path(vectors)}: put the item "
            "vectors at the same path on all nodes."
        )
    with temporary_root() as root:
        with minari_root(root), threads(1):
            made = generate_dataset(dataset_id, **shared.options, shard=shard, progress=False)
        folder, rounds = Path(made.spec.data_path).parent, int(made.total_steps)
        if shared.storage is None:
            yield from in_pieces(folder, dataset_id, f"{rounds:,} rounds")
            return
        Storage(shared.storage).put(folder, dataset_id, _identity_of(made))
    yield _Stored(dataset_id, rounds, socket.gethostname())


def _check_stored(made: _Stored, storage: str) -> None:
    if not Storage(storage).has(made.dataset_id):
        raise ValueError(
            f"The worker on {made.host} has put {made.dataset_id!r} into {shown(storage)}, where "
            "it is not to be seen from here: name a storage that all machines share."
        )


def _missing(ids: Sequence[str], shared: _Shared) -> list[tuple[Shard, str]]:
    """The shards that are not there yet.

    Raises:
        ValueError: all are, or one is that is not of this log; an option out of its range.
    """
    storage = None if shared.storage is None else Storage(shared.storage)
    shards = [(Shard(number, len(ids)), each) for number, each in enumerate(ids, 1)]

    def identity(dataset_id: str) -> Mapping[str, Any] | None:
        if storage is not None:
            there = storage.has(dataset_id)
            return storage.manifest(dataset_id)["about"] if there else None
        there = (dataset_folder(dataset_id) / "data").exists()
        return _identity_of(open_dataset(dataset_id)) if there else None

    found = {each: known for each in ids if (known := identity(each)) is not None}
    expected = (
        identity_of_log(**{**shared.options, "device": "cpu"}) if 0 < len(found) < len(ids) else {}
    )
    for shard, each in shards:
        if each not in found:
            check_id(each) if storage is None else check_name(each)
        elif found[each] != _as_json({**expected, "shard": [*shard, expected.get("num_rounds")]}):
            where = "" if storage is None else f" in the storage {shown(shared.storage)}"
            raise ValueError(
                f"There is a dataset {each!r} already{where}; choose another version, or remove it "
                f"(here by minari.delete_dataset({each!r}))."
            )
    return [(shard, each) for shard, each in shards if each not in found]


def _identity_of(dataset: MinariDataset) -> dict[str, Any]:
    """What makes a shard the one that it is, as JSON; of another dataset something else."""
    metadata, spec = metadata_of(dataset), dataset.spec.env_spec
    known = {name: metadata.get(name) for name in IDENTITY}
    shard = metadata.get("shard") or {}
    known["shard"] = [shard.get(name) for name in ("number", "of", "num_rounds")]
    known["num_rounds"] = shard.get("num_rounds")
    known["environment"] = None if spec is None else json.loads(spec.to_json())
    return dict(_as_json(known))


def _as_json(values: Any) -> Any:
    found: Any = json.loads(json.dumps(values))
    return found
