"""Ids of the environments, and their registration with Gymnasium."""

from __future__ import annotations

import functools
import os
import sys

import gymnasium as gym

ENV_ID = "RecSimZipf-v0"
SESSION_ENV_ID = "RecSimZipfSession-v0"


def register() -> None:
    """Register the environments with Gymnasium; done on ``import recsim_drpo``."""
    _survive_forks()
    if ENV_ID not in gym.registry:
        gym.register(
            ENV_ID,
            entry_point="recsim_drpo.envs:RecSimZipfEnv",
            vector_entry_point="recsim_drpo.envs:RecSimZipfVectorEnv",
        )
    if SESSION_ENV_ID not in gym.registry:
        gym.register(
            SESSION_ENV_ID,
            entry_point="recsim_drpo.session_envs:RecSimZipfSessionEnv",
            vector_entry_point="recsim_drpo.session_envs:RecSimZipfSessionVectorEnv",
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

    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=compute_with_one_thread)
