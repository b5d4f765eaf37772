"""Catalogues that change: items matched by id, and what came, went or moved in between."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recsim_drpo.simulator.catalogue import Catalogue

_SAME_DIRECTION = 0.999
_NUM_EXAMPLES = 3


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


def _numbered(catalogue: Catalogue) -> bool:
    ids = catalogue.item_ids
    return ids.dtype.kind in "iu" and np.array_equal(ids, np.arange(len(ids)))


def _counted(ids: Sequence[int | str]) -> str:
    listed = ", ".join(map(str, ids[:_NUM_EXAMPLES]))
    more = ", …" if len(ids) > _NUM_EXAMPLES else ""
    return f"{len(ids):,} item{'s' if len(ids) > 1 else ''} ({listed}{more})"
