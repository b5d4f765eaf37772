"""Logged transitions: a batch of them, and all of a log on one device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import torch
from torch import Tensor

from recsim_drpo.core.validation import check_integer


class Batch(NamedTuple):
    """Transitions, all on one device, with leading axis B.

    Attributes:
        observations: float32 (B, o).
        actions: float32 (B, a).
        rewards: float32 (B,).
        next_observations: float32 (B, o). Where an episode ended it is whatever the log had there.
        terminations: bool (B,), true where nothing follows: do not bootstrap. All true in a bandit.
        infos: further columns of the log by name, (B,) or (B, ...), if they were asked for.
    """

    observations: Tensor
    actions: Tensor
    rewards: Tensor
    next_observations: Tensor
    terminations: Tensor
    infos: dict[str, Tensor] = {}  # noqa: RUF012 - a NamedTuple's default; nobody writes to it


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
    def actions(self) -> Tensor:
        """float32 (N, a), not copied."""
        return self._actions

    @property
    def rewards(self) -> Tensor:
        """float32 (N,), not copied."""
        return self._rewards

    @property
    def terminations(self) -> Tensor:
        """bool (N,), not copied."""
        return self._terminations

    @property
    def infos(self) -> Mapping[str, Tensor]:
        """Further columns by name, (N, ...), not copied."""
        return MappingProxyType(self._infos)

    def observations(self) -> Tensor:
        """A copy of the observations that transitions start from, float32 (N, o)."""
        return self._observations.index_select(0, self._rows)

    def as_batch(self) -> Batch:
        """A copy of all of it, in the dataset's order."""
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


def check_batch(
    batch: Batch, observation_dim: int, action_dim: int, axes: tuple[int, ...] = ()
) -> None:
    """Raise ``ValueError`` unless shapes fit; looks at no value, so nothing waits for a device.

    ``axes`` are expected before the batch's own: the number of learners.
    """
    size = batch.rewards.shape[-1] if batch.rewards.ndim else 0
    rows = (*axes, size)
    expected = {
        "observations": (*rows, observation_dim),
        "actions": (*rows, action_dim),
        "rewards": rows,
        "next_observations": (*rows, observation_dim),
        "terminations": rows,
    }
    for name, shape in expected.items():
        found = tuple(getattr(batch, name).shape)
        if found != shape or size == 0:
            raise ValueError(
                f"Batch field {name!r} has shape {found}; this agent expects {shape}, at least one "
                f"row (observation_dim={observation_dim}, action_dim={action_dim})."
            )
