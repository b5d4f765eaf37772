r"""Networks as pure functions of dictionaries of tensors: the Gaussian policy and the critics.

The policy is a diagonal Gaussian whose mean is a multi-layer perceptron,

.. math:: \log \pi(a \mid s) = -\sum_j \left[ \frac{(a_j - \mu_j(s))^2}{2 \sigma_j^2}
    + \log \sigma_j + \tfrac{1}{2} \log 2 \pi \right]

(Eq. 1). A network called ``name`` has parameters ``name.weight_i`` (out, in) and ``name.bias_i``
(out,) for layer i. The policy is called ``policy``. Its log σ, which the paper leaves open, is by
default a learnable vector ``log_std`` (a,) that starts at 0; it may be fixed there, or be a second
half of the network's output. It is kept in [−5, 2].
"""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor

Parameters = dict[str, Tensor]

LOG_STD_RANGE = (-5.0, 2.0)
SIGMA_MODES = ("learned", "fixed", "state")
_HALF_LOG_TWO_PI = 0.5 * math.log(2.0 * math.pi)


def init_network(
    name: str,
    inputs: int,
    outputs: int,
    hidden_dim: int,
    num_hidden_layers: int,
    generator: torch.Generator,
) -> Parameters:
    """Fresh parameters, float32 on the CPU, uniform in ±1/√fan_in as in ``torch.nn.Linear``."""
    sizes = [inputs, *[hidden_dim] * num_hidden_layers, outputs]
    parameters: Parameters = {}
    for layer, (fan_in, fan_out) in enumerate(itertools.pairwise(sizes)):
        for kind, shape in (("weight", (fan_out, fan_in)), ("bias", (fan_out,))):
            uniform = torch.rand(shape, generator=generator)
            parameters[f"{name}.{kind}_{layer}"] = (2.0 * uniform - 1.0) / math.sqrt(fan_in)
    return parameters


def network(parameters: Parameters, name: str, inputs: Tensor) -> Tensor:
    """Outputs (B, out) for inputs (B, in); ReLU between layers, none after the last."""
    num_layers = sum(key.startswith(f"{name}.weight_") for key in parameters)
    hidden = inputs
    for layer in range(num_layers):
        weight, bias = parameters[f"{name}.weight_{layer}"], parameters[f"{name}.bias_{layer}"]
        hidden = torch.nn.functional.linear(hidden, weight, bias)
        if layer < num_layers - 1:
            hidden = torch.relu(hidden)
    return hidden.to(inputs.dtype)  # of mixed precision's products, no less precise sums


def policy_moments(
    parameters: Parameters, observations: Tensor, sigma: str = "learned"
) -> tuple[Tensor, Tensor]:
    """Mean μ(s) (B, a) and log σ, (a,) or (B, a), for observations (B, o)."""
    outputs = network(parameters, "policy", observations)
    if sigma == "state":
        mean, log_std = outputs.chunk(2, dim=-1)
        return mean, log_std.clamp(*LOG_STD_RANGE)
    if sigma == "fixed":
        return outputs, torch.zeros_like(outputs[0])
    return outputs, parameters["log_std"]


def policy_log_prob(
    parameters: Parameters, observations: Tensor, actions: Tensor, sigma: str = "learned"
) -> Tensor:
    """log π(a | s): (B,) for observations (B, o) and actions (B, a)."""
    mean, log_std = policy_moments(parameters, observations, sigma)
    return gaussian_log_prob(mean, log_std, actions)


def gaussian_log_prob(mean: Tensor, log_std: Tensor, actions: Tensor) -> Tensor:
    """log N(a; mean, diag σ²), summed over the last axis."""
    z = (actions - mean) * torch.exp(-log_std)
    return -(0.5 * z.square() + log_std + _HALF_LOG_TWO_PI).sum(dim=-1)


def value(parameters: Parameters, observations: Tensor, name: str = "value") -> Tensor:
    """V(s): (B,) for observations (B, o)."""
    return network(parameters, name, observations).squeeze(-1)


def action_value(
    parameters: Parameters, observations: Tensor, actions: Tensor, name: str
) -> Tensor:
    """Q(s, a): (B,) for observations (B, o) and actions (B, a)."""
    return network(parameters, name, torch.cat((observations, actions), dim=-1)).squeeze(-1)


def constrain_policy(parameters: Parameters) -> None:
    """Bring a learnable log σ back into its range, in place; called after each optimiser step."""
    if "log_std" in parameters:
        parameters["log_std"].clamp_(*LOG_STD_RANGE)
