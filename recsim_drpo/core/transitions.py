"""Logged transitions: a batch of them, and all of a log on one device."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple, Self

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


class ItemActions(NamedTuple):
    """Actions that are rows of one table, looked up where they are needed.

    Attributes:
        table: float32 (M, a), vectors of items.
        ids: int32 or int64 (N,), the row of each action; on the table's device.
    """

    table: Tensor
    ids: Tensor

    def at(self, indices: Tensor | slice) -> Self:
        """Those of some transitions; the table is shared."""
        return self._replace(ids=self.ids[indices])

    def index_select(self, dim: int, indices: Tensor) -> Tensor:
        """Vectors (m, a) of the transitions with these indices, int64 (m,); ``dim`` is 0."""
        return self.table.index_select(0, self.ids.index_select(0, indices))

    def vectors(self) -> Tensor:
        """Vectors (N, a) of all."""
        return self.table.index_select(0, self.ids)

    @classmethod
    def joined(cls, parts: Sequence[ItemActions]) -> ItemActions:
        """Those of several logs in order; tables that are the same to the bit become one."""
        tables, places = distinct_tables(parts)
        starts = list(itertools.accumulate(map(len, tables), initial=0))
        few = starts[-1] <= torch.iinfo(torch.int32).max
        kind = torch.int32 if few else torch.int64
        ids = [part.ids.to(kind) + starts[at] for part, at in zip(parts, places, strict=True)]
        return cls(tables[0] if len(tables) == 1 else torch.cat(tables), torch.cat(ids))


def distinct_tables(parts: Sequence[ItemActions]) -> tuple[list[Tensor], list[int]]:
    """The tables that differ in a bit, in order, and the place of each part's among them."""
    tables: list[Tensor] = []
    places: list[int] = []
    for part in parts:
        same = (k for k, table in enumerate(tables) if _same_bits(table, part.table))
        place = next(same, len(tables))
        tables += [part.table] if place == len(tables) else []
        places.append(place)
    return tables, places


def _same_bits(one: Tensor, other: Tensor) -> bool:
    if one is other:
        return True
    return one.shape == other.shape and torch.equal(one.view(torch.int32), other.view(torch.int32))


class Transitions:
    """All transitions of a dataset, resident on one device.

    Observations are held once: an episode of n transitions has n + 1 rows, and a transition's next
    observation is the row after its own.

    Args:
        observations: float32 (N + E, o) for N transitions in E episodes.
        rows: int64 (N,), each transition's row in ``observations``.
        actions: float32 (N, a), or ids of a table of items: then batches look actions up.
        rewards: float32 (N,).
        terminations: bool (N,).
        infos: further columns, (N, ...).
    """

    def __init__(
        self,
        observations: Tensor,
        rows: Tensor,
        actions: Tensor | ItemActions,
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
        self._in_parts = False  # whether others of the log come in place of these
        self._itemised: Transitions | None = None

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
            _joined_actions([log._actions for log in logs]),
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
        return int(_vectors_of(self._actions).shape[1])

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
    def compact(self) -> bool:
        """Whether actions are held as ids of one table of items."""
        return isinstance(self._actions, ItemActions)

    @property
    def actions(self) -> Tensor:
        """float32 (N, a); not copied, unless they are :attr:`compact` and made here."""
        return self._actions.vectors() if isinstance(self._actions, ItemActions) else self._actions

    @property
    def items(self) -> ItemActions:
        """The table of items, and the row of each action in it; see :meth:`with_items`.

        Raises:
            ValueError: the log is read in parts, and its items are not at hand.
        """
        held = self.with_items()._actions
        assert isinstance(held, ItemActions)
        return held

    def with_items(self) -> Transitions:
        """The same transitions, actions as ids of a table of items; made once.

        Where they are not :attr:`compact`, the different actions of the log are its items.

        Raises:
            ValueError: the log is read in parts, of which none has all of them.
        """
        if not isinstance(self._actions, Tensor):
            return self
        if self._in_parts:
            raise ValueError(
                "The log is read in parts, and the catalogue of its items is not at hand: an agent "
                "that draws items cannot learn from it as it streams; read it into memory."
            )
        if self._itemised is None:
            table, ids = torch.unique(self._actions, dim=0, return_inverse=True)
            columns = ItemActions(table, ids), self._rewards, self._terminations, self._infos
            self._itemised = Transitions(self._observations, self._rows, *columns)
        return self._itemised

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

    @property
    def always_terminates(self) -> bool:
        """Whether every transition ends its episode, and none that comes in its place may not."""
        return not self._in_parts and bool(self._terminations.all())

    def take(self, indices: Tensor, unread: Mapping[str, Tensor] = MappingProxyType({})) -> Batch:
        """The transitions with these indices, copied.

        Args:
            indices: int64 of any shape, (B,) for a batch, in [0, N).
            unread: what stands in for columns that nobody reads, by field or ``"infos.name"``.

        Returns:
            columns whose leading axes are those of ``indices``.
        """
        # Whole rows, which index_select copies several times as fast as an index in brackets does.
        flat = indices.reshape(-1)
        rows = self._rows.index_select(0, flat)

        def select(name: str, column: Tensor | ItemActions, at: Tensor) -> Tensor:
            if name in unread:
                return unread[name]
            taken = column.index_select(0, at)
            return taken.reshape(indices.shape + taken.shape[1:])

        return Batch(
            select("observations", self._observations, rows),
            select("actions", self._actions, flat),
            select("rewards", self._rewards, flat),
            select("next_observations", self._observations, rows + 1),
            select("terminations", self._terminations, flat),
            {name: select(f"infos.{name}", column, flat) for name, column in self._infos.items()},
        )

    def part(self, indices: Tensor | slice, infos: Sequence[str]) -> Transitions:
        """The transitions with these indices, int64 (m,), and info columns; observations shared."""
        return Transitions(
            self._observations,
            self._rows[indices],
            _some(self._actions, indices),
            self._rewards[indices],
            self._terminations[indices],
            {name: self._infos[name][indices] for name in infos},
        )

    def first(self, count: int, infos: Sequence[str]) -> Transitions:
        """The first ``count`` transitions with these info columns; observations are shared."""
        return self.part(slice(count), infos)

    def with_room(self, count: int, device: torch.device) -> Transitions:
        """A copy on a device with room for other transitions of the same log.

        Args:
            count: of how many; what is beyond the present ones is of no meaning yet.
            device: where to.

        Returns:
            transitions whose number is ``count``, or the present one if that is larger.
        """
        size, rows = max(count, len(self)), len(self._observations)
        rows += (size - len(self)) * -(-rows // len(self))

        def wider(column: Tensor, length: int = size) -> Tensor:
            room = column.new_zeros((length, *column.shape[1:]), device=device)
            room[: len(column)] = column
            return room

        held = self._actions
        roomy = Transitions(
            wider(self._observations, rows),
            wider(self._rows),
            ItemActions(held.table.to(device), wider(held.ids))
            if isinstance(held, ItemActions)
            else wider(held),
            wider(self._rewards),
            wider(self._terminations),
            {name: wider(column) for name, column in self._infos.items()},
        )
        roomy._in_parts = True
        return roomy

    def refill(self, other: Transitions) -> bool:
        """Copy other transitions of the same log over the first ones, in place.

        Returns:
            whether there was room for them, of the same kind; else nothing is changed.
        """
        fits = len(other) <= len(self) and len(other._observations) <= len(self._observations)
        if not fits or self.compact != other.compact:
            return False
        for mine, theirs in zip(self._columns(), other._columns(), strict=True):
            mine[: len(theirs)] = theirs
        return True

    def _columns(self) -> list[Tensor]:
        held = self._actions
        actions = held.ids if isinstance(held, ItemActions) else held
        flags = self._rewards, self._terminations
        return [self._observations, self._rows, actions, *flags, *self._infos.values()]

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


def _vectors_of(actions: Tensor | ItemActions) -> Tensor:
    """Actions, or the table that they are rows of."""
    return actions.table if isinstance(actions, ItemActions) else actions


def _some(actions: Tensor | ItemActions, indices: Tensor | slice) -> Tensor | ItemActions:
    """The actions of some transitions, held as before."""
    return actions.at(indices) if isinstance(actions, ItemActions) else actions[indices]


def _joined_actions(parts: Sequence[Tensor | ItemActions]) -> Tensor | ItemActions:
    """Actions of several logs in order: compact where all are."""
    items = [part for part in parts if isinstance(part, ItemActions)]
    if len(items) == len(parts):
        return ItemActions.joined(items)
    return torch.cat([part.vectors() if isinstance(part, ItemActions) else part for part in parts])


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
