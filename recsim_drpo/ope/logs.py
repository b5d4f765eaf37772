"""Logs as off-policy evaluation wants them: contexts, items, rewards, propensities, compactly."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from minari import EpisodeData, MinariDataset
from numpy.typing import NDArray
from torch import Tensor

from recsim_drpo.core.torch_settings import resolve_device
from recsim_drpo.core.validation import unknown_name
from recsim_drpo.datasets.items import NoItemsError, resolve_items
from recsim_drpo.datasets.load import open_dataset
from recsim_drpo.simulator.catalogue import UNIT_TOLERANCE, Catalogue

_SAME_DIRECTION = 0.999


@dataclass(frozen=True, eq=False)
class ItemLog:
    """Rounds that stand alone, each with one item shown, on one device.

    Attributes:
        contexts: float32 (n, o).
        items: int64 (n,), rows of ``embeddings``.
        rewards: float32 (n,).
        propensities: float64 (n,), in (0, 1]; ``None`` where the log has none.
        embeddings: float32 (N, d) of the items that can be shown, rows of unit length.
        item_ids: (N,), integers or text, what messages call them.

    Raises:
        ValueError: no rounds; columns of different length; items beyond the embeddings; a number
            that is not finite; embeddings not of unit length; a propensity outside (0, 1].
    """

    contexts: Tensor
    items: Tensor
    rewards: Tensor
    propensities: Tensor | None
    embeddings: Tensor
    item_ids: NDArray[np.generic]

    def __post_init__(self) -> None:
        num_rounds = len(self.items)
        if num_rounds == 0:
            raise ValueError("The log has no rounds.")
        columns = {"contexts": self.contexts, "rewards": self.rewards}
        if self.propensities is not None:
            columns["propensities"] = self.propensities
        for name, column in columns.items():
            if len(column) != num_rounds:
                raise ValueError(f"{len(column)} {name} for {num_rounds} items.")
            wrong = int((~torch.isfinite(column)).sum())
            if wrong:
                raise ValueError(f"{wrong} {name} of the log are NaN or infinite.")
        lengths = torch.linalg.vector_norm(self.embeddings, dim=1)
        if bool(((lengths - 1.0).abs() > UNIT_TOLERANCE).any()):
            raise ValueError(
                "The items' embeddings are not of unit length, which decoding to the largest inner "
                "product needs; scale them (Catalogue.of_vectors, normalize=True)."
            )
        num_items = len(self.embeddings)
        beyond = (self.items < 0) | (self.items >= num_items)
        if beyond.any():
            first = int(beyond.nonzero()[0])
            raise ValueError(
                f"{int(beyond.sum())} rounds show an item outside the catalogue of {num_items} "
                f"(first: round {first}, item {int(self.items[first])})."
            )
        if self.propensities is not None:
            outside = (self.propensities <= 0.0) | (self.propensities > 1.0)
            if outside.any():
                first = int(outside.nonzero()[0])
                raise ValueError(
                    f"{int(outside.sum())} of {num_rounds} propensities are outside (0, 1] (first: "
                    f"round {first}, {float(self.propensities[first]):.4g}); a propensity is the "
                    "logger's probability of the item that it showed."
                )

    def __len__(self) -> int:
        """Number of rounds n."""
        return len(self.items)


def read_item_log(
    dataset: str | MinariDataset,
    *,
    embeddings: str | Path | None = None,
    normalize: bool = False,
    device: str | torch.device = "cpu",
) -> ItemLog:
    """Read a Minari dataset with the info column ``item_id``, and ``propensity`` if it has one.

    Episode by episode: in memory remain contexts, items, rewards and propensities, not actions.

    Args:
        dataset: a dataset, or the id of a local one.
        embeddings: file of the catalogue, row i is item i, see
            :func:`recsim_drpo.datasets.items.resolve_items`. ``None``: what that makes of the
            dataset, else the items that the log shows, with the directions of the actions that it
            shows them by.
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
    total = int(dataset.total_steps)
    rewards = np.empty(total, dtype=np.float32)
    items = np.empty(total, dtype=np.int64)
    propensities: NDArray[np.float64] | None = None
    contexts: NDArray[np.float32] | None = None
    catalogue = _catalogue(dataset, embeddings, normalize)
    shown: dict[int, NDArray[np.float32]] = {}
    done = 0
    for episode in dataset.iterate_episodes():
        length = len(episode.rewards)
        here = slice(done, done + length)
        columns = _columns(dataset.id, episode)
        observations = np.reshape(episode.observations[:-1], (length, -1))
        actions = np.reshape(episode.actions, (length, -1)).astype(np.float32, copy=False)
        if contexts is None:
            contexts = np.empty((total, observations.shape[1]), dtype=np.float32)
            propensities = np.empty(total) if "propensity" in columns else None
        contexts[here], rewards[here] = observations, episode.rewards
        items[here] = columns["item_id"]
        if propensities is not None:
            propensities[here] = columns["propensity"]
        if catalogue is None:
            found, first = np.unique(items[here], return_index=True)
            for item, row in zip(found.tolist(), first.tolist(), strict=True):
                shown.setdefault(item, actions[row].copy())
        elif done == 0:
            _check_catalogue(dataset.id, catalogue.embeddings, items[here], actions)
        done += length
    if contexts is None:
        raise ValueError(f"Dataset {dataset.id!r} has no rounds.")
    if catalogue is None:
        item_ids = np.array(sorted(shown), dtype=np.int64)
        vectors = np.stack([shown[item] for item in item_ids.tolist()])
        catalogue = Catalogue.of_vectors(vectors, item_ids, normalize=True)
        items = np.searchsorted(item_ids, items)
    return ItemLog(
        torch.from_numpy(contexts).to(resolved),
        torch.from_numpy(items).to(resolved),
        torch.from_numpy(rewards).to(resolved),
        None if propensities is None else torch.from_numpy(propensities).to(resolved),
        torch.from_numpy(np.array(catalogue.embeddings)).to(resolved),
        catalogue.item_ids,
    )


def _columns(name: str, episode: EpisodeData) -> dict[str, NDArray[np.generic]]:
    """The info columns of an episode; row t + 1 belongs to action t, as Minari records it."""
    if not np.asarray(episode.terminations).all():
        raise ValueError(
            f"Dataset {name!r} has rounds that others follow (sessions); off-policy evaluation at "
            "item level is for rounds that stand alone."
        )
    infos = episode.infos or {}
    columns = {key: values[1:] for key, values in infos.items() if isinstance(values, np.ndarray)}
    if "item_id" not in columns:
        raise unknown_name(f"info column of dataset {name!r}", "item_id", columns)
    return columns


def _catalogue(
    dataset: MinariDataset, embeddings: str | Path | None, normalize: bool
) -> Catalogue | None:
    try:
        source = dataset if embeddings is None else Path(embeddings)
        return resolve_items(source, normalize=normalize)
    except NoItemsError:
        return None


def _check_catalogue(
    name: str,
    catalogue: NDArray[np.floating],
    items: NDArray[np.int64],
    actions: NDArray[np.float32],
) -> None:
    """The actions of a log are the embeddings of its items, up to length."""
    if catalogue.shape[1] != actions.shape[1]:
        raise ValueError(
            f"The embeddings have {catalogue.shape[1]} dimensions, the actions of dataset {name!r} "
            f"{actions.shape[1]}."
        )
    there = (items >= 0) & (items < len(catalogue))
    vectors, given = catalogue[items[there]].astype(np.float64), actions[there].astype(np.float64)
    lengths = np.linalg.norm(vectors, axis=1) * np.linalg.norm(given, axis=1)
    apart = (vectors * given).sum(axis=1) < _SAME_DIRECTION * lengths
    if apart.any():
        raise ValueError(
            f"In {int(apart.sum())} of the first {len(items)} rounds of dataset {name!r} the "
            "action is not the embedding of its item: the embeddings are of another catalogue."
        )
