"""One learner: an agent made of an algorithm's pure loss."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from recsim_drpo.agents.engine.algorithm import Algorithm, PolicyConfig
from recsim_drpo.agents.engine.engine import Engine
from recsim_drpo.agents.engine.options import EngineOptions
from recsim_drpo.core.policy import as_observations
from recsim_drpo.core.transitions import Batch, Transitions


class Learner:
    """An agent made of an :class:`Algorithm`; follows :class:`recsim_drpo.agents.Agent`.

    Args:
        algorithm: what it minimises.
        observation_dim: o ≥ 1.
        action_dim: a ≥ 1.
        config: hyper-parameters.
        seed: integer in [0, 2**63): of initialisation, of the loss's random numbers, of
            :meth:`sample` without a generator.
        **options: fields of :class:`recsim_drpo.agents.engine.options.EngineOptions`.

    Raises:
        ValueError: a value out of its range, or an option that the device does not have.
    """

    def __init__(
        self,
        algorithm: Algorithm,
        observation_dim: int,
        action_dim: int,
        config: PolicyConfig,
        seed: int = 0,
        **options: Any,
    ) -> None:
        self._engine = Engine(
            algorithm,
            observation_dim,
            action_dim,
            [config],
            [seed],
            batched=False,
            options=EngineOptions(**options),
        )
        self.name = algorithm.name
        self.observation_dim = observation_dim
        self.action_dim = action_dim
        self.config = config
        self.device = self._engine.device

    @property
    def hyperparameters(self) -> dict[str, Any]:
        """All hyper-parameters by name."""
        return asdict(self.config)

    @property
    def infos(self) -> tuple[str, ...]:
        """Names of the log's info columns that it reads."""
        return self._engine.infos

    @property
    def diverged_at(self) -> int | None:
        """The update at which loss or gradient was not finite: it is frozen as it was before."""
        step = int(self._engine.learner.diverged_at)
        return None if step < 0 else step

    def update(self, batch: Batch) -> dict[str, Tensor]:
        """One optimiser step on a batch.

        Returns:
            metrics as scalar tensors on the device, ``loss`` among them.

        Raises:
            ValueError: the batch's shapes do not fit this agent, or it lacks an info column.
        """
        return self._engine.update(batch)

    def make_train_step(
        self, transitions: Transitions, batch_size: int, *, updates: int = 0
    ) -> Callable[[Tensor], dict[str, Tensor]]:
        """A function that makes one :meth:`update` of transitions of a log, given their indices.

        Args:
            transitions: the log, on the learner's device.
            batch_size: B ≥ 1.
            updates: how many will be made, as far as is known: ``execution="auto"`` goes by it.

        Returns:
            a function of indices into the log, int64 (B,), that returns metrics; where it is a CUDA
            graph the next call overwrites them.

        Raises:
            ValueError: the log's shapes do not fit, it is on another device, or it lacks an info
                column that the agent reads.
        """
        return self._engine.make_train_step(transitions, batch_size, updates=updates)

    bind = make_train_step  # its former name

    def act(self, observations: Tensor) -> Tensor:
        """The policy's mean, (B, a), raw: not normalised, not clipped.

        Args:
            observations: (B, o), a tensor or an array.

        Raises:
            ValueError: another shape.
        """
        return self._engine.act(as_observations(observations, self.observation_dim, self.device))

    def sample(self, observations: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Actions drawn from the policy, (B, a).

        Args:
            observations: (B, o), a tensor or an array.
            generator: of any device; ``None`` draws the agent's own numbers, whose counter its
                ``state_dict`` carries.
        """
        inputs = as_observations(observations, self.observation_dim, self.device)
        return self._engine.sample(inputs, generator)

    def state_dict(self) -> dict[str, Tensor]:
        """Copies of everything that training changes, as a flat dictionary of tensors.

        Keys: ``parameters.*``, ``adam.exp_avg.*`` and ``adam.exp_avg_sq.*`` of each parameter,
        ``state.*``, ``seed``, ``step``, ``diverged_at`` and ``draws``.
        """
        return self._engine.state_dict()

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Restore a ``state_dict`` of an agent of the same kind and shape; all or nothing.

        Raises:
            ValueError: tensors are missing, unknown or of another shape; nothing is changed then.
        """
        self._engine.load_state_dict(state)
