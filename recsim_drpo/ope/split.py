"""Which rounds of an imported log are learnt from, and which are held out: the latest."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from minari import MinariDataset
from numpy.typing import NDArray

from recsim_drpo.core.messages import shown
from recsim_drpo.core.validation import check_number
from recsim_drpo.datasets.imported import is_imported
from recsim_drpo.datasets.soundness import episodes_of, info_column, metadata_of
from recsim_drpo.ope.logs import ItemLog

ORDER = ("time", "request")
"""Info columns that the split reads, where a log has them."""

_FARTHEST = 2.0  # how much smaller or larger than asked a part may become, to cut between times


def ordering_infos(dataset: MinariDataset) -> list[str]:
    """Those of :data:`ORDER` that an imported dataset has."""
    about = metadata_of(dataset)["import"]
    return [name for name in ORDER if about.get(name) is not None]


def split_rounds(
    num_rounds: int,
    share: float,
    times: NDArray[np.float64] | None = None,
    requests: NDArray[np.int64] | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The rounds to learn from and those held out, the last in the order of time.

    The cut lies between two times, and between two requests, if there is such a place that holds
    out between half and twice as many, and leaves half or more of the others; else where the share
    says.

    Args:
        num_rounds: n.
        share: of the rounds, in (0, 1), held out.
        times: (n,); ``None``: rounds are in their order.
        requests: (n,), codes.

    Returns:
        int64 (m,) and (n - m,), in the order of time.

    Raises:
        ValueError: a share that leaves one of the two without a round.
    """
    wanted = num_rounds - round(share * num_rounds)
    if not 0 < wanted < num_rounds:
        raise ValueError(
            f"held_out={shown(share)} of {num_rounds:,} rounds leaves none to "
            f"{'learn from' if wanted == 0 else 'hold out'}; choose another share."
        )
    order = np.arange(num_rounds) if times is None else np.argsort(times, kind="stable")
    between = np.ones(num_rounds - 1, dtype=np.bool_)
    for column in (times, requests):
        if column is not None:
            between &= np.diff(column[order]) != 0
    cuts = 1 + np.flatnonzero(between)
    part = (num_rounds - cuts) / (num_rounds - wanted)
    enough = cuts * _FARTHEST >= wanted
    near = cuts[(part >= 1.0 / _FARTHEST) & (part <= _FARTHEST) & enough]
    cut = int(near[np.abs(near - wanted).argmin()]) if len(near) else wanted
    return order[:cut], order[cut:]


def held_out_part(log: ItemLog, dataset: MinariDataset, share: float) -> ItemLog:
    """The rounds of a log that training with ``held_out=share`` does not learn from.

    Args:
        log: of all rounds of the dataset.
        dataset: made by ``recsim-drpo import``.
        share: in (0, 1).

    Raises:
        ValueError: the dataset was not imported; a share out of its range.
    """
    check_number("held_out", share, 0.0, 1.0, include_low=False, include_high=False)
    if not is_imported(dataset):
        raise ValueError(f"Dataset {dataset.id!r} was not made by recsim-drpo import.")
    names = ordering_infos(dataset)
    columns: dict[str, list[Any]] = {name: [] for name in names}
    for episode in episodes_of(dataset) if names else ():
        for name in names:
            columns[name].append(info_column(dataset.id, episode, name))
    whole = {name: np.concatenate(parts) for name, parts in columns.items()}
    _, held_out = split_rounds(len(log), share, whole.get("time"), whole.get("request"))
    return log.part(torch.from_numpy(held_out).to(log.items.device))
