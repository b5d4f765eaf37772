r"""TD3+BC: twin delayed deterministic policy gradient, tied to the logged actions.

.. math:: L_Q = \sum_{1, 2} E\,(r + \gamma (1 - d) \min \bar Q(s', \tilde a') - Q(s, a))^2, \qquad
    L_\pi = -\lambda\, E\, Q_1(s, \pi(s)) + E\,(\pi(s) - a)^2, \quad
    \lambda = \alpha \,/\, E\,|Q_1(s, \pi(s))|

Source: Fujimoto & Gu, *A Minimalist Approach to Offline Reinforcement Learning*, 2021. Actions are
in [−1, 1], as coordinates of unit vectors are. Observations are not standardised.
"""

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from recsim_drpo import Batch

KEPT = ("networks", "targets", "policy_optimizer", "critic_optimizer")


def mlp(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    """Two hidden layers with ReLU."""
    layers = (nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU())
    return nn.Sequential(*layers, nn.Linear(hidden, outputs))


class TD3BC:
    """TD3+BC: a deterministic policy, twin critics with targets, and cloning."""

    def __init__(
        self, *, observation_dim: int, action_dim: int, seed: int, device: torch.device,
        alpha: float = 2.5, discount: float = 0.99, tau: float = 0.005, policy_noise: float = 0.2,
        noise_clip: float = 0.5, policy_delay: int = 2, hidden_dim: int = 256,
        learning_rate: float = 3e-4,
    ) -> None:  # fmt: skip
        self.alpha, self.discount, self.tau, self.policy_delay = alpha, discount, tau, policy_delay
        self.policy_noise, self.noise_clip = policy_noise, noise_clip
        self.device, self.seed, self.step = device, seed, 0
        with torch.random.fork_rng(devices=()):  # on the CPU: the same networks on every device
            torch.default_generator.manual_seed(seed)
            networks = {"policy": mlp(observation_dim, hidden_dim, action_dim)}
            networks |= {q: mlp(observation_dim + action_dim, hidden_dim, 1) for q in ("q1", "q2")}
        self.networks = nn.ModuleDict(networks).to(device)
        self.targets = copy.deepcopy(self.networks).requires_grad_(False)
        critics = [*networks["q1"].parameters(), *networks["q2"].parameters()]
        self.policy_optimizer = torch.optim.Adam(networks["policy"].parameters(), learning_rate)
        self.critic_optimizer = torch.optim.Adam(critics, learning_rate)

    def critic_loss(self, batch: Batch, noise: Tensor) -> Tensor:
        """Squared errors of both critics; noise (B, a) is standard normal."""
        noise = (self.policy_noise * noise).clamp(-self.noise_clip, self.noise_clip)
        next_actions = self.targets["policy"](batch.next_observations).tanh() + noise
        pair = torch.cat((batch.next_observations, next_actions.clamp(-1.0, 1.0)), dim=1)
        value = torch.minimum(self.targets["q1"](pair), self.targets["q2"](pair)).squeeze(1)
        targets = batch.rewards + self.discount * value.masked_fill(batch.terminations, 0.0)
        pair = torch.cat((batch.observations, batch.actions), dim=1)
        values = torch.cat([self.networks[q](pair) for q in ("q1", "q2")], dim=1)
        return mse_loss(values, targets[:, None].expand_as(values), reduction="sum") / len(targets)

    def policy_loss(self, batch: Batch) -> Tensor:
        """-λ Q_1 of the policy's own actions, and their distance from the logged ones."""
        actions: Tensor = self.networks["policy"](batch.observations).tanh()
        values: Tensor = self.networks["q1"](torch.cat((batch.observations, actions), dim=1))
        scale = self.alpha / values.detach().abs().mean()
        return mse_loss(actions, batch.actions) - scale * values.mean()

    def update(self, batch: Batch) -> dict[str, Tensor]:
        """A step of the critics and, every ``policy_delay`` steps, of the policy and targets."""
        # A function of seed and step: there is no generator to keep, which devices do not share.
        generator = torch.Generator(self.device).manual_seed(hash((self.seed, self.step)))
        noise = torch.randn(batch.actions.shape, generator=generator, device=self.device)
        metrics = {"loss": descend(self.critic_optimizer, self.critic_loss(batch, noise))}
        self.step += 1
        if self.step % self.policy_delay == 0:
            metrics["policy_loss"] = descend(self.policy_optimizer, self.policy_loss(batch))
            for name, target in self.targets.named_parameters():
                target.lerp_(self.networks.get_parameter(name).detach(), self.tau)
        return metrics

    def act(self, observations: Tensor) -> Tensor:
        """The policy's actions, float32 (B, a)."""
        actions: Tensor = self.networks["policy"](observations.to(self.device)).tanh()
        return actions.detach()

    def policy_network(self) -> nn.Sequential:
        """The network that :meth:`act` computes, for ``recsim-drpo export``."""
        return nn.Sequential(self.networks["policy"], nn.Tanh())

    def state_dict(self) -> dict[str, Any]:
        """Networks and optimisers as torch gives them, nested, and two plain numbers."""
        state = {name: getattr(self, name).state_dict() for name in KEPT}
        return copy.deepcopy({**state, "step": self.step, "seed": self.seed})

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        for name in KEPT:
            getattr(self, name).load_state_dict(state[name])
        self.step, self.seed = state["step"], state["seed"]


def descend(optimizer: torch.optim.Optimizer, loss: Tensor) -> Tensor:
    """One step of the optimiser; returns the loss."""
    optimizer.zero_grad()
    torch.autograd.backward(loss)
    optimizer.step()
    return loss.detach()
