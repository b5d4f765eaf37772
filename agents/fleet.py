"""A fleet: any number of learners of one algorithm, trained as one batched computation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from recsim_drpo.agents.engine.algorithm import Algorithm, PolicyConfig
from recsim_drpo.agents.engine.engine import Engine, numeric_fields
from recsim_drpo.agents.engine.learner import Learner
from recsim_drpo.agents.engine.options import EngineOptions
from recsim_drpo.agents.engine.step import Metrics
from recsim_drpo.agents.registry import find_agent
from recsim_drpo.core.config import build_config
from recsim_drpo.core.messages import shown
from recsim_drpo.core.policy import as_observations
from recsim_drpo.core.transitions import Batch, Transitions, check_batch
from recsim_drpo.core.validation import check_integer, check_seeds


@dataclass(frozen=True)
class Member:
    """A learner of a fleet.

    Attributes:
        seed: its seed.
        overrides: its hyper-parameters that are not the defaults.
        config: all of them.
    """

    seed: int
    overrides: Mapping[str, Any]
    config: PolicyConfig


class Fleet:
    """Learners of one algorithm, seeds × hyper-parameters.

    Learner k behaves as the :class:`Learner` of its seed and hyper-parameters does alone: same
    initialisation, same random numbers, same updates up to rounding. A learner that diverges is
    frozen and touches no other.

    Real-valued hyper-parameters vary within one batched computation; others (depth, width, σ mode,
    schedules, switches) give computations of another shape, and the fleet splits into groups of one
    structure by itself, in the order of the learners.

    Args:
        agent: a registered algorithm's name, or an :class:`Algorithm`.
        observation_dim: o ≥ 1.
        action_dim: a ≥ 1.
        seeds: different integers in [0, 2**63).
        overrides: hyper-parameters by name, one mapping for each variant. Learners are all pairs,
            variant by variant: with S seeds, learner v · S + s is variant v at seed s.
        initial: parameters of all networks by name, as of a learner's ``state_dict``, that all
            learners start from; ``None``: each draws its own.
        **options: fields of :class:`recsim_drpo.agents.engine.options.EngineOptions`.

    Raises:
        ValueError: an unknown agent, hyper-parameter or option, or a value out of its range.
    """

    def __init__(
        self,
        agent: str | Algorithm,
        *,
        observation_dim: int,
        action_dim: int,
        seeds: Sequence[int],
        overrides: Sequence[Mapping[str, Any]] = ({},),
        initial: Mapping[str, Tensor] | None = None,
        **options: Any,
    ) -> None:
        algorithm = _algorithm_of(agent)
        kind = f"hyper-parameter of {algorithm.name!r}"
        seeds = check_seeds(list(seeds))
        check_variants("overrides", overrides)
        self.members = [
            Member(seed, dict(values), build_config(algorithm.config, values, kind))
            for values in overrides
            for seed in seeds
        ]
        self.name = algorithm.name
        self.observation_dim = observation_dim
        self.action_dim = action_dim
        self._options = EngineOptions(**options)
        self._algorithm = algorithm
        structures: dict[Any, list[int]] = {}
        for number, member in enumerate(self.members):
            structures.setdefault(static_signature(member.config), []).append(number)
        self._groups = [
            Engine(
                algorithm,
                observation_dim,
                action_dim,
                [self.members[number].config for number in numbers],
                [self.members[number].seed for number in numbers],
                batched=True,
                options=self._options,
                initial=initial,
            )
            for numbers in structures.values()
        ]
        self.device = self._groups[0].device
        self._places = [
            torch.tensor(numbers, device=self.device) for numbers in structures.values()
        ]

    def __len__(self) -> int:
        """The number of learners L."""
        return len(self.members)

    @property
    def num_groups(self) -> int:
        """The number of batched computations in which the learners train."""
        return len(self._groups)

    @property
    def infos(self) -> tuple[str, ...]:
        """Names of the log's info columns that its learners read."""
        return tuple(dict.fromkeys(name for group in self._groups for name in group.infos))

    @property
    def draws_items(self) -> bool:
        """Whether learners draw items of the log's catalogue."""
        return any(group.num_negatives > 0 for group in self._groups)

    @property
    def seeds(self) -> Tensor:
        """The learners' seeds, int64 (L,), on the device."""
        return self._gather([group.learner.seed.clone() for group in self._groups])

    @property
    def diverged_at(self) -> Tensor:
        """The updates at which learners diverged and were frozen, int64 (L,); -1 for the others."""
        return self._gather([group.learner.diverged_at.clone() for group in self._groups])

    def update(self, batch: Batch) -> Metrics:
        """One optimiser step of every learner.

        Args:
            batch: each learner's own, every field with a leading axis of L.

        Returns:
            metrics (L,) on the device, ``loss`` among them; NaN where a learner has no such metric.

        Raises:
            ValueError: the batch's shapes do not fit.
        """
        check_batch(batch, self.observation_dim, self.action_dim, (len(self),))
        return self._merge(
            [
                group.update(_rows_of(batch, places))
                for group, places in zip(self._groups, self._rows(), strict=True)
            ]
        )

    def make_train_step(
        self,
        transitions: Transitions,
        batch_size: int,
        spans: Tensor | None = None,
        *,
        updates: int = 0,
    ) -> Callable[[Tensor], Metrics]:
        """A function that makes one :meth:`update` of transitions of a log, given their indices.

        Args:
            transitions: the log, on the fleet's device.
            batch_size: B ≥ 1.
            spans: int64 (L, 2), of a log that is several joined: where each learner's own items are
                in its table (:class:`.core.negatives.NegativeSampler`). By default all are
                everyone's.
            updates: how many will be made, as far as is known: ``execution="auto"`` goes by it.

        Returns:
            a function of indices into the log, int64 (L, B), that returns metrics; where
            it is a CUDA graph the next call overwrites them.

        Raises:
            ValueError: the log's shapes do not fit, it is on another device, or it lacks an info
                column that a learner reads.
        """
        own = None if spans is None else spans.to(self.device)
        steps = [
            group.make_train_step(
                transitions, batch_size, None if own is None else own[rows], updates
            )
            for group, rows in zip(self._groups, self._rows(), strict=True)
        ]

        def train_step(indices: Tensor) -> Metrics:
            return self._merge(
                [step(indices[rows]) for step, rows in zip(steps, self._rows(), strict=True)]
            )

        return train_step

    bind = make_train_step  # its former name

    def act(self, observations: Tensor) -> Tensor:
        """The policies' means (L, B, a) for observations (B, o), shared, or (L, B, o)."""
        return self._each(observations, lambda group, inputs: group.act(inputs))

    def sample(self, observations: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Actions drawn from the policies, (L, B, a); see :meth:`Learner.sample`."""
        return self._each(observations, lambda group, inputs: group.sample(inputs, generator))

    def learner(self, number: int) -> Learner:
        """A copy of learner ``number`` in [0, L), as an agent of its own."""
        check_integer("number", number, 0, len(self) - 1)
        member = self.members[number]
        alone = Learner(
            self._algorithm,
            self.observation_dim,
            self.action_dim,
            member.config,
            member.seed,
            **vars(self._options),
        )
        for group, places in zip(self._groups, self._places, strict=True):
            rows = (places == number).nonzero()
            if len(rows):
                alone.load_state_dict(group.state_dict(int(rows)))
        return alone

    def state_dict(self) -> dict[str, Tensor]:
        """Copies of everything that training changes, as a flat dictionary of tensors.

        Keys are those of :meth:`Learner.state_dict`, tensors have a leading axis of learners. If
        the fleet split into groups, each group's keys are prefixed: ``group-0.`` and on.
        """
        return {
            prefix + name: value
            for group, prefix in self._prefixed()
            for name, value in group.state_dict().items()
        }

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Restore a ``state_dict`` of a fleet made with the same arguments; all or nothing.

        The learners' seeds are part of it.

        Raises:
            ValueError: tensors are missing, unknown or of another shape; nothing is changed then.
        """
        known = self.state_dict()
        unknown = sorted(state.keys() - known.keys())
        if unknown:
            raise ValueError(
                f"The state does not fit this fleet of {self.name!r}: {shown(unknown[0])}."
            )
        before = [group.state_dict() for group in self._groups]
        try:
            for group, prefix in self._prefixed():
                group.load_state_dict(
                    {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
                )
        except ValueError:
            for group, own in zip(self._groups, before, strict=True):
                group.load_state_dict(own)
            raise
        self.members = [
            replace(member, seed=seed)
            for member, seed in zip(self.members, self.seeds.tolist(), strict=True)
        ]

    def _prefixed(self) -> list[tuple[Engine, str]]:
        if len(self._groups) == 1:
            return [(self._groups[0], "")]
        return [(group, f"group-{number}.") for number, group in enumerate(self._groups)]

    def _rows(self) -> Sequence[Tensor | slice]:
        return [slice(None)] if len(self._groups) == 1 else self._places

    def _gather(self, parts: Sequence[Tensor]) -> Tensor:
        """One tensor (L, ...) in the fleet's order, of those of the groups' learners (L_g, ...)."""
        if len(parts) == 1:
            return parts[0]
        return torch.cat(list(parts))[torch.argsort(torch.cat(self._places))]

    def _merge(self, parts: Sequence[Metrics]) -> Metrics:
        if len(parts) == 1:
            return parts[0]
        names = dict.fromkeys(name for part in parts for name in part)
        missing = [torch.full_like(part["loss"], torch.nan) for part in parts]
        return {
            name: self._gather(
                [part.get(name, gap) for part, gap in zip(parts, missing, strict=True)]
            )
            for name in names
        }

    def _each(self, observations: Tensor, function: Callable[[Engine, Tensor], Tensor]) -> Tensor:
        leading = (len(self),) if torch.as_tensor(observations).ndim == 3 else ()
        inputs = as_observations(observations, self.observation_dim, self.device, leading)
        rows = self._rows()
        return self._gather(
            [
                function(group, inputs[rows[number]] if leading else inputs)
                for number, group in enumerate(self._groups)
            ]
        )


def _rows_of(batch: Batch, rows: Tensor | slice) -> Batch:
    return Batch(
        batch.observations[rows],
        batch.actions[rows],
        batch.rewards[rows],
        batch.next_observations[rows],
        batch.terminations[rows],
        {name: column[rows] for name, column in batch.infos.items()},
    )


def check_variants(name: str, variants: Sequence[Mapping[str, Any]]) -> None:
    """Raise ``ValueError`` unless ``variants`` is a list of at least one mapping."""
    if not isinstance(variants, Sequence) or not all(isinstance(v, Mapping) for v in variants):
        raise ValueError(
            f"{name}={shown(variants)} must be a list of hyper-parameters by name, one for each "
            "variant."
        )
    if not variants:
        raise ValueError(f"{name}=[] makes no learner; pass [{{}}] for the defaults.")


def static_signature(config: PolicyConfig) -> tuple[Any, ...]:
    """Values of the fields that all learners of one batched computation share.

    These are all but :func:`numeric_fields`: they decide shapes, or which operations there are.
    """
    numeric = numeric_fields(type(config))
    return tuple(getattr(config, f.name) for f in fields(config) if f.name not in numeric)


def _algorithm_of(agent: str | Algorithm) -> Algorithm:
    algorithm = find_agent(agent) if isinstance(agent, str) else agent
    if not isinstance(algorithm, Algorithm):
        raise ValueError(
            f"The agent {shown(agent)} is no Algorithm and cannot run in a fleet; train one at a "
            "time, or by recsim_drpo.training.sweep.train_many, which does."
        )
    return algorithm
