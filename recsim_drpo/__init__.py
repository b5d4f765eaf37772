"""RecSim, a simulator of recommendation with heavy-tailed noisy logs, and offline agents.

``import recsim_drpo`` registers ``RecSimZipf-v0`` and ``RecSimZipfSession-v0`` with Gymnasium.
"""

import lazy_loader

from recsim_drpo import _former_names
from recsim_drpo.envs.registration import register

# What is offered is named in __init__.pyi, and imported when it is first used.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

_former_names.install()
register()
