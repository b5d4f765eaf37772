"""Ids of the environments, and their registration with Gymnasium."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import gymnasium as gym

ENV_ID = "RecSimZipf-v0"
SESSION_ENV_ID = "RecSimZipfSession-v0"


class Entry(NamedTuple):
    """Where Gymnasium finds an environment of this package.

    Attributes:
        entry_point: of one environment, ``module:Class``.
        vector_entry_point: of many that step at once.
        has_sessions: whether users stay for sessions; else they meet one recommendation each.
    """

    entry_point: str
    vector_entry_point: str
    has_sessions: bool = False


# Saved datasets name these entry points: they stay importable.
ENVIRONMENTS: Mapping[str, Entry] = MappingProxyType(
    {
        ENV_ID: Entry(
            "recsim_drpo.envs:RecSimZipfEnv",
            "recsim_drpo.envs:RecSimZipfVectorEnv",
        ),
        SESSION_ENV_ID: Entry(
            "recsim_drpo.session_envs:RecSimZipfSessionEnv",
            "recsim_drpo.session_envs:RecSimZipfSessionVectorEnv",
            has_sessions=True,
        ),
    }
)
"""The environments of this package by their ids."""


def register() -> None:
    """Register the environments with Gymnasium; done on ``import recsim_drpo``."""
    _survive_forks()
    for env_id, entry in ENVIRONMENTS.items():
        if env_id not in gym.registry:
            gym.register(
                env_id,
                entry_point=entry.entry_point,
                vector_entry_point=entry.vector_entry_point,
            )


@functools.cache
def _survive_forks() -> None:
    """Let forked children compute with one thread.

    OpenMP's threads do not survive a fork: a child that asks for them waits for ever, and with it
    Gymnasium's AsyncVectorEnv, which forks.
    """

    def compute_with_one_thread() -> None:
        if "torch" in sys.modules:  # a child of a process that has not imported it has no threads
            sys.modules["torch"].set_num_threads(1)
        if "faiss" in sys.modules:
            sys.modules["faiss"].omp_set_num_threads(1)

    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=compute_with_one_thread)
