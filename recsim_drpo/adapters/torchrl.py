"""TorchRL: our logs as its replay buffer, and its policies as agents (docs/libraries/torchrl.md).

Source: Bou et al., *TorchRL: A Data-Driven Decision-Making Library for PyTorch*, ICLR 2024.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from minari import MinariDataset
from torch import Tensor, nn

from recsim_drpo.adapters import import_library
from recsim_drpo.core.transitions import Batch, Transitions
from recsim_drpo.core.validation import check_integer
from recsim_drpo.datasets.load import as_transitions

EXTRA = "torchrl"


def to_torchrl(dataset: str | MinariDataset | Transitions, *, batch_size: int = 320) -> Any:
    """A log as TorchRL's replay buffer, each transition with its own next observation.

    Args:
        dataset: a Minari dataset with Box spaces, the id of a local one, or what was read of it,
            with its info columns and on its device.
        batch_size: transitions of a ``sample()``, ≥ 1, drawn uniformly with replacement.

    Returns:
        a ``torchrl.data.TensorDictReplayBuffer`` of the N transitions in the log's order, with
        ``observation`` float32 (N, o), ``action`` float32 (N, a), the info columns, and in ``next``
        ``observation``, ``reward`` float32 (N, 1), ``done``, ``terminated`` and ``truncated``, bool
        (N, 1). ``done`` is true at the end of an episode.

    Raises:
        ImportError: TorchRL cannot be imported.
        FileNotFoundError, ValueError: as :func:`recsim_drpo.load_transitions`; a batch of none.
    """
    data = import_library("torchrl.data", EXTRA)
    check_integer("batch_size", batch_size, 1)
    log = as_transitions(dataset)
    batch = log.as_batch()
    rows = to_tensordict(batch, ends=log.episode_ends)
    rows.update(batch.infos)
    return data.TensorDictReplayBuffer(
        storage=data.TensorStorage(rows),
        writer=data.ImmutableDatasetWriter(),
        batch_size=batch_size,
    )


def to_tensordict(batch: Batch, *, ends: Tensor | None = None) -> Any:
    """A batch as TorchRL's losses take it: a ``TensorDict`` of batch size (B,).

    Args:
        batch: transitions.
        ends: bool (B,), true where an episode ends; by default where it terminated.

    Raises:
        ImportError: TorchRL cannot be imported.
    """
    terminated = batch.terminations.unsqueeze(1)
    done = terminated if ends is None else ends.unsqueeze(1)
    following = {
        "observation": batch.next_observations,
        "reward": batch.rewards.unsqueeze(1),
        "done": done,
        "terminated": terminated,
        "truncated": done & ~terminated,
    }
    now = {"observation": batch.observations, "action": batch.actions, "next": following}
    return import_library("tensordict", EXTRA).TensorDict(
        now, batch_size=[len(batch.rewards)], device=batch.rewards.device
    )


def from_torchrl(
    policy: nn.Module,
    *,
    loss: nn.Module | None = None,
    optimizer: torch.optim.Optimizer | None = None,
    target: Any = None,
) -> TorchRLAgent:
    """A TorchRL policy as an agent; it stays the same policy.

    Args:
        policy: reads ``observation`` (B, o) and writes ``action`` (B, a): a ``TensorDictModule``, a
            ``ProbabilisticActor`` or a module made of them.
        loss: one of ``torchrl.objectives``, or a module called like them, with which the agent
            learns; without it the agent acts only.
        optimizer: of the loss's parameters.
        target: a ``torchrl.objectives.TargetNetUpdater`` that steps after each update.

    Raises:
        ImportError: TorchRL cannot be imported.
        TypeError: a loss without an optimiser, or the reverse.
    """
    if (loss is None) != (optimizer is None):
        raise TypeError("A loss learns with its optimizer: give both of them, or neither.")
    return TorchRLAgent(policy, loss, optimizer, target)


class TorchRLAgent:
    """A policy of TorchRL; follows :class:`recsim_drpo.Agent`. See :func:`from_torchrl`."""

    def __init__(
        self,
        policy: nn.Module,
        loss: nn.Module | None,
        optimizer: torch.optim.Optimizer | None,
        target: Any,
    ) -> None:
        self._tensordict = import_library("tensordict", EXTRA)
        self._exploration = import_library("torchrl.envs.utils", EXTRA)
        self.policy, self._loss, self._optimizer, self._target = policy, loss, optimizer, target
        self.device = next((weight.device for weight in policy.parameters()), torch.device("cpu"))

    def update(self, batch: Batch) -> dict[str, Tensor]:
        """A step of the optimiser on the sum of the ``loss_…`` terms; returns metrics and ``loss``.

        Raises:
            TypeError: the agent was made without a loss.
        """
        if self._loss is None or self._optimizer is None:
            raise TypeError("This agent has no loss to learn with: from_torchrl(policy, loss=…).")
        outputs = self._loss(to_tensordict(batch))
        terms = {name: value for name, value in outputs.items() if name.startswith("loss_")}
        total = torch.stack([value.mean() for value in terms.values()]).sum()
        self._optimizer.zero_grad()
        torch.autograd.backward(total)
        self._optimizer.step()
        if self._target is not None:
            self._target.step()
        metrics = {name: value.detach() for name, value in outputs.items() if value.numel() == 1}
        return {**metrics, "loss": total.detach()}

    def act(self, observations: Tensor) -> Tensor:
        """The policy's deterministic actions, (B, a), for observations (B, o)."""
        inputs = torch.as_tensor(observations, dtype=torch.float32, device=self.device)
        rows = self._tensordict.TensorDict({"observation": inputs}, batch_size=inputs.shape[:1])
        kind = self._exploration.ExplorationType.DETERMINISTIC
        with torch.no_grad(), self._exploration.set_exploration_type(kind):
            actions: Tensor = self.policy(rows)["action"]
        return actions

    def state_dict(self) -> dict[str, Any]:
        """Copies of the states of the policy, the loss and the optimiser."""
        return copy.deepcopy({name: part.state_dict() for name, part in self._parts().items()})

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        for name, part in self._parts().items():
            part.load_state_dict(state[name])

    def _parts(self) -> dict[str, Any]:
        parts = {"policy": self.policy, "loss": self._loss, "optimizer": self._optimizer}
        return {name: part for name, part in parts.items() if part is not None}
