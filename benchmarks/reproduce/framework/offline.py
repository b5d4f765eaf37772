r"""Choosing an agent without the simulator: by a reward model of a held-out log.

The direct method of off-policy evaluation: a network :math:`\hat r(x, e)` regresses the logged
reward on context and item embedding, and a policy is worth the mean of
:math:`\hat r(x, e_{\pi(x)})` over other contexts of that log, where :math:`e_{\pi(x)}` is the item
that the policy's action decodes to. It needs nothing that a practitioner does not have. (Importance
weights do not help here: of 5,000 items a deterministic policy's is hardly ever the logged one.)
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from recsim_drpo.core.policy import Policy
from recsim_drpo.core.random_policies import restarted
from recsim_drpo.core.transitions import Transitions
from recsim_drpo.ope import models as ope_models
from recsim_drpo.simulator.world import World

_LEARNING_RATE = 1e-3


@dataclass(frozen=True)
class RewardModelConfig:
    """How a reward model is fitted.

    Attributes:
        num_rounds: of the held-out log: half to fit on, half to evaluate on.
        steps: updates.
    """

    num_rounds: int = 40_000
    steps: int = 2_000


class RewardModel:
    """A reward model, fitted on the first half of a held-out log.

    Args:
        log: rounds that no agent was trained on.
        seed: of initialisation and order.
        steps: updates.
    """

    def __init__(self, log: Transitions, seed: int, steps: int = RewardModelConfig.steps) -> None:
        half = len(log) // 2
        rows = torch.arange(half, device=log.device)
        contexts, self._contexts = log.observations().tensor_split([half])
        self._model = ope_models.RewardModel(
            contexts, log.actions, rows, log.rewards[:half], seed, steps, _LEARNING_RATE
        )

    def value(self, policy: Policy, world: World) -> float:
        """Mean predicted reward of the items that a policy shows; no item (-1) is worth 0."""
        actions = torch.as_tensor(restarted(policy).act(self._contexts))
        items = world.decode(actions)
        predicted = self._model.predict(self._contexts, world.embeddings[items.clamp_min(0)])
        return float(torch.where(items >= 0, predicted, 0.0).mean())
