r"""Choosing an agent without the simulator: by a reward model of a held-out log.

The direct method of off-policy evaluation: a network :math:`\hat r(x, e)` regresses the logged
reward on context and item embedding, and a policy is worth the mean of
:math:`\hat r(x, e_{\pi(x)})` over other contexts of that log, where :math:`e_{\pi(x)}` is the item
that the policy's action decodes to. It needs nothing that a practitioner does not have. (Importance
weights do not help here: of 5,000 items a deterministic policy's is hardly ever the logged one.)
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from recsim_drpo.datasets.load import Transitions
from recsim_drpo.evaluation import Policy
from recsim_drpo.world import World

NUM_ROUNDS = 40_000
"""Rounds of the held-out log: half to fit on, half to evaluate on."""

_STEPS = 2_000
_BATCH_SIZE = 512
_LEARNING_RATE = 1e-3
_WIDTH = 128


class RewardModel:
    """A reward model, fitted on the first half of a held-out log.

    Args:
        log: rounds that no agent was trained on.
        seed: of initialisation and order.
    """

    def __init__(self, log: Transitions, seed: int) -> None:
        batch, half = log.batch, len(log) // 2
        inputs = torch.cat((batch.observations, batch.actions), dim=1)[:half]
        rewards = batch.rewards[:half]
        self._contexts = batch.observations[half:]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = nn.Sequential(
                nn.Linear(inputs.shape[1], _WIDTH),
                nn.ReLU(),
                nn.Linear(_WIDTH, _WIDTH),
                nn.ReLU(),
                nn.Linear(_WIDTH, 1),
            ).to(inputs.device)
        generator = torch.Generator().manual_seed(seed)
        optimizer = torch.optim.Adam(network.parameters(), lr=_LEARNING_RATE)
        for _ in range(_STEPS):
            rows = torch.randint(half, (_BATCH_SIZE,), generator=generator).to(inputs.device)
            error = network(inputs[rows]).squeeze(1) - rewards[rows]
            optimizer.zero_grad()
            error.square().mean().backward()
            optimizer.step()
        self._network = network

    @torch.no_grad()
    def value(self, policy: Policy, world: World) -> float:
        """Mean predicted reward of the items that a policy shows; no item (-1) is worth 0."""
        actions = torch.as_tensor(policy.act(self._contexts))
        items = world.decode(actions)
        embeddings = world.embeddings[items.clamp_min(0)]
        predicted: Tensor = self._network(torch.cat((self._contexts, embeddings), dim=1)).squeeze(1)
        return float(torch.where(items >= 0, predicted, 0.0).mean())
