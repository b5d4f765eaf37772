"""Logs as :mod:`recsim_drpo.ope.drift` compares them: columns of contexts by name, and outcomes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from minari import MinariDataset
from numpy.typing import NDArray

from recsim_drpo.datasets.imported import imported_context, is_imported, recorded_infos, reward_unit
from recsim_drpo.datasets.importing.coding import ContextCoder
from recsim_drpo.datasets.items import NoItemsError, resolve_items
from recsim_drpo.datasets.load import load_transitions, open_dataset
from recsim_drpo.datasets.soundness import DamagedDatasetError, episodes_of

REQUEST = "request"
"""Info column by whose values rows are of one request."""

_INFOS = ("item_id", "propensity", REQUEST)


@dataclass(frozen=True, eq=False)
class ComparedLog:
    """A log of n rows.

    Attributes:
        names: of the columns of the context.
        contexts: (n, o), columns in that order; numbers as they were before they were coded.
        items: ids of the items shown, as text (n,); ``None`` where the log has none.
        rewards: (n,), in the log's own unit.
        propensities: (n,), or ``None``.
        requests: numbers of the requests that rows are of, (n,), or ``None``: each of its own.
    """

    names: list[str]
    contexts: NDArray[np.float64]
    items: NDArray[np.str_] | None
    rewards: NDArray[np.float64]
    propensities: NDArray[np.float64] | None = None
    requests: NDArray[np.int64] | None = None

    @cached_property
    def first(self) -> NDArray[np.int64]:
        """The first row of each request, or all rows, rising."""
        if self.requests is None:
            return np.arange(len(self.rewards))
        return np.sort(np.unique(self.requests, return_index=True)[1])

    def by_request(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Means of values (n,) over the rows of each request."""
        if self.requests is None:
            return values
        numbers = np.unique(self.requests, return_inverse=True)[1]
        return np.asarray(np.bincount(numbers, values) / np.bincount(numbers))

    def column(self, name: str) -> NDArray[np.float64]:
        """A column of the context, on the first row of each request."""
        values = self.contexts[self.first, self.names.index(name)]
        return np.asarray(values, dtype=np.float64)


def read_compared_log(dataset: str | MinariDataset) -> ComparedLog:
    """Read a Minari dataset with Box spaces, simulated or imported, to be compared.

    Rows of one request are those with the same value in the info column ``request``, else, in
    sessions, those of one episode.

    Raises:
        FileNotFoundError: there is no local dataset of that id.
        ValueError: the dataset is empty, damaged or of fewer than two rows.
    """
    if isinstance(dataset, str):
        dataset = open_dataset(dataset)
    if dataset.total_episodes == 0:
        raise ValueError(f"Dataset {dataset.id!r} has no transitions.")
    log = load_transitions(dataset, infos=_known_infos(dataset))
    if len(log) < 2:
        raise ValueError(f"Dataset {dataset.id!r} has one row; two at least can be compared.")
    names, contexts = _contexts(dataset, log.observations().numpy().astype(np.float64))
    infos = {name: column.numpy() for name, column in log.infos.items()}
    ends = log.episode_ends.numpy()
    requests = None
    if REQUEST in infos:
        requests = np.unique(infos[REQUEST], return_inverse=True)[1]
    elif not ends.all():
        requests = np.cumsum(np.concatenate([[False], ends[:-1]]))
    propensities = infos.get("propensity")
    return ComparedLog(
        names,
        contexts,
        None if "item_id" not in infos else _ids(dataset, infos["item_id"]),
        reward_unit(dataset).to_tell(log.rewards.numpy().astype(np.float64)),
        None if propensities is None else propensities.astype(np.float64),
        requests,
    )


def _known_infos(dataset: MinariDataset) -> list[str]:
    """Those of the info columns of interest that a dataset has, or should have."""
    there = []
    for episode in episodes_of(dataset, dataset.episode_indices[[0, -1]]):
        infos = episode.infos or {}
        there.append({name for name in _INFOS if isinstance(infos.get(name), np.ndarray)})
    if there[0] != there[1]:
        raise DamagedDatasetError(dataset.id, "its episodes have different info columns")
    due = there[0] | set(recorded_infos(dataset))
    return [name for name in _INFOS if name in due]


def _contexts(
    dataset: MinariDataset, contexts: NDArray[np.float64]
) -> tuple[list[str], NDArray[np.float64]]:
    """Names and values (n, o) of the columns of the context.

    Those of an import have its names, and its numbers as they were in the log: logs that are
    standardised each by itself would look alike.
    """
    if not is_imported(dataset):
        return [f"context_{number}" for number in range(contexts.shape[1])], contexts
    coder = ContextCoder.of_description(imported_context(dataset))
    for column, coding in enumerate(coder.numbers.values()):
        contexts[:, column] = coding.invert(contexts[:, column])
    return coder.dimensions, contexts


def _ids(dataset: MinariDataset, items: NDArray[np.int64]) -> NDArray[np.str_]:
    """The items' ids in their catalogue as text, or their numbers where there is none."""
    try:
        ids = resolve_items(dataset).item_ids
    except NoItemsError:
        return items.astype(np.str_)
    known = np.asarray(ids).astype(np.str_)
    if items.dtype.kind not in "iu" or items.min() < 0 or items.max() >= len(known):
        raise DamagedDatasetError(dataset.id, f"not all of its items are of the {len(known):,}")
    return np.asarray(known[items])
