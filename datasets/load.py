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
from recsim_drpo.datasets.together import Datasets, opened

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
                "without their items, coding of contexts and unit of rewards: put logs together "
                "by recsim-drpo import, of several files or with --append."
            )


def load_transitions(
    dataset: Datasets,
    *,
    device: str | torch.device = "cpu",
    infos: Sequence[str] = (),
    compact: bool = True,
    items: bool = False,
) -> Transitions:
    """Read Minari datasets with Box spaces; observations and actions are flattened to float32.

    Several are one log, in order: shards, or logs of different mixtures in one world.

    Where every action is, to the bit, the vector of the item that ``item_id`` names, in a catalogue
    that is at hand and has the checksum that the dataset keeps, transitions hold ids and one table
    of items: they say so by :attr:`Transitions.compact`, and batches are the same to the bit.

    Args:
        dataset: a dataset, or the id of a local one; or several.
        device: where the tensors are to be.
        infos: info columns to bring along, for example ``("item_id", "propensity")``. Row t + 1 of
            a column belongs to action t, as Minari records it.
        compact: ``False`` keeps the actions themselves, 4 bytes a dimension and transition.
        items: ids and the table of items wherever these are at hand, even if they take more memory:
            for agents that draw items of the catalogue
            (:attr:`recsim_drpo.agents.Needs.items`).

    Raises:
        FileNotFoundError: there is no local dataset of that id.
        ValueError: a space is not a Box; the dataset is empty, does not hold together or was
            combined of imported logs; an info column is not there; a number is not finite (with
            counts); the device is not there; several datasets are of different worlds, or imported.
    """
    resolved = resolve_device(device)
    logs = opened(dataset)
    for log in logs:
        check_combined(log)
    widths = flat_widths(logs[0])
    totals = [num_transitions(log) for log in logs]
    for log, total in zip(logs, totals, strict=True):
        if total == 0:
            raise ValueError(f"Dataset {log.id!r} has no transitions.")
    width = widths["action"]
    table = item_table(logs, sum(totals), width, always=items) if compact or items else None
    num_episodes = sum(int(log.total_episodes) for log in logs)
    arrays = LogArrays(sum(totals), num_episodes, widths, infos, table)
    for log, total in zip(logs, totals, strict=True):
        arrays.fill(log.id, total, episodes_of(log))
    return arrays.transitions(resolved)


def as_transitions(dataset: Datasets | Transitions) -> Transitions:
    """Transitions of datasets by :func:`load_transitions`; transitions themselves unchanged."""
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
    arrays = LogArrays(total, num_episodes, widths, infos, table)
    arrays.fill(name, total, episodes)
    return arrays.transitions(device)


class LogArrays:
    """Transitions as NumPy arrays, filled episode by episode; see :class:`Transitions`.

    Args:
        total, num_episodes, widths, infos, table: as of :func:`transitions_of_episodes`.
    """

    def __init__(
        self,
        total: int,
        num_episodes: int,
        widths: Mapping[str, int],
        infos: Sequence[str],
        table: NDArray[np.float32] | None,
    ) -> None:
        self._name, self._columns, self._of_column = "", infos, dict.fromkeys(infos, "")
        self._done, self._due, self._num_episodes = 0, 0, 0
        self.observations = np.empty((total + num_episodes, widths["observation"]), np.float32)
        self.actions = ActionColumn(total, widths["action"], table)
        self.rewards = np.empty(total, dtype=np.float32)
        self.terminations = np.empty(total, dtype=np.bool_)
        self.rows = np.empty(total, dtype=np.int64)
        self.infos: dict[str, NDArray[Any]] = {}

    def fill(self, name: str, total: int, episodes: Iterable[EpisodeData | EpisodeBuffer]) -> None:
        """Append the episodes of a dataset.

        Raises:
            ValueError: they do not hold together; they are not ``total`` transitions, or not all
                numbers are finite; an info column is of another type than in former datasets.
        """
        start, first_row = self._done, self._done + self._num_episodes
        self._name, self._due, self.actions.num_not_finite = name, start + total, 0
        for number, episode in enumerate(episodes):
            self._add(number, episode, total)
        if self._done != self._due:
            raise DamagedDatasetError(
                name, f"it says {total:,} transitions but holds {self._done - start:,}"
            )
        observations = self.observations[first_row : self._done + self._num_episodes]
        rewards = self.rewards[start:]
        for what, wrong, size in (
            ("observations", _not_finite(observations), observations.size),
            ("actions", self.actions.num_not_finite, total * self.actions.width),
            ("rewards", _not_finite(rewards[:total]), total),
        ):
            if wrong:
                raise ValueError(
                    f"Dataset {name!r} has {wrong} {what} that are NaN or infinite, of "
                    f"{size}; repair or remove those transitions first."
                )

    def transitions(self, device: torch.device) -> Transitions:
        """What was filled, on a device."""

        def resident(array: NDArray[Any]) -> Tensor:
            return torch.from_numpy(array).to(device)

        return Transitions(
            resident(self.observations),
            resident(self.rows),
            self.actions.resident(device),
            resident(self.rewards),
            resident(self.terminations),
            {column: resident(array) for column, array in self.infos.items()},
        )

    def _add(self, number: int, episode: EpisodeData | EpisodeBuffer, total: int) -> None:
        length, done = len(episode.rewards), self._done
        check_episode(self._name, number, episode)
        if length > self._due - done:
            raise DamagedDatasetError(self._name, f"it says {total:,} transitions but holds more")
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
            self._room_for(column, values)[here] = values
        self._done += length
        self._num_episodes += 1

    def _room_for(self, column: str, values: NDArray[Any]) -> NDArray[Any]:
        """An info column of all transitions, of the type that values of it have."""
        if column not in self.infos:
            shape = (len(self.rewards), *values.shape[1:])
            self.infos[column] = np.empty(shape, dtype=values.dtype)
            self._of_column[column] = self._name
        room, before = self.infos[column], self._of_column[column]
        if room.shape[1:] == values.shape[1:] and room.dtype == values.dtype:
            return room
        if before != self._name:
            raise ValueError(
                f"Datasets {before!r} and {self._name!r} have info columns {shown(column)} of "
                "different types; leave the column out."
            )
        raise DamagedDatasetError(
            self._name, f"its info column {shown(column)} is of another type in some episodes"
        )


def _not_finite(array: NDArray[np.float32]) -> int:
    """How many numbers are NaN or infinite; marks of a part of them are in memory at a time."""
    parts = (array[start : start + _ROWS] for start in range(0, len(array), _ROWS))
    return sum(int(part.size - np.count_nonzero(np.isfinite(part))) for part in parts)


def flat_widths(dataset: MinariDataset) -> dict[str, int]:
    """Flat size of an ``"observation"`` and of an ``"action"``.

    Raises:
        ValueError: a space is not a Box.
    """
    spaces = {"observation": dataset.observation_space, "action": dataset.action_space}
    return {name: _flat_width(name, space) for name, space in spaces.items()}


def _flat_width(name: str, space: gym.Space[Any]) -> int:
    if not isinstance(space, gym.spaces.Box):
        raise ValueError(f"The {name} space is {space}; only Box spaces can be read into tensors.")
    return int(np.prod(space.shape))
