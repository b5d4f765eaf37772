"""Read Minari datasets into tensors on a device, and draw batches from them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import gymnasium as gym
import minari
import numpy as np
import torch
from minari import EpisodeData, MinariDataset
from minari.data_collector import EpisodeBuffer
from minari.storage.datasets_root_dir import get_dataset_path
from numpy.typing import NDArray
from torch import Tensor

from recsim_drpo.agents.protocol import Batch
from recsim_drpo.checks import check_integer, resolve_device, unknown_name


class Transitions:
    """All transitions of a dataset, resident on one device.

    Observations are held once: an episode of n transitions has n + 1 rows, and a transition's next
    observation is the row after its own.

    Args:
        observations: float32 (N + E, o) for N transitions in E episodes.
        rows: int64 (N,), each transition's row in ``observations``.
        actions: float32 (N, a).
        rewards: float32 (N,).
        terminations: bool (N,).
        infos: further columns, (N, ...).
    """

    def __init__(
        self,
        observations: Tensor,
        rows: Tensor,
        actions: Tensor,
        rewards: Tensor,
        terminations: Tensor,
        infos: dict[str, Tensor],
    ) -> None:
        self._observations = observations
        self._rows = rows
        self._actions = actions
        self._rewards = rewards
        self._terminations = terminations
        self._infos = infos

    @classmethod
    def concatenated(cls, logs: Sequence[Transitions]) -> Transitions:
        """Several logs as one, in order; info columns that not all of them have are left out.

        Raises:
            ValueError: their observations or actions differ in shape, or they lie on several
                devices.
        """
        if len(logs) == 1:
            return logs[0]
        for what in ("observation_dim", "action_dim", "device"):
            found = sorted({str(getattr(log, what)) for log in logs})
            if len(found) > 1:
                raise ValueError(f"Logs of different {what} cannot be joined: {', '.join(found)}.")
        starts = [0]
        for log in logs:
            starts.append(starts[-1] + len(log._observations))
        shared = [name for name in logs[0]._infos if all(name in log._infos for log in logs)]
        return cls(
            torch.cat([log._observations for log in logs]),
            torch.cat([log._rows + start for log, start in zip(logs, starts, strict=False)]),
            torch.cat([log._actions for log in logs]),
            torch.cat([log._rewards for log in logs]),
            torch.cat([log._terminations for log in logs]),
            {name: torch.cat([log._infos[name] for log in logs]) for name in shared},
        )

    def __len__(self) -> int:
        """Number of transitions N."""
        return len(self._rows)

    @property
    def observation_dim(self) -> int:
        """Dimension o."""
        return int(self._observations.shape[1])

    @property
    def action_dim(self) -> int:
        """Dimension a."""
        return int(self._actions.shape[1])

    @property
    def device(self) -> torch.device:
        """Where the tensors are."""
        return self._observations.device

    @property
    def episode_ends(self) -> Tensor:
        """bool (N,), true at the last transition of an episode: terminated, or cut off there."""
        ends = self._terminations.clone()
        ends[:-1] |= self._rows[1:] != self._rows[:-1] + 1
        ends[-1] = True
        return ends

    @property
    def batch(self) -> Batch:
        """All of it, in the dataset's order."""
        return self.take(torch.arange(len(self), device=self.device))

    def take(self, indices: Tensor) -> Batch:
        """The transitions with the given indices, int64 (B,) in [0, N)."""
        # Whole rows, which index_select copies several times as fast as an index in brackets does.
        flat = indices.reshape(-1)
        rows = self._rows.index_select(0, flat)

        def picked(column: Tensor, where: Tensor) -> Tensor:
            return column.index_select(0, where).reshape(indices.shape + column.shape[1:])

        return Batch(
            picked(self._observations, rows),
            picked(self._actions, flat),
            picked(self._rewards, flat),
            picked(self._observations, rows + 1),
            picked(self._terminations, flat),
            {name: picked(column, flat) for name, column in self._infos.items()},
        )

    def first(self, count: int, infos: Sequence[str]) -> Transitions:
        """The first ``count`` transitions with these info columns; observations are shared."""
        return Transitions(
            self._observations,
            self._rows[:count],
            self._actions[:count],
            self._rewards[:count],
            self._terminations[:count],
            {name: self._infos[name][:count] for name in infos},
        )

    def sample(self, batch_size: int, generator: torch.Generator) -> Batch:
        """A batch drawn uniformly with replacement by a generator of the tensors' device."""
        check_integer("batch_size", batch_size, 1)
        indices = torch.randint(len(self), (batch_size,), generator=generator, device=self.device)
        return self.take(indices)


def open_dataset(dataset_id: str) -> MinariDataset:
    """The local Minari dataset of that id; ``FileNotFoundError`` that says where it is missing."""
    try:
        return minari.load_dataset(dataset_id)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"There is no local dataset {dataset_id!r} under {str(get_dataset_path())!r}; make it "
            "by recsim-drpo generate, or set MINARI_DATASETS_PATH to where it is."
        ) from error


def load_transitions(
    dataset: str | MinariDataset,
    *,
    device: str | torch.device = "cpu",
    infos: Sequence[str] = (),
) -> Transitions:
    """Read a Minari dataset with Box spaces; observations and actions are flattened to float32.

    Args:
        dataset: a dataset, or the id of a local one.
        device: where the tensors are to be.
        infos: info columns to bring along, for example ``("item_id", "propensity")``. Row t + 1 of
            a column belongs to action t, as Minari records it.

    Raises:
        FileNotFoundError: there is no local dataset of that id.
        ValueError: a space is not a Box; the dataset is empty or does not hold together; an info
            column is not there; a number is not finite (with counts); the device is not there.
    """
    resolved = resolve_device(device)
    if isinstance(dataset, str):
        dataset = open_dataset(dataset)
    widths = {
        name: _flat_width(name, space)
        for name, space in (
            ("observation", dataset.observation_space),
            ("action", dataset.action_space),
        )
    }
    total, num_episodes = int(dataset.total_steps), int(dataset.total_episodes)
    if total == 0:
        raise ValueError(f"Dataset {dataset.id!r} has no transitions.")
    return transitions_of_episodes(
        dataset.iterate_episodes(), total, num_episodes, widths, infos, resolved, dataset.id
    )


def as_transitions(dataset: str | MinariDataset | Transitions) -> Transitions:
    """What was read already, or :func:`load_transitions` of a dataset; raises as that does."""
    return dataset if isinstance(dataset, Transitions) else load_transitions(dataset)


def transitions_of_episodes(
    episodes: Iterable[EpisodeData | EpisodeBuffer],
    total: int,
    num_episodes: int,
    widths: Mapping[str, int],
    infos: Sequence[str],
    device: torch.device,
    name: str,
) -> Transitions:
    """Episodes as Minari keeps them, as tensors on a device.

    Args:
        episodes: n + 1 observations, n actions, rewards and terminations, and info columns of
            n + 1 rows, each.
        total: number of transitions in all.
        num_episodes: number of episodes.
        widths: flat size of an ``"observation"`` and of an ``"action"``.
        infos: info columns to bring along.
        device: where the tensors are to be.
        name: of the dataset, for errors.

    Raises:
        ValueError: the episodes do not hold together; an info column is not there; a number is not
            finite (with counts).
    """
    observations = np.empty((total + num_episodes, widths["observation"]), dtype=np.float32)
    actions = np.empty((total, widths["action"]), dtype=np.float32)
    rewards = np.empty(total, dtype=np.float32)
    terminations = np.empty(total, dtype=np.bool_)
    rows = np.empty(total, dtype=np.int64)
    columns: dict[str, NDArray[Any]] = {}
    done = 0
    for number, episode in enumerate(episodes):
        length = len(episode.rewards)
        here = slice(done, done + length)
        first = done + number
        if length > total - done or len(episode.observations) != length + 1:
            raise ValueError(
                f"Dataset {name!r}, episode {number}: {length} rewards and "
                f"{len(episode.observations)} observations where one more is due; the dataset is "
                "damaged."
            )
        observations[first : first + length + 1] = np.reshape(
            episode.observations, (length + 1, -1)
        )
        actions[here] = np.reshape(episode.actions, (length, -1))
        rewards[here] = episode.rewards
        terminations[here] = episode.terminations
        rows[here] = np.arange(first, first + length)
        for column in infos:
            values = (episode.infos or {}).get(column)
            if not isinstance(values, np.ndarray) or len(values) != length + 1:
                known = [k for k, v in (episode.infos or {}).items() if isinstance(v, np.ndarray)]
                raise unknown_name(f"info column of dataset {name!r}", column, known)
            if column not in columns:
                columns[column] = np.empty((total, *values.shape[1:]), dtype=values.dtype)
            columns[column][here] = values[1:]
        done += length
    if done != total:
        raise ValueError(
            f"Dataset {name!r} says {total} transitions but holds {done}; it is damaged."
        )
    for what, array in (("observations", observations), ("actions", actions), ("rewards", rewards)):
        wrong = int(array.size - np.count_nonzero(np.isfinite(array)))
        if wrong:
            raise ValueError(
                f"Dataset {name!r} has {wrong} {what} that are NaN or infinite, of "
                f"{array.size}; repair or remove those transitions first."
            )

    def resident(array: NDArray[Any]) -> Tensor:
        return torch.from_numpy(array).to(device)

    return Transitions(
        resident(observations),
        resident(rows),
        resident(actions),
        resident(rewards),
        resident(terminations),
        {key: resident(column) for key, column in columns.items()},
    )


def _flat_width(name: str, space: gym.Space[Any]) -> int:
    if not isinstance(space, gym.spaces.Box):
        raise ValueError(f"The {name} space is {space}; only Box spaces can be read into tensors.")
    return int(np.prod(space.shape))
