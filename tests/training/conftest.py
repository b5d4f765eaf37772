"""Logs to train on."""

from __future__ import annotations

import pytest

from recsim_drpo import simulate_transitions


@pytest.fixture(scope="session")
def logs(small_kwargs):
    """Two logs of different length by seed."""
    return {
        seed: simulate_transitions(
            scenario="medium", num_rounds=2_000 + 500 * seed, seed=seed, env_kwargs=small_kwargs
        )
        for seed in (0, 1)
    }
