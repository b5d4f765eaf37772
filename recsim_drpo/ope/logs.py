"""Logs as off-policy evaluation reads them: contexts, items, rewards, propensities, compactly."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from minari import EpisodeData, MinariDataset
from numpy.typing import NDArray
from torch import Tensor

from recsim_drpo.core import scratch
from recsim_drpo.core.messages import shown
from recsim_drpo.core.reward_unit import RewardUnit
from recsim_drpo.core.torch_settings import resolve_device
from recsim_drpo.datasets.imported import is_imported, recorded_infos, reward_unit, stored_range
from recsim_drpo.datasets.items import NoItemsError, resolve_items
from recsim_drpo.datasets.load import check_combined
from recsim_drpo.datasets.packing import ROUNDS_PER_EPISODE
from recsim_drpo.datasets.soundness import (
    DamagedDatasetError,
    episodes_of,
    flat_rows,
    info_column,
    num_transitions,
    open_dataset,
)
from recsim_drpo.envs.spec import WorldSpec
from recsim_drpo.ope.catalogues import Directions, check_catalogue, joined
from recsim_drpo.ope.columns import count_where, of_rows
from recsim_drpo.simulator.catalogue import UNIT_TOLERANCE, Catalogue

_UNIT_RANGE = (0.0, 1.0)
_INFOS = {"item_id", "propensity", "request", "position"}


@dataclass(frozen=True, eq=False)
class ItemLog:
    """Rounds that stand alone, each with one item shown, on one device.

    Attributes:
        contexts: float32 (n, o).
        items: int64 (n,), rows of ``embeddings``.
        rewards: float32 (n,).
        propensities: float64 (n,), in (0, 1]; ``None`` where the log has none.
        embeddings: float32 (N, d) of the items that can be shown, and behind them of those that
            no longer can, rows of unit length.
        item_ids: (N,), integers or text, by which messages name them.
        reward_range: the least and the largest reward there can be, low < high; ``None`` where
            that is not known, and the range that is seen has to do.
        num_gone: the last rows of ``embeddings`` that a policy cannot show: the log has them, the
            catalogue no longer.
        unit: what rewards of 0 and 1 stand for, in which values are told.
        requests: int64 (n,), from 0, alike for rounds that came together, as the places of one page
            do; ``None`` where each round is independent.
        positions: float64 (n,), the place of a round's item among those shown with it, NaN where it
            is not known; ``None`` where no place is.

    Raises:
        ValueError: no rounds; columns of different length; items beyond the embeddings; a number
            that is not finite; embeddings not of unit length; a propensity outside (0, 1]; a reward
            outside its range.
    """

    contexts: Tensor
    items: Tensor
    rewards: Tensor
    propensities: Tensor | None
    embeddings: Tensor
    item_ids: NDArray[np.generic]
    reward_range: tuple[float, float] | None = None
    num_gone: int = 0
    unit: RewardUnit = field(default_factory=RewardUnit)
    requests: Tensor | None = None
    positions: Tensor | None = None

    def __post_init__(self) -> None:
        num_rounds = len(self.items)
        if num_rounds == 0:
            raise ValueError("The log has no rounds.")
        columns = {"contexts": self.contexts, "rewards": self.rewards}
        if self.propensities is not None:
            columns["propensities"] = self.propensities
        if self.requests is not None:
            columns["requests"] = self.requests
        if self.positions is not None:
            columns["positions"] = self.positions
        for name, column in columns.items():
            if len(column) != num_rounds:
                raise ValueError(f"{len(column)} {name} for {num_rounds} items.")
            wrong = _not_finite(column, but_nan=name == "positions")
            if wrong:
                raise ValueError(f"{wrong} {name} of the log are NaN or infinite.")
        lengths = torch.linalg.vector_norm(self.embeddings, dim=1)
        if bool(((lengths - 1.0).abs() > UNIT_TOLERANCE).any()):
            raise ValueError(
                "The items' embeddings are not of unit length, which decoding to the largest inner "
                "product needs; scale them (Catalogue.of_vectors, normalize=True)."
            )
        num_items = len(self.embeddings)
        beyond, first = count_where(lambda items: (items < 0) | (items >= num_items), self.items)
        if beyond:
            raise ValueError(
                f"{beyond} rounds show an item outside the catalogue of {num_items} "
                f"(first: round {first}, item {int(self.items[first])})."
            )
        self._check_ranges()

    def part(self, rounds: Tensor) -> ItemLog:
        """Some of the rounds, int64 (m,), in that order; the items are shared."""
        columns: dict[str, Any] = {
            field.name: value.index_select(0, rounds)
            for field in fields(self)
            if field.name != "embeddings" and isinstance(value := getattr(self, field.name), Tensor)
        }
        if self.requests is not None:  # numbered from 0 without gaps
            columns["requests"] = columns["requests"].unique(return_inverse=True)[1]
        return replace(self, **columns)

    def __len__(self) -> int:
        """Number of rounds n."""
        return len(self.items)

    @property
    def num_items(self) -> int:
        """Number of items that a policy can show."""
        return len(self.embeddings) - self.num_gone

    @property
    def bounds(self) -> tuple[float, float]:
        """The range of rewards that is known, or else that is seen."""
        seen = float(self.rewards.min()), float(self.rewards.max())
        return seen if self.reward_range is None else self.reward_range

    @property
    def choices(self) -> Tensor:
        """What a logger chose an item by, float32 (n, ·): the context, and the place, one-hot."""
        if self.positions is None:
            return self.contexts
        parts = torch.split(self.positions, scratch.BLOCK)
        places = torch.unique(torch.cat([torch.unique(part.nan_to_num(-1.0)) for part in parts]))

        def with_places(contexts: Tensor, positions: Tensor) -> Tensor:
            one_hot = positions.nan_to_num(-1.0).unsqueeze(1) == places
            return torch.cat([contexts, one_hot.to(contexts.dtype)], dim=1)

        return of_rows(with_places, self.contexts, self.positions)

    def _check_ranges(self) -> None:
        """Raise ``ValueError`` for a propensity or a reward outside its range."""
        if self.propensities is not None:
            outside, first = count_where(lambda p: (p <= 0.0) | (p > 1.0), self.propensities)
            if outside:
                raise ValueError(
                    f"{outside} of {len(self)} propensities are outside (0, 1] (first: "
                    f"round {first}, {float(self.propensities[first]):.4g}); a propensity is the "
                    "logger's probability of the item that it showed."
                )

        low, high = self.bounds
        if float(self.rewards.min()) < low or float(self.rewards.max()) > high:
            raise ValueError(
                f"Rewards lie from {float(self.rewards.min()):.4g} to "
                f"{float(self.rewards.max()):.4g}, outside reward_range={self.reward_range}."
            )


def _not_finite(column: Tensor, *, but_nan: bool) -> int:
    """How many numbers are NaN or infinite, or but infinite."""
    test = torch.isinf if but_nan else lambda part: ~torch.isfinite(part)
    return sum(int(test(column[rows]).sum()) for rows in scratch.blocks(len(column)))


def read_item_log(
    dataset: str | MinariDataset,
    *,
    embeddings: str | Path | None = None,
    normalize: bool = False,
    device: str | torch.device = "cpu",
) -> ItemLog:
    """Read a Minari dataset with the info column ``item_id``, and ``propensity`` if it has one.

    An info column ``request`` of integers, if there is one, tells which rounds came together, and
    one of numbers, ``position``, in which place.
    Episode by episode: there remain contexts, items, rewards and propensities, not actions, of long
    logs in files that are mapped (:mod:`recsim_drpo.core.scratch`).

    Args:
        dataset: a dataset, or the id of a local one.
        embeddings: file of the catalogue, see :func:`recsim_drpo.datasets.items.resolve_items`;
            its items are the dataset's own of the same ids, may be more, and may lack some; where
            the dataset has none, row i is item i. ``None``: the dataset's own, else the items that
            the log shows, with the directions of the actions that it shows them by.
        normalize: scale that file's rows to unit length.
        device: where the tensors are to be.

    Raises:
        FileNotFoundError: there is no local dataset, or no such file.
        ValueError: the dataset has no ``item_id``, is of sessions, has embeddings other than the
            catalogue's, or is no :class:`ItemLog`; a row of the file is not of unit length; the
            device is not there.
    """
    resolved = resolve_device(device)
    if isinstance(dataset, str):
        dataset = open_dataset(dataset)
    check_combined(dataset)
    catalogue, places, num_gone = _catalogue(dataset, embeddings, normalize)
    columns = _Columns(dataset.id, num_transitions(dataset))
    vectors = None if catalogue is None else torch.from_numpy(np.array(catalogue.embeddings))
    directions = Directions(dataset.id)
    due = _INFOS & set(recorded_infos(dataset))
    for episode in episodes_of(dataset):
        rounds = _rounds_of(dataset, episode, due)
        actions = _flat(dataset, "actions", episode.actions, len(rounds["items"]))
        if vectors is None:
            directions.add(rounds["items"], actions)
        else:
            rounds["items"] = _places(rounds["items"], places)
            if columns.length < ROUNDS_PER_EPISODE and places is None:
                check_catalogue(dataset.id, vectors, rounds["items"], actions)
        columns.append(rounds)
    if columns.length == 0:
        raise ValueError(f"Dataset {dataset.id!r} has no rounds.")
    arrays = columns.arrays
    if catalogue is None or vectors is None:
        catalogue = directions.catalogue()
        vectors = torch.from_numpy(catalogue.embeddings)
        ids = catalogue.item_ids
        arrays["items"] = scratch.elementwise(ids.searchsorted, arrays["items"])
    if "requests" in arrays:
        arrays["requests"] = scratch.numbered(arrays["requests"])[0]
    tensors = {name: torch.from_numpy(array).to(resolved) for name, array in arrays.items()}
    return ItemLog(
        tensors["contexts"],
        tensors["items"],
        tensors["rewards"],
        tensors.get("propensities"),
        vectors.to(resolved),
        catalogue.item_ids,
        _known_range(dataset, arrays["rewards"]),
        num_gone,
        reward_unit(dataset),
        tensors.get("requests"),
        tensors.get("positions"),
    )


def _known_range(
    dataset: MinariDataset, rewards: NDArray[np.float32]
) -> tuple[float, float] | None:
    """The range that the rewards of a dataset are known to have, by who made it."""
    if is_imported(dataset):
        low, high = stored_range(dataset)
    elif WorldSpec.of(dataset.spec.env_spec) is not None:
        low, high = _UNIT_RANGE
    else:
        return None
    return (low, high) if low <= rewards.min() and rewards.max() <= high else None


class _Columns:
    """Arrays of so many rows, filled episode by episode, so that nothing is kept twice."""

    def __init__(self, name: str, num_rows: int) -> None:
        self.arrays: dict[str, NDArray[Any]] = {}
        self.length = 0
        self._name, self._num_rows = name, num_rows

    def append(self, rows: Mapping[str, NDArray[Any]]) -> None:
        """Add rows to each column; the first ones say which there are."""
        if self.length == 0:
            self.arrays = {
                name: scratch.room((self._num_rows, *values.shape[1:]), values.dtype)
                for name, values in rows.items()
            }
        end = self.length + len(rows["items"])
        if rows.keys() != self.arrays.keys():
            raise DamagedDatasetError(self._name, "its episodes have different info columns")
        for name, array in self.arrays.items():
            array[self.length : end] = rows[name]
        if end // scratch.BLOCK > self.length // scratch.BLOCK:
            scratch.let_go()
        self.length = end


def _rounds_of(
    dataset: MinariDataset, episode: EpisodeData, due: Iterable[str]
) -> dict[str, NDArray[Any]]:
    """The columns of an :class:`ItemLog` in an episode, their actions left out."""
    infos = _info_columns(dataset.id, episode, due)
    contexts = _flat(dataset, "observations", episode.observations, len(episode.rewards) + 1)
    rounds: dict[str, NDArray[Any]] = {
        "contexts": contexts[:-1],
        "items": infos["item_id"].astype(np.int64, copy=False),
        "rewards": np.asarray(episode.rewards).astype(np.float32, copy=False),
    }
    if "request" in infos and infos["request"].dtype.kind in "iu":
        rounds["requests"] = infos["request"].astype(np.int64, copy=False)
    if "position" in infos and infos["position"].dtype.kind in "iuf":
        rounds["positions"] = infos["position"].astype(np.float64, copy=False)
    if "propensity" in infos:
        rounds["propensities"] = infos["propensity"].astype(np.float64, copy=False)
    return rounds


def _info_columns(name: str, episode: EpisodeData, due: Iterable[str]) -> dict[str, NDArray[Any]]:
    """The info columns of an episode; row t + 1 belongs to action t, as Minari records it."""
    if not np.asarray(episode.terminations).all():
        raise ValueError(
            f"Dataset {name!r} has rounds that others follow (sessions); off-policy evaluation at "
            "item level is for rounds that stand alone."
        )
    known = {key for key, values in (episode.infos or {}).items() if isinstance(values, np.ndarray)}
    if not known and not due:
        raise ValueError(
            f"Dataset {name!r} has no infos, and off-policy evaluation needs its item_id: record "
            "them, by minari.DataCollector(env, record_infos=True) for example."
        )
    wanted = ["item_id", *sorted((known & _INFOS).union(due) - {"item_id"})]
    columns = {key: info_column(name, episode, key) for key in wanted}
    for key, values in columns.items():
        if values.ndim != 1 or (key == "item_id" and values.dtype.kind not in "iu"):
            raise DamagedDatasetError(
                name, f"its info column {shown(key)} has {values.dtype} of shape {values.shape}"
            )
    return columns


def _flat(dataset: MinariDataset, what: str, values: object, length: int) -> NDArray[np.float32]:
    """Rows (length, ·) of observations or actions of an episode."""
    space = dataset.observation_space if what == "observations" else dataset.action_space
    width = int(np.prod(space.shape)) if isinstance(space, gym.spaces.Box) else 1
    return flat_rows(dataset.id, what, values, length, width).astype(np.float32, copy=False)


def _catalogue(
    dataset: MinariDataset, embeddings: str | Path | None, normalize: bool
) -> tuple[Catalogue | None, NDArray[np.int64] | None, int]:
    """The items, the places of the dataset's own where a file has others, and how many are gone."""
    if embeddings is None and normalize:
        resolve_items(dataset, normalize=normalize)  # says that there is no file to scale
    try:
        own = resolve_items(dataset)
    except NoItemsError:
        return (None if embeddings is None else _of_file(embeddings, normalize)), None, 0
    if embeddings is None:
        return own, None, 0
    return joined(own, _of_file(embeddings, normalize))


def _of_file(embeddings: str | Path, normalize: bool) -> Catalogue:
    return resolve_items(Path(embeddings), normalize=normalize)


def _places(items: NDArray[np.int64], places: NDArray[np.int64] | None) -> NDArray[np.int64]:
    """Rows of the catalogue for those of the dataset's own; what is beyond stays beyond."""
    if places is None:
        return items
    inside = (items >= 0) & (items < len(places))
    found: NDArray[np.int64] = np.where(inside, places[np.where(inside, items, 0)], -1)
    return found
