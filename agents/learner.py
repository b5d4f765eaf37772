"""One learner: parameters, optimiser and state around an algorithm's pure loss."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from recsim_drpo.agents.networks import (
    Parameters,
    constrain_policy,
    init_policy,
    policy_mean,
)
from recsim_drpo.agents.protocol import Batch, as_observations, check_batch
from recsim_drpo.checks import check_integer, check_number, resolve_device
from recsim_drpo.rng import check_seed

_SAMPLING_STREAM = 0x5A4D


@dataclass(frozen=True)
class PolicyConfig:
    """Hyper-parameters that every agent has (Table 5, Appendix J.1).

    Attributes:
        learning_rate: of Adam, > 0.
        hidden_dim: hidden units of a layer, ≥ 1.
        num_hidden_layers: hidden layers, ≥ 1; 2 as in Appendix J.1, 3 as in Appendix I.
    """

    learning_rate: float = 3e-4
    hidden_dim: int = 128
    num_hidden_layers: int = 2

    def __post_init__(self) -> None:
        check_number("learning_rate", self.learning_rate, 0.0, include_low=False)
        check_integer("hidden_dim", self.hidden_dim, 1)
        check_integer("num_hidden_layers", self.num_hidden_layers, 1)


class LossOutput(NamedTuple):
    """What a loss returns: the value to descend, the next state, and metrics, all tensors."""

    loss: Tensor
    state: dict[str, Tensor]
    metrics: dict[str, Tensor]


@dataclass(frozen=True)
class Algorithm:
    """An algorithm as pure functions, written for one learner.

    Attributes:
        name: registered name.
        summary: one line.
        config: dataclass of its hyper-parameters and their defaults.
        init_state: what it carries from step to step besides parameters, from a configuration.
        loss: ``(parameters, state, batch, config) -> LossOutput``; static shapes, no host
            synchronisation, so that it also runs batched, compiled or captured.
    """

    name: str
    summary: str
    config: type[PolicyConfig]
    init_state: Callable[[Any], dict[str, Tensor]]
    loss: Callable[[Parameters, dict[str, Tensor], Batch, Any], LossOutput]


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
        fresh = init_policy(
            observation_dim,
            action_dim,
            config.hidden_dim,
            config.num_hidden_layers,
            torch.Generator().manual_seed(seed),
        )
        self._parameters = {k: v.to(self.device).requires_grad_() for k, v in fresh.items()}
        self._optimizer = torch.optim.Adam(
            self._parameters.values(), lr=config.learning_rate, fused=True
        )
        self._state = {k: v.to(self.device) for k, v in algorithm.init_state(config).items()}
        self._generator = torch.Generator(self.device).manual_seed(seed ^ _SAMPLING_STREAM)

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
        output = self._algorithm.loss(self._parameters, self._state, batch, self.config)
        gradients = torch.autograd.grad(output.loss, list(self._parameters.values()))
        for parameter, gradient in zip(self._parameters.values(), gradients, strict=True):
            parameter.grad = gradient
        self._optimizer.step()
        with torch.no_grad():
            constrain_policy(self._parameters)
        self._state = {name: value.detach() for name, value in output.state.items()}
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
        return policy_mean(self._parameters, inputs)

    @torch.no_grad()
    def sample(self, observations: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Actions drawn from the policy, float32 (B, a).

        Args:
            observations: (B, o), a tensor or an array.
            generator: on this agent's device; ``None`` uses the agent's own, which its
                ``state_dict`` carries.
        """
        mean = self.act(observations)
        noise = torch.randn(
            mean.shape,
            generator=self._generator if generator is None else generator,
            device=self.device,
        )
        return mean + noise * self._parameters["log_std"].exp()

    def state_dict(self) -> dict[str, Tensor]:
        """Copies of everything that training changes, as a flat dictionary of tensors.

        Keys: ``parameters.*``, ``adam.*`` (``exp_avg``, ``exp_avg_sq``, ``step`` of each
        parameter), ``state.*`` and ``generator``.
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
        self._generator.set_state(state["generator"].cpu())
