"""The Gymnasium environments over the simulated world."""

from recsim_drpo.envs.bandit import (
    ENV_ID,
    INFO_KEYS,
    SESSION_ENV_ID,
    RecSimZipfEnv,
    RecSimZipfVectorEnv,
    WorldEnv,
    WorldVectorEnv,
    register,
    spaces_of,
)
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
