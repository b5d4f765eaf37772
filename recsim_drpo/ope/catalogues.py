"""Catalogues that change: items matched by id, and what came, went or moved in between."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recsim_drpo.simulator.catalogue import Catalogue
from recsim_drpo.simulator.decoder import ExactDecoder, directions

_SAME_DIRECTION = 0.999
_NUM_EXAMPLES = 3
_DECODED_ALIKE = 1e-5
"""Scores closer than this may be taken for the larger by another computation of them."""


@dataclass(frozen=True)
class CatalogueChange:
    """What a catalogue has, or lacks, that another one before did not.

    Attributes:
        new: ids of items that it has and the former lacks.
        gone: ids of items that it lacks and the former has.
        moved: ids of items of both whose vectors point elsewhere.
        num_common: items of both.
    """

    new: Sequence[int | str]
    gone: Sequence[int | str]
    moved: Sequence[int | str]
    num_common: int

    @classmethod
    def between(cls, former: Catalogue, present: Catalogue) -> CatalogueChange:
        """What changed from one catalogue to another of the same dimension d."""
        places = places_of(former, present)
        kept = places >= 0
        new = np.delete(present.item_ids, places[kept])
        vectors = former.embeddings[kept], present.embeddings[places[kept]]
        moved = former.item_ids[kept][elsewhere(*vectors)]
        gone = former.item_ids[~kept]
        return cls(new.tolist(), gone.tolist(), moved.tolist(), int(kept.sum()))

    def __bool__(self) -> bool:
        """Whether anything changed."""
        return bool(self.new or self.gone or self.moved)

    @property
    def is_another(self) -> bool:
        """Whether these are no two states of one: they share nothing, or half of it has moved."""
        return self.num_common == 0 or 2 * len(self.moved) >= self.num_common

    def __str__(self) -> str:
        parts = ((self.new, "new"), (self.gone, "gone"), (self.moved, "there with another vector"))
        return ", ".join(f"{_counted(ids)} {what}" for ids, what in parts if ids) or "nothing"


def places_of(former: Catalogue, present: Catalogue) -> NDArray[np.int64]:
    """The rows in a catalogue of the items of a former one, int64 (N,); -1 for those gone.

    Ids are matched as text, since files differ in what they keep integers as. Rows that are but
    numbered are matched by place, as a file without ids has them.

    Raises:
        ValueError: the present catalogue is numbered, the former is not, and has another length.
    """
    if _numbered(present) and not _numbered(former):
        if len(present.item_ids) != len(former.item_ids):
            raise ValueError(
                f"The embeddings have no ids, and are {len(present.item_ids):,} vectors for "
                f"{len(former.item_ids):,} items; give a file with ids."
            )
        return np.arange(len(former.item_ids), dtype=np.int64)
    rows = {str(item): row for row, item in enumerate(present.item_ids.tolist())}
    found = [rows.get(str(item), -1) for item in former.item_ids.tolist()]
    return np.array(found, dtype=np.int64)


def joined(former: Catalogue, present: Catalogue) -> tuple[Catalogue, NDArray[np.int64], int]:
    """A catalogue with the items that are gone from it behind, to tell what a former log showed.

    Returns:
        the present items, then those of the former that are gone; int64 (N,), the rows in it of the
        former's items; how many are gone.

    Raises:
        ValueError: the two are of different dimensions, or no states of one catalogue.
    """
    if former.dim != present.dim:
        raise ValueError(
            f"The embeddings have {present.dim} dimensions, the items of the log {former.dim}."
        )
    change = CatalogueChange.between(former, present)
    if change.is_another:
        raise ValueError(
            f"Of {change.num_common:,} items of the log that the file has by their ids, "
            f"{len(change.moved):,} have another vector there: the embeddings are of another "
            "catalogue."
        )
    places = places_of(former, present)
    gone = places < 0
    places[gone] = len(present.item_ids) + np.arange(int(gone.sum()))
    ids = present.item_ids, former.item_ids[gone]
    if _numbered(present) and not _numbered(former):
        ids = former.item_ids, ids[1]
    if ids[0].dtype.kind != ids[1].dtype.kind:
        ids = ids[0].astype(np.str_), ids[1].astype(np.str_)
    vectors = np.concatenate([present.embeddings, former.embeddings[gone]])
    return Catalogue(vectors, np.concatenate(ids)), places, int(gone.sum())


def elsewhere(one: NDArray[np.floating], other: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Whether vectors (n, d) point in other directions than those of another array, bool (n,)."""
    a, b = one.astype(np.float64), other.astype(np.float64)
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    apart: NDArray[np.bool_] = (a * b).sum(axis=1) < _SAME_DIRECTION * lengths
    return apart


class Directions:
    """The items that a log shows, by the directions of its actions, where no catalogue is known.

    Args:
        name: of the dataset, for errors.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._of_items: dict[int, NDArray[np.float32]] = {}

    def add(self, items: NDArray[np.int64], actions: NDArray[np.float32]) -> None:
        """Count rounds, items (n,) and actions (n, d); ``ValueError`` for an item in two places."""
        shown, first, row_of = np.unique(items, return_index=True, return_inverse=True)
        for item, row in zip(shown.tolist(), first.tolist(), strict=True):
            self._of_items.setdefault(item, actions[row].copy())
        vectors = np.stack([self._of_items[item] for item in shown.tolist()])
        apart = elsewhere(vectors[row_of.reshape(-1)], actions)
        if apart.any():
            raise ValueError(
                f"Dataset {self._name!r} shows item {items[apart][0]} by actions of different "
                "directions, as logs of several catalogues put together do, or of a policy's own "
                "actions; give its items' vectors by --embeddings FILE."
            )

    def catalogue(self) -> Catalogue:
        """The items that were shown, in the order of their numbers."""
        item_ids = np.array(sorted(self._of_items), dtype=np.int64)
        vectors = np.stack([self._of_items[item] for item in item_ids.tolist()])
        return Catalogue.of_vectors(vectors, item_ids, normalize=True)


def check_catalogue(
    name: str,
    vectors: Tensor,
    items: NDArray[np.int64],
    actions: NDArray[np.float32],
) -> None:
    """Raise ``ValueError`` unless a log's actions are its items, up to length, or decoded to them.

    Args:
        name: of the dataset, for the message.
        vectors: float32 (N, d), the catalogue, on the CPU.
        items: (n,), rows of it; those outside of it are not looked at.
        actions: float32 (n, d).
    """
    catalogue: NDArray[np.float32] = vectors.numpy()
    if catalogue.shape[1] != actions.shape[1]:
        raise ValueError(
            f"The embeddings have {catalogue.shape[1]} dimensions, the actions of dataset {name!r} "
            f"{actions.shape[1]}."
        )
    known = (items >= 0) & (items < len(catalogue))
    items, actions = items[known], actions[known]
    apart = elsewhere(catalogue[items], actions)
    if apart.any():
        queries = directions(torch.from_numpy(actions[apart])).numpy()
        best = ExactDecoder(vectors).search(torch.from_numpy(queries))[0]
        scores = (queries * catalogue[items[apart]]).sum(axis=1)
        apart[apart] = scores < best[:, 0].numpy() - _DECODED_ALIKE
    if apart.any():
        raise ValueError(
            f"In {int(apart.sum())} of {len(known)} rounds of dataset {name!r} the action neither "
            "is the embedding of its item nor is decoded to it: the embeddings are of another "
            "catalogue."
        )


def _numbered(catalogue: Catalogue) -> bool:
    ids = catalogue.item_ids
    return ids.dtype.kind in "iu" and np.array_equal(ids, np.arange(len(ids)))


def _counted(ids: Sequence[int | str]) -> str:
    listed = ", ".join(map(str, ids[:_NUM_EXAMPLES]))
    more = ", …" if len(ids) > _NUM_EXAMPLES else ""
    return f"{len(ids):,} item{'s' if len(ids) > 1 else ''} ({listed}{more})"
