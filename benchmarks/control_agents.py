"""The agents that are compared in continuous control, and what they are shown of a log.

Used by :mod:`recsim_drpo.benchmarks.control`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from recsim_drpo.benchmarks.control_logs import Act
from recsim_drpo.core.policy import Policy
from recsim_drpo.core.transitions import Transitions


@dataclass(frozen=True)
class Contender:
    """An agent, and what it is shown.

    Attributes:
        agent: its name.
        overrides: hyper-parameters that are not the defaults.
        of_episode: whether a step's reward is its episode's return in place of its own.
        corner: whether the policy is the corner of the box that a linear score is largest in.
    """

    agent: str
    overrides: Mapping[str, Any]
    of_episode: bool = False
    corner: bool = False


_RATE = 1e-3
_HIDDEN = {"type": "vector", "params": {"hidden_units": [128, 128]}}
_OURS = {"learning_rate": _RATE}
CONTENDERS = {
    "bc": Contender("bc", _OURS),
    "awr": Contender("awr", _OURS),
    "iql": Contender("iql", _OURS),
    "crr, binary": Contender("crr", {**_OURS, "form": "binary"}),
    "crr, exp": Contender("crr", {**_OURS, "form": "exp"}),
    "drpo": Contender("drpo", _OURS),
    "drpo-q": Contender("drpo-q", _OURS),
    "drpo, episodes": Contender("drpo", _OURS, of_episode=True),
    "awr, episodes": Contender("awr", {**_OURS, "discount": 0.0}, of_episode=True),
    "two-tower": Contender("two-tower-gaussian", {**_OURS, "target": "return"}, corner=True),
    "td3+bc": Contender(
        "d3rlpy:TD3PlusBC",
        {
            "actor_learning_rate": _RATE,
            "critic_learning_rate": _RATE,
            "actor_encoder_factory": _HIDDEN,
            "critic_encoder_factory": _HIDDEN,
        },
    ),
}
"""Agents by name: their defaults, but for a learning rate that suits few updates, and networks of
the same size for all. TD3+BC is d3rlpy's, with its α = 2.5."""
PAIRS = (
    ("drpo-q", "iql"),
    ("drpo-q", "awr"),
    ("drpo-q", "bc"),
    ("drpo-q", "td3+bc"),
    ("drpo", "bc"),
    ("drpo, episodes", "bc"),
    ("drpo, episodes", "awr, episodes"),
    ("crr, binary", "crr, exp"),
    ("crr, binary", "iql"),
    ("crr, binary", "drpo-q"),
)
"""Differences that are reported: the first six were fixed before the first run."""


class Scaling:
    """How a log is shown to agents: the same for all of them.

    Observations are standardised by the log's own mean and standard deviation, actions mapped from
    the box to [−1, 1], rewards divided by their standard deviation and not shifted, which would
    change what it is worth to end an episode. Constant columns are divided by 1.

    Args:
        log: as it was read.
        low, high: float32 (a,), ends of the box.
    """

    def __init__(self, log: Transitions, low: Tensor, high: Tensor) -> None:
        observations = log.as_batch().observations
        self._mean, self._std = observations.mean(0), _or_one(observations.std(0, correction=0))
        self._middle, self._half = (low + high) / 2, (high - low) / 2

    def shown(self, log: Transitions, of_episode: bool) -> Transitions:
        """What agents learn from; see :attr:`Contender.of_episode`."""
        batch = log.as_batch()
        rewards = episode_returns(log) if of_episode else batch.rewards
        rows = torch.stack([batch.observations, batch.next_observations], dim=1)
        return Transitions(
            ((rows - self._mean) / self._std).flatten(0, 1),
            2 * torch.arange(len(log)),
            (batch.actions - self._middle) / self._half,
            rewards / _or_one(rewards.std(correction=0)),
            batch.terminations,
            {},
        )

    def act(self, policy: Policy, corner: bool) -> Act:
        """A policy in the units of the environment; see :attr:`Contender.corner`."""

        def act(observations: Any) -> Any:
            inputs = (torch.as_tensor(observations) - self._mean) / self._std
            with torch.no_grad():
                actions = policy.act(inputs)
            unit = actions.sign() if corner else actions.clamp(-1.0, 1.0)
            return (self._middle + self._half * unit).numpy()

        return act


def _or_one(deviations: Tensor) -> Tensor:
    return torch.where(deviations > 1e-6, deviations, torch.ones_like(deviations))


def episode_returns(log: Transitions) -> Tensor:
    """The undiscounted return of the episode that each transition is of, float32 (N,)."""
    ends = log.episode_ends
    number = ends.cumsum(0) - ends.long()
    returns = torch.zeros(int(ends.sum())).index_add(0, number, log.rewards)
    return returns[number]
