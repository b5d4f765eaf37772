from __future__ import annotations

import math

import numpy as np
import torch

from recsim_drpo.agents import Batch
from recsim_drpo.agents.registry import ALGORITHMS
from recsim_drpo.core.config import build_config


def linear_parameters(**critics):
    """Networks that can be computed by hand.

    The policy's mean is μ(s) = (s_0, s_1) for s ≥ 0. A critic is given by weights of its (positive)
    inputs and a bias: ``value=([1.0, 0.0], 0.1)`` is V(s) = s_0 + 0.1.
    """
    parameters = {
        "policy.weight_0": torch.eye(2),
        "policy.bias_0": torch.zeros(2),
        "policy.weight_1": torch.eye(2),
        "policy.bias_1": torch.zeros(2),
        "log_std": torch.tensor([0.0, math.log(2.0)]),
    }
    for name, (weights, bias) in critics.items():
        parameters[f"{name}.weight_0"] = torch.eye(len(weights))
        parameters[f"{name}.bias_0"] = torch.zeros(len(weights))
        parameters[f"{name}.weight_1"] = torch.tensor([weights])
        parameters[f"{name}.bias_1"] = torch.tensor([bias])
    return parameters


def loss_of(name, batch=None, parameters=None, state=None, noise=None, **hyperparameters):
    """An algorithm's loss output on a batch, by default TINY and the networks above."""
    algorithm = ALGORITHMS[name]
    config = build_config(algorithm.config, hyperparameters, "hyper-parameter")
    parameters = linear_parameters() if parameters is None else parameters
    state = algorithm.init_state(parameters, config) if state is None else state
    batch = TINY if batch is None else batch
    return algorithm.loss(parameters, state, batch, noise or {}, config)


TINY = Batch(
    observations=torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 2.0], [1.0, 1.0]]),
    actions=torch.tensor([[1.0, 0.0], [1.0, 2.0], [0.0, 2.0], [0.0, 1.0]]),
    rewards=torch.tensor([0.2, 0.8, 0.4, 0.6]),
    next_observations=torch.zeros(4, 2),
    terminations=torch.ones(4, dtype=torch.bool),
)


# ½ z² summed over the two coordinates, σ = (1, 2): by hand.
TINY_HALF_SQUARES = np.array([0.5, 0.5, 0.0, 0.5])


TINY_LOG_PROB = -(TINY_HALF_SQUARES + math.log(2.0) + math.log(2.0 * math.pi))


REWARDS = TINY.rewards.numpy().astype(np.float64)


VALUE = ([0.5, 0.25], 0.1)  # V(s) = 0.5 s_0 + 0.25 s_1 + 0.1


VALUES = np.array([0.1, 0.6, 0.6, 0.85])


Q1 = ([0.1, 0.0, 0.2, 0.3], 0.0)  # Q(s, a) = 0.1 s_0 + 0.2 a_0 + 0.3 a_1


Q2 = ([0.0, 0.0, 0.5, 0.2], 0.05)


Q1_VALUES = np.array([0.2, 0.9, 0.6, 0.4])


Q2_VALUES = np.array([0.55, 0.95, 0.45, 0.25])


def iql_by_hand(tau):
    gap = np.minimum(Q1_VALUES, Q2_VALUES) - VALUES
    value_loss = (np.abs(tau - (gap < 0)) * gap**2).mean()
    q_loss = ((REWARDS - Q1_VALUES) ** 2).mean() + ((REWARDS - Q2_VALUES) ** 2).mean()
    return gap, value_loss + q_loss
