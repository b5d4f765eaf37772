"""How long a process takes until its updates are compiled: the first one, and later ones."""

from __future__ import annotations

import time

import torch

from recsim_drpo.agents.fleet import Fleet
from recsim_drpo.benchmarks.speed.measuring import (
    BATCH_SIZE,
    DIM,
    OBSERVATION_DIM,
    random_transitions,
)

_ROWS = 2 * BATCH_SIZE


def seconds_to_first_update(agent: str, size: int, execution: str) -> float:
    """Seconds that this process takes to make a fleet, and its update, and one update of it.

    To be called in a fresh process; the time for importing this package and torch is not in it.

    Args:
        agent: registered name of an algorithm.
        size: learners L.
        execution: as of a fleet.
    """
    log = random_transitions(_ROWS, torch.device("cpu"))
    indices = torch.arange(BATCH_SIZE).expand(size, -1)
    start = time.perf_counter()
    fleet = Fleet(
        agent,
        observation_dim=OBSERVATION_DIM,
        action_dim=DIM,
        seeds=range(size),
        execution=execution,
    )
    fleet.make_train_step(log, BATCH_SIZE)(indices)
    return time.perf_counter() - start
