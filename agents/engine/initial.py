"""Parameters of learners before any update, and the memory that learners take."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from recsim_drpo.agents.engine.algorithm import Algorithm, PolicyConfig
from recsim_drpo.agents.engine.networks import Parameters, init_network
from recsim_drpo.core.memory import check_memory
from recsim_drpo.core.messages import shown

_BYTES_A_PARAMETER = 20
"""What a float32 parameter takes: itself, as it was drawn, its gradient, Adam's two moments."""


def init_parameters(
    algorithm: Algorithm, observation_dim: int, action_dim: int, config: PolicyConfig, seed: int
) -> Parameters:
    """Parameters of all networks before any update, by name, float32 on the CPU.

    The policy is drawn first: agents of one seed start from one policy, whatever their critics.
    """
    generator = torch.Generator().manual_seed(seed)
    parameters: Parameters = {}
    networks = _networks(algorithm, observation_dim, action_dim, config)
    for name, (inputs, size) in networks.items():
        depth = config.num_hidden_layers
        parameters |= init_network(name, inputs, size, config.hidden_dim, depth, generator)
    if config.sigma == "learned":
        parameters["log_std"] = torch.zeros(action_dim)
    return parameters


def _networks(
    algorithm: Algorithm, observation_dim: int, action_dim: int, config: PolicyConfig
) -> dict[str, tuple[int, int]]:
    """Inputs and outputs of all networks by name, the policy first."""
    outputs = 2 * action_dim if config.sigma == "state" else action_dim
    critics = algorithm.critics(observation_dim, action_dim, config)
    return {"policy": (observation_dim, outputs), **critics}


def check_size(
    algorithm: Algorithm,
    observation_dim: int,
    action_dim: int,
    configs: Sequence[PolicyConfig],
) -> None:
    """Raise ``ValueError`` where there is no memory for the learners' networks, before any."""
    config = configs[0]
    hidden, depth = config.hidden_dim, config.num_hidden_layers
    parameters = sum(
        (inputs + 1) * hidden + (depth - 1) * (hidden + 1) * hidden + (hidden + 1) * outputs
        for inputs, outputs in _networks(algorithm, observation_dim, action_dim, config).values()
    )
    what = (
        f"{len(configs)} × {algorithm.name!r} with hidden_dim={shown(hidden)}, num_hidden_layers="
        f"{depth}, for {shown(observation_dim)} inputs and {shown(action_dim)} outputs"
    )
    check_memory(what, _BYTES_A_PARAMETER * parameters * len(configs), "make the networks smaller")
