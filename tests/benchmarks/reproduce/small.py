"""Experiments in seconds: small worlds and few updates; and records made to decide claims."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from recsim_drpo.benchmarks.reproduce.framework.offline import RewardModelConfig
from recsim_drpo.benchmarks.reproduce.framework.settings import Scale, Settings
from tests.conftest import SMALL_WORLD

TINY = Scale(
    max_rounds=400,
    steps=4,
    batch_size=16,
    evaluate_every=2,
    num_test_users=100,
    num_validation_users=50,
    reward_model=RewardModelConfig(num_rounds=200, steps=20),
    world=SMALL_WORLD,
)

SEEDS = 4
WOBBLE = np.array([-0.01, 0.01, -0.02, 0.02])
"""By how much the scores of seeds differ, so that intervals are narrow and not empty."""


def tiny(folder: Path, **changes: Any) -> Settings:
    """Quick settings of :data:`TINY` scale."""
    return replace(Settings(True, folder, progress=False, scale=TINY), **changes)


def record(
    condition: str, agent: str, seed: int, ecpm: float, variant: int = 0, **more: Any
) -> dict[str, Any]:
    """A run of which only what it earned is known, and what is given."""
    return {
        "condition": condition,
        "agent": agent,
        "variant": variant,
        "seed": seed,
        "test": {"ecpm": ecpm, "normalized": ecpm / 2.0},
        **more,
    }
