"""Read Minari datasets into tensors on a device."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from minari import EpisodeData, MinariDataset
from minari.data_collector import EpisodeBuffer
from numpy.typing import NDArray
from torch import Tensor

from recsim_drpo.core.messages import shown
from recsim_drpo.core.torch_settings import resolve_device
from recsim_drpo.core.transitions import Transitions
from recsim_drpo.datasets.compact import ActionColumn, item_table
from recsim_drpo.datasets.soundness import (
    DamagedDatasetError,
    check_episode,
    episodes_of,
    flat_rows,
    info_column,
    metadata_of,
    num_transitions,
    open_dataset as open_dataset,
)

_ROWS = 2**18


def check_combined(dataset: MinariDataset) -> None:
    """Raise ``ValueError`` for a dataset that Minari combined of logs that were imported.

    It keeps neither their items nor how their contexts are coded nor the unit of their rewards, and
    each of the logs may have its own. Logs that are no longer there cannot be asked.
    """
    if dataset.spec.env_spec is not None:
        return
    for part in metadata_of(dataset).get("combined_datasets", ()):
        try:
            is_imported = "import" in metadata_of(open_dataset(part))
        except (FileNotFoundError, ValueError):
            continue
        if is_imported:
            raise ValueError(
                f"Dataset {dataset.id!r} was combined of imported logs such as {shown(part)}, "
                "without "
                "their items, coding of contexts and unit of rewards: put logs together by "
                "recsim-drpo import, of several files or with --append."
            )


def load_transitions(
    dataset: str | MinariDataset,
    *,
    device: str | torch.device = "cpu",
    infos: Sequence[str] = (),
    compact: bool = True,
) -> Transitions:
    """Read a Minari dataset with Box spaces; observations and actions are flattened to float32.

    Where every action is, to the bit, the vector of the item that ``item_id`` names, in a catalogue
    that is at hand and has the checksum that the dataset keeps, transitions hold ids and one table
    of items: they say so by :attr:`Transitions.compact`, and batches are the same to the bit.

    Args:
        dataset: a dataset, or the id of a local one.
        device: where the tensors are to be.
        infos: info columns to bring along, for example ``("item_id", "propensity")``. Row t + 1 of
            a column belongs to action t, as Minari records it.
        compact: ``False`` keeps the actions themselves, 4 bytes a dimension and transition.

    Raises:
        FileNotFoundError: there is no local dataset of that id.
        ValueError: a space is not a Box; the dataset is empty, does not hold together or was
            combined of imported logs; an info column is not there; a number is not finite (with
            counts); the device is not there.
    """
    resolved = resolve_device(device)
    if isinstance(dataset, str):
        dataset = open_dataset(dataset)
    check_combined(dataset)
    widths = {
        name: _flat_width(name, space)
        for name, space in (
            ("observation", dataset.observation_space),
            ("action", dataset.action_space),
        )
    }
    total, num_episodes = num_transitions(dataset), int(dataset.total_episodes)
    if total == 0:
        raise ValueError(f"Dataset {dataset.id!r} has no transitions.")
    return transitions_of_episodes(
        episodes_of(dataset),
        total,
        num_episodes,
        widths,
        infos,
        resolved,
        dataset.id,
        item_table(dataset, total, widths["action"]) if compact else None,
    )


def as_transitions(dataset: str | MinariDataset | Transitions) -> Transitions:
    """Transitions of a dataset by :func:`load_transitions`; transitions themselves unchanged."""
    return dataset if isinstance(dataset, Transitions) else load_transitions(dataset)


def transitions_of_episodes(
    episodes: Iterable[EpisodeData | EpisodeBuffer],
    total: int,
    num_episodes: int,
    widths: Mapping[str, int],
    infos: Sequence[str],
    device: torch.device,
    name: str,
    table: NDArray[np.float32] | None = None,
) -> Transitions:
    """Transitions on a device, of episodes as Minari keeps them.

    Args:
        episodes: n + 1 observations, n actions, rewards and terminations, and info columns of
            n + 1 rows, each.
        total: number of transitions in all.
        num_episodes: number of episodes.
        widths: flat size of an ``"observation"`` and of an ``"action"``.
        infos: info columns to bring along.
        device: where the tensors are to be.
        name: of the dataset, for errors.
        table: float32 (N, a), the items; actions are kept as ids of its rows where they are those
            to the bit.

    Raises:
        ValueError: the episodes do not hold together; an info column is not there; a number is not
            finite (with counts).
    """
    arrays = _Arrays(name, total, num_episodes, widths, infos, table)
    for episode in episodes:
        arrays.add(episode)
    arrays.check()

    def resident(array: NDArray[Any]) -> Tensor:
        return torch.from_numpy(array).to(device)

    return Transitions(
        resident(arrays.observations),
        resident(arrays.rows),
        arrays.actions.resident(device),
        resident(arrays.rewards),
        resident(arrays.terminations),
        {column: resident(array) for column, array in arrays.infos.items()},
    )


class _Arrays:
    """Transitions as NumPy arrays, filled episode by episode; see :class:`Transitions`.

    Args:
        name: of the dataset, for errors.
        total, num_episodes, widths, infos, table: as of :func:`transitions_of_episodes`.
    """

    def __init__(
        self,
        name: str,
        total: int,
        num_episodes: int,
        widths: Mapping[str, int],
        infos: Sequence[str],
        table: NDArray[np.float32] | None,
    ) -> None:
        self._name, self._columns = name, infos
        self._done, self._num_episodes = 0, 0
        self.observations = np.empty((total + num_episodes, widths["observation"]), np.float32)
        self.actions = ActionColumn(total, widths["action"], table)
        self.rewards = np.empty(total, dtype=np.float32)
        self.terminations = np.empty(total, dtype=np.bool_)
        self.rows = np.empty(total, dtype=np.int64)
        self.infos: dict[str, NDArray[Any]] = {}

    def add(self, episode: EpisodeData | EpisodeBuffer) -> None:
        """Append an episode; ``ValueError`` where it does not hold together."""
        length, done = len(episode.rewards), self._done
        check_episode(self._name, self._num_episodes, episode)
        if length > len(self.rewards) - done:
            raise DamagedDatasetError(
                self._name, f"it says {len(self.rewards):,} transitions but holds more"
            )
        here = slice(done, done + length)
        first = done + self._num_episodes
        self.observations[first : first + length + 1] = flat_rows(
            self._name,
            "observations",
            episode.observations,
            length + 1,
            self.observations.shape[1],
        )
        actions = flat_rows(self._name, "actions", episode.actions, length, self.actions.width)
        self.actions.add(done, actions, episode)
        self.rewards[here] = episode.rewards
        self.terminations[here] = episode.terminations
        self.rows[here] = np.arange(first, first + length)
        for column in self._columns:
            values = info_column(self._name, episode, column)
            if column not in self.infos:
                shape = (len(self.rewards), *values.shape[1:])
                self.infos[column] = np.empty(shape, dtype=values.dtype)
            first_rows = self.infos[column]
            if first_rows.shape[1:] != values.shape[1:] or first_rows.dtype != values.dtype:
                raise DamagedDatasetError(
                    self._name,
                    f"its info column {shown(column)} is of another type in some episodes",
                )
            first_rows[here] = values
        self._done += length
        self._num_episodes += 1

    def check(self) -> None:
        """Raise ``ValueError`` unless all transitions are there and all numbers are finite."""
        if self._done != len(self.rewards):
            raise DamagedDatasetError(
                self._name, f"it says {len(self.rewards):,} transitions but holds {self._done:,}"
            )
        for what, wrong, size in (
            ("observations", _not_finite(self.observations), self.observations.size),
            ("actions", self.actions.num_not_finite, len(self.rewards) * self.actions.width),
            ("rewards", _not_finite(self.rewards), self.rewards.size),
        ):
            if wrong:
                raise ValueError(
                    f"Dataset {self._name!r} has {wrong} {what} that are NaN or infinite, of "
                    f"{size}; repair or remove those transitions first."
                )


def _not_finite(array: NDArray[np.float32]) -> int:
    """How many numbers are NaN or infinite; marks of a part of them are in memory at a time."""
    parts = (array[start : start + _ROWS] for start in range(0, len(array), _ROWS))
    return sum(int(part.size - np.count_nonzero(np.isfinite(part))) for part in parts)


def _flat_width(name: str, space: gym.Space[Any]) -> int:
    if not isinstance(space, gym.spaces.Box):
        raise ValueError(f"The {name} space is {space}; only Box spaces can be read into tensors.")
    return int(np.prod(space.shape))
