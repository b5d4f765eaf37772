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
        terminations: bool (B,), true where the episode ended of itself, so that all future rewards
            are 0: do not bootstrap. All true in a bandit.
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
            values = sorted({str(getattr(log, what)) for log in logs})
            if len(values) > 1:
                raise ValueError(f"Logs of different {what} cannot be joined: {', '.join(values)}.")
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
        """Dimension o of an observation."""
        return int(self._observations.shape[1])

    @property
    def action_dim(self) -> int:
        """Dimension a of an action."""
        return int(self._actions.shape[1])

    @property
    def device(self) -> torch.device:
        """Device that holds the tensors."""
        return self._observations.device

    @property
    def episode_ends(self) -> Tensor:
        """Marks of the last transition of each episode, terminated or cut off there: bool (N,)."""
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
        """Observations that the transitions start from, float32 (N, o), copied."""
        return self._observations.index_select(0, self._rows)

    def as_batch(self) -> Batch:
        """All N transitions in the dataset's order, copied."""
        return self.take(torch.arange(len(self), device=self.device))

    def take(self, indices: Tensor) -> Batch:
        """The transitions with these indices, copied.

        Args:
            indices: int64 of any shape, (B,) for a batch, in [0, N).

        Returns:
            columns whose leading axes are those of ``indices``.
        """
        # Whole rows, which index_select copies several times as fast as an index in brackets does.
        flat = indices.reshape(-1)
        rows = self._rows.index_select(0, flat)

        def select(column: Tensor, at: Tensor) -> Tensor:
            return column.index_select(0, at).reshape(indices.shape + column.shape[1:])

        return Batch(
            select(self._observations, rows),
            select(self._actions, flat),
            select(self._rewards, flat),
            select(self._observations, rows + 1),
            select(self._terminations, flat),
            {name: select(column, flat) for name, column in self._infos.items()},
        )

    def part(self, indices: Tensor, infos: Sequence[str]) -> Transitions:
        """The transitions with these indices, int64 (m,), and info columns; observations shared."""
        return Transitions(
            self._observations,
            self._rows[indices],
            self._actions[indices],
            self._rewards[indices],
            self._terminations[indices],
            {name: self._infos[name][indices] for name in infos},
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
        """A batch drawn uniformly with replacement.

        Args:
            batch_size: B ≥ 1.
            generator: on the tensors' device.

        Raises:
            ValueError: a batch size below 1.
        """
        check_integer("batch_size", batch_size, 1)
        indices = torch.randint(len(self), (batch_size,), generator=generator, device=self.device)
        return self.take(indices)


def check_batch(
    batch: Batch, observation_dim: int, action_dim: int, axes: tuple[int, ...] = ()
) -> None:
    """Raise ``ValueError`` unless the shapes fit; no value is read, so nothing waits for a device.

    Args:
        batch: transitions.
        observation_dim: o.
        action_dim: a.
        axes: leading axes before the batch's own, such as the number of learners.
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
        actual = tuple(getattr(batch, name).shape)
        if actual != shape or size == 0:
            raise ValueError(
                f"Batch field {name!r} has shape {actual}; this agent expects {shape}, at least "
                f"one row (observation_dim={observation_dim}, action_dim={action_dim})."
            )
