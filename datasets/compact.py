"""Actions of a log as ids of one table of items, where they are its rows bit for bit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from minari import EpisodeData, MinariDataset
from minari.data_collector import EpisodeBuffer
from numpy.typing import NDArray
from torch import Tensor

from recsim_drpo.core.transitions import ItemActions
from recsim_drpo.core.validation import as_integer
from recsim_drpo.datasets.items import resolve_items
from recsim_drpo.datasets.soundness import metadata_of
from recsim_drpo.envs.spec import WorldSpec
from recsim_drpo.simulator.config import DRAWN_NUM_ITEMS

_ITEM_ID = "item_id"


def item_table(
    datasets: Sequence[MinariDataset], total: int, width: int, *, always: bool = False
) -> NDArray[np.float32] | None:
    """The vectors of the items of datasets, float32 (N, width), where ids of them take less memory.

    Args:
        datasets: any Minari datasets, one or more.
        total: their number of transitions.
        width: flat size of their actions.
        always: even where ids and table take more memory than the actions do, for agents that draw
            items.

    Returns:
        ``None`` where their metadata have not all the checksum of one catalogue, the catalogue is
        not at hand or another, or ids and table would take more than the actions do, unless
        ``always``.
    """
    dataset = datasets[0]
    checksum = metadata_of(dataset).get("catalogue_checksum")
    of_all = {metadata_of(each).get("catalogue_checksum") for each in datasets}
    if checksum is None or len(of_all) > 1:
        return None
    try:
        if not always and not _saves(_declared_items(dataset), total, width):
            return None
        items = resolve_items(dataset)
    except (MemoryError, OSError, TypeError, ValueError):  # a log is learnt from without its items
        return None
    if (
        items.checksum != checksum
        or items.dim != width
        or not (always or _saves(items.num_items, total, width))
    ):
        return None
    return items.embeddings


def _declared_items(dataset: MinariDataset) -> int:
    """The size of the catalogue by the environment's spec; 0 where that does not say it."""
    ours = WorldSpec.of(dataset.spec.env_spec)
    if ours is None or ours.kwargs.get("embeddings") is not None:
        return 0
    declared = ours.kwargs.get("num_items")
    return DRAWN_NUM_ITEMS if declared is None else as_integer(declared) or 0


def _saves(num_items: int, total: int, width: int) -> bool:
    return num_items * width + total < total * width


class ActionColumn:
    """The actions of a log, filled episode by episode.

    Args:
        total: number of transitions.
        width: flat size of an action.
        table: float32 (N, width). The column keeps ids of its rows as long as the actions of every
            episode are, to the bit, the rows that its ``item_id`` names; from the first episode on
            in which they are not, and without a table, it keeps the actions.

    Attributes:
        num_not_finite: NaN and infinite numbers in the actions so far.
    """

    def __init__(self, total: int, width: int, table: NDArray[np.float32] | None = None) -> None:
        self._total, self.width, self._table = total, width, table
        self._dense = np.empty((total, width), np.float32) if table is None else None
        self._ids = np.empty(0 if table is None else total, np.int32)
        self.num_not_finite = 0

    def add(self, start: int, actions: NDArray[Any], episode: EpisodeData | EpisodeBuffer) -> None:
        """Put in the actions (n, width) of an episode as the transitions from ``start`` on."""
        rows = np.asarray(actions, dtype=np.float32)
        here = slice(start, start + len(rows))
        self.num_not_finite += int(rows.size - np.count_nonzero(np.isfinite(rows)))
        if self._table is not None:
            ids = _ids_of(episode, rows, self._table)
            if ids is not None:
                self._ids[here] = ids
                return
        if self._dense is None:
            self._dense = self._looked_up(start)
        self._dense[here] = rows

    def resident(self, device: torch.device) -> Tensor | ItemActions:
        """The column on a device."""
        if self._dense is not None:
            return torch.from_numpy(self._dense).to(device)
        assert self._table is not None
        table = torch.from_numpy(self._table).to(device)
        return ItemActions(table, torch.from_numpy(self._ids).to(device))

    def _looked_up(self, done: int) -> NDArray[np.float32]:
        """All actions, of which the first ``done`` are the rows that were found so far."""
        assert self._table is not None
        dense = np.empty((self._total, self.width), np.float32)
        np.take(self._table, self._ids[:done], axis=0, out=dense[:done], mode="clip")
        self._table, self._ids = None, self._ids[:0]
        return dense


def _ids_of(
    episode: EpisodeData | EpisodeBuffer, rows: NDArray[np.float32], table: NDArray[np.float32]
) -> NDArray[Any] | None:
    """The ids (n,) of the table's rows that actions are to the bit, or ``None`` if one is none."""
    column = (episode.infos or {}).get(_ITEM_ID)
    if not isinstance(column, np.ndarray) or column.dtype.kind not in "iu":
        return None
    if column.shape != (len(rows) + 1,):
        return None
    ids = column[1:]
    if len(ids) and not (ids.min() >= 0 and ids.max() < len(table)):
        return None
    # As integers: -0.0 is another action than 0.0.
    same = np.array_equal(table[ids].view(np.int32), np.ascontiguousarray(rows).view(np.int32))
    return ids if same else None
