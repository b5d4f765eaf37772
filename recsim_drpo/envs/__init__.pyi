from .bandit import (
    INFO_KEYS as INFO_KEYS,
    RecSimZipfEnv as RecSimZipfEnv,
    RecSimZipfVectorEnv as RecSimZipfVectorEnv,
)
from .base import WorldEnv as WorldEnv, WorldVectorEnv as WorldVectorEnv, spaces_of as spaces_of
from .registration import ENV_ID as ENV_ID, SESSION_ENV_ID as SESSION_ENV_ID, register as register
from .sessions import (
    RecSimZipfSessionEnv as RecSimZipfSessionEnv,
    RecSimZipfSessionVectorEnv as RecSimZipfSessionVectorEnv,
    session_spaces_of as session_spaces_of,
)
