"""The Gymnasium environments over the simulated world."""

from recsim_drpo.envs.bandit import INFO_KEYS, RecSimZipfEnv, RecSimZipfVectorEnv
from recsim_drpo.envs.base import WorldEnv, WorldVectorEnv, spaces_of
from recsim_drpo.envs.registration import ENV_ID, SESSION_ENV_ID, register
from recsim_drpo.envs.sessions import (
    RecSimZipfSessionEnv,
    RecSimZipfSessionVectorEnv,
    session_spaces_of,
)

__all__ = [
    "ENV_ID",
    "INFO_KEYS",
    "SESSION_ENV_ID",
    "RecSimZipfEnv",
    "RecSimZipfSessionEnv",
    "RecSimZipfSessionVectorEnv",
    "RecSimZipfVectorEnv",
    "WorldEnv",
    "WorldVectorEnv",
    "register",
    "session_spaces_of",
    "spaces_of",
]
