"""Agents by name."""

from __future__ import annotations

from typing import Any

import torch

from recsim_drpo.agents.adaptive_bc import ADAPTIVE_BC
from recsim_drpo.agents.algorithm import Algorithm
from recsim_drpo.agents.apg import APG
from recsim_drpo.agents.asymre import ASYMRE, ASYMRE_DELTA
from recsim_drpo.agents.awr import AWR
from recsim_drpo.agents.bc import BC
from recsim_drpo.agents.bppo import BPPO
from recsim_drpo.agents.crr import CRR
from recsim_drpo.agents.drpo import DRPO, DRPO_EXP, DRPO_Q
from recsim_drpo.agents.iql import IQL
from recsim_drpo.agents.learner import Learner
from recsim_drpo.checks import build_config, unknown_name

ALGORITHMS: dict[str, Algorithm] = {
    algorithm.name: algorithm
    for algorithm in (
        BC,
        APG,
        AWR,
        CRR,
        BPPO,
        IQL,
        ASYMRE,
        ASYMRE_DELTA,
        ADAPTIVE_BC,
        DRPO,
        DRPO_EXP,
        DRPO_Q,
    )
}


def agent_names() -> dict[str, str]:
    """Registered names, each with one line about it."""
    return {name: algorithm.summary for name, algorithm in ALGORITHMS.items()}


def make_agent(
    name: str,
    *,
    observation_dim: int,
    action_dim: int,
    seed: int = 0,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
    precision: str = "float32",
    execution: str = "auto",
    **hyperparameters: Any,
) -> Learner:
    """Make an agent.

    Args:
        name: one of :func:`agent_names`.
        observation_dim: dimension o of observations.
        action_dim: dimension a of actions.
        seed: integer in [0, 2**63).
        device: where it learns and acts.
        dtype: float32 or float64.
        precision: see :func:`recsim_drpo.precision.matrix_precision`.
        execution: see :class:`recsim_drpo.agents.engine.Engine`.
        **hyperparameters: fields of the algorithm's configuration; the rest keep their defaults.

    Raises:
        ValueError: an unknown name or hyper-parameter (the nearest is suggested), a value out of
            its range, or a device that is not there.
    """
    if name not in ALGORITHMS:
        raise unknown_name("agent", name, ALGORITHMS)
    algorithm = ALGORITHMS[name]
    config = build_config(algorithm.config, hyperparameters, f"hyper-parameter of {name!r}")
    return Learner(
        algorithm,
        observation_dim,
        action_dim,
        config,
        seed,
        device=device,
        dtype=dtype,
        precision=precision,
        execution=execution,
    )
