r"""The policy: a diagonal Gaussian whose mean is a multi-layer perceptron, as pure functions.

.. math:: \log \pi(a \mid s) = -\sum_j \left[ \frac{(a_j - \mu_j(s))^2}{2 \sigma_j^2}
    + \log \sigma_j + \tfrac{1}{2} \log 2 \pi \right]

(Eq. 1). Parameters are a dictionary of tensors: ``weight_i`` (out, in) and ``bias_i`` (out,) of
layer i, and ``log_std`` (a,). The policy's log σ is a vector, learnable, starts at 0 and is kept in
[−5, 2]; the paper leaves it open.
"""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor

Parameters = dict[str, Tensor]

LOG_STD_RANGE = (-5.0, 2.0)
_HALF_LOG_TWO_PI = 0.5 * math.log(2.0 * math.pi)


def init_policy(
    observation_dim: int,
    action_dim: int,
    hidden_dim: int,
    num_hidden_layers: int,
    generator: torch.Generator,
) -> Parameters:
    """Fresh parameters, float32 on the CPU, uniform in ±1/√fan_in as in ``torch.nn.Linear``."""
    sizes = [observation_dim, *[hidden_dim] * num_hidden_layers, action_dim]
    parameters: Parameters = {}
    for layer, (fan_in, fan_out) in enumerate(itertools.pairwise(sizes)):
        for name, shape in ((f"weight_{layer}", (fan_out, fan_in)), (f"bias_{layer}", (fan_out,))):
            uniform = torch.rand(shape, generator=generator)
            parameters[name] = (2.0 * uniform - 1.0) / math.sqrt(fan_in)
    parameters["log_std"] = torch.zeros(action_dim)
    return parameters


def policy_mean(parameters: Parameters, observations: Tensor) -> Tensor:
    """μ(s): (B, a) for observations (B, o); ReLU between layers, none after the last."""
    num_layers = sum(name.startswith("weight_") for name in parameters)
    hidden = observations
    for layer in range(num_layers):
        hidden = torch.nn.functional.linear(
            hidden, parameters[f"weight_{layer}"], parameters[f"bias_{layer}"]
        )
        if layer < num_layers - 1:
            hidden = torch.relu(hidden)
    return hidden


def policy_log_prob(parameters: Parameters, observations: Tensor, actions: Tensor) -> Tensor:
    """Log π(a | s): (B,) for observations (B, o) and actions (B, a)."""
    log_std = parameters["log_std"]
    z = (actions - policy_mean(parameters, observations)) * torch.exp(-log_std)
    return -(0.5 * z.square() + log_std + _HALF_LOG_TWO_PI).sum(dim=-1)


def constrain_policy(parameters: Parameters) -> None:
    """Bring log σ back into its range, in place; called after each optimiser step."""
    parameters["log_std"].clamp_(*LOG_STD_RANGE)
