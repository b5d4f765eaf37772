"""One learner: parameters, optimiser and state around an algorithm's pure loss."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from recsim_drpo import rng
from recsim_drpo.agents.algorithm import Algorithm, Noise, PolicyConfig
from recsim_drpo.agents.networks import constrain_policy, init_network, policy_moments
from recsim_drpo.agents.protocol import Batch, as_observations, check_batch
from recsim_drpo.checks import check_integer, resolve_device
from recsim_drpo.rng import check_seed

_SAMPLING_STREAM = 0x5A4D


def init_parameters(
    algorithm: Algorithm, observation_dim: int, action_dim: int, config: PolicyConfig, seed: int
) -> dict[str, Tensor]:
    """Fresh parameters, float32 on the CPU.

    The policy is drawn first: agents of one seed start from one policy, whatever their critics.
    """
    generator = torch.Generator().manual_seed(seed)
    outputs = 2 * action_dim if config.sigma == "state" else action_dim
    shapes = {"policy": (observation_dim, outputs)}
    shapes |= algorithm.critics(observation_dim, action_dim, config)
    parameters: dict[str, Tensor] = {}
    for name, (inputs, size) in shapes.items():
        depth = config.num_hidden_layers
        parameters |= init_network(name, inputs, size, config.hidden_dim, depth, generator)
    if config.sigma == "learned":
        parameters["log_std"] = torch.zeros(action_dim)
    return parameters


def draw_noise(shapes: Mapping[str, tuple[int, ...]], seed: Tensor, step: Tensor) -> Noise:
    """Standard normal float32 numbers of the named shapes: a function of seed and step alone.

    Both are int64, (1,), on the device where the numbers are wanted: nothing is copied to it.
    """
    noise = {}
    for number, (name, shape) in enumerate(shapes.items()):
        size = int(torch.Size(shape).numel())
        words = rng.philox_4x32(seed, rng.Stream.AGENT_NOISE + number, step, size + size % 2)
        drawn = rng.many_normals(words)[..., :size]
        noise[name] = drawn.to(torch.float32).reshape(shape)
    return noise


class Learner:
    """An agent made of an :class:`Algorithm`; follows :class:`recsim_drpo.agents.Agent`.

    Args:
        algorithm: what it minimises.
        observation_dim: o ≥ 1.
        action_dim: a ≥ 1.
        config: hyper-parameters.
        seed: integer in [0, 2**63): initialisation, and :meth:`sample` without a generator.
            Initial parameters are drawn on the CPU: the same on every device.
        device: where it learns and acts.
    """

    def __init__(
        self,
        algorithm: Algorithm,
        observation_dim: int,
        action_dim: int,
        config: PolicyConfig,
        seed: int = 0,
        device: str | torch.device = "cpu",
    ) -> None:
        check_integer("observation_dim", observation_dim, 1)
        check_integer("action_dim", action_dim, 1)
        check_seed(seed)
        self.name = algorithm.name
        self.observation_dim = observation_dim
        self.action_dim = action_dim
        self.config = config
        self.device = resolve_device(device)
        self._algorithm = algorithm
        fresh = init_parameters(algorithm, observation_dim, action_dim, config, seed)
        initial = algorithm.init_state(fresh, config)
        self._parameters = {k: v.to(self.device).requires_grad_() for k, v in fresh.items()}
        self._optimizer = torch.optim.Adam(
            self._parameters.values(), lr=config.learning_rate, fused=True
        )
        self._state = {k: v.to(self.device) for k, v in initial.items()}
        self._seed = torch.tensor([seed], dtype=torch.int64, device=self.device)
        self._step = torch.zeros(1, dtype=torch.int64, device=self.device)
        # On the CPU, so that a checkpoint of one device can be loaded on another.
        self._generator = torch.Generator().manual_seed(seed ^ _SAMPLING_STREAM)

    @property
    def hyperparameters(self) -> dict[str, Any]:
        """All hyper-parameters by name."""
        return asdict(self.config)

    def update(self, batch: Batch) -> dict[str, Tensor]:
        """One optimiser step on a batch.

        Returns:
            metrics as scalar tensors on the device, ``loss`` among them.

        Raises:
            ValueError: the batch's shapes do not fit this agent.
        """
        check_batch(batch, self.observation_dim, self.action_dim)
        shapes = self._algorithm.noise(batch.rewards.shape[0], self.action_dim, self.config)
        noise = draw_noise(shapes, self._seed, self._step)
        output = self._algorithm.loss(self._parameters, self._state, batch, noise, self.config)
        gradients = torch.autograd.grad(output.loss, list(self._parameters.values()))
        for parameter, gradient in zip(self._parameters.values(), gradients, strict=True):
            parameter.grad = gradient
        self._optimizer.step()
        with torch.no_grad():
            constrain_policy(self._parameters)
            state = self._algorithm.settle(self._parameters, output.state, self.config)
            self._step = self._step + 1
        self._state = {name: value.detach() for name, value in state.items()}
        metrics = {"loss": output.loss, **output.metrics}
        return {name: value.detach() for name, value in metrics.items()}

    @torch.no_grad()
    def act(self, observations: Tensor) -> Tensor:
        """The policy's mean, float32 (B, a), raw: not normalised, not clipped.

        Args:
            observations: (B, o), a tensor or an array.

        Raises:
            ValueError: another shape.
        """
        inputs = as_observations(observations, self.observation_dim, self.device)
        return policy_moments(self._parameters, inputs, self.config.sigma)[0]

    @torch.no_grad()
    def sample(self, observations: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Actions drawn from the policy, float32 (B, a).

        Args:
            observations: (B, o), a tensor or an array.
            generator: of any device; ``None`` uses the agent's own, which its ``state_dict``
                carries.
        """
        inputs = as_observations(observations, self.observation_dim, self.device)
        mean, log_std = policy_moments(self._parameters, inputs, self.config.sigma)
        source = self._generator if generator is None else generator
        noise = torch.randn(mean.shape, generator=source, device=source.device)
        return mean + noise.to(self.device) * log_std.exp()

    def state_dict(self) -> dict[str, Tensor]:
        """Copies of everything that training changes, as a flat dictionary of tensors.

        Keys: ``parameters.*``, ``adam.*`` (``exp_avg``, ``exp_avg_sq``, ``step`` of each
        parameter), ``state.*``, ``step``, ``seed`` and ``generator``.
        """
        tensors = {f"parameters.{name}": value for name, value in self._parameters.items()}
        for name, parameter in self._parameters.items():
            slots = self._optimizer.state.get(parameter) or {
                "step": torch.zeros((), device=self.device),
                "exp_avg": torch.zeros_like(parameter),
                "exp_avg_sq": torch.zeros_like(parameter),
            }
            tensors |= {f"adam.{slot}.{name}": value for slot, value in slots.items()}
        tensors |= {f"state.{name}": value for name, value in self._state.items()}
        tensors["step"] = self._step
        tensors["seed"] = self._seed
        tensors["generator"] = self._generator.get_state()
        return {name: value.detach().clone() for name, value in tensors.items()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Restore a ``state_dict`` of an agent of the same kind and shape; all or nothing.

        Raises:
            ValueError: tensors are missing, unknown or of another shape; nothing is changed then.
        """
        own = self.state_dict()
        for name in sorted(own.keys() | state.keys()):
            found = tuple(state[name].shape) if name in state else "missing"
            expected = tuple(own[name].shape) if name in own else "not there"
            if found != expected:
                raise ValueError(
                    f"The state does not fit this {self.name!r} agent (observation_dim="
                    f"{self.observation_dim}, action_dim={self.action_dim}): {name!r} is {found}, "
                    f"expected {expected}."
                )
        with torch.no_grad():
            for name, parameter in self._parameters.items():
                parameter.copy_(state[f"parameters.{name}"])
                self._optimizer.state[parameter] = {
                    slot: state[f"adam.{slot}.{name}"].detach().clone().to(self.device)
                    for slot in ("step", "exp_avg", "exp_avg_sq")
                }
        self._state = {
            name: state[f"state.{name}"].detach().clone().to(self.device) for name in self._state
        }
        self._step = state["step"].detach().clone().to(self.device)
        self._seed = state["seed"].detach().clone().to(self.device)
        self._generator.set_state(state["generator"].cpu())
