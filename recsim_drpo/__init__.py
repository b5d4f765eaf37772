"""RecSim, a simulator of recommendation with heavy-tailed noisy logs, and offline agents.

``import recsim_drpo`` registers ``RecSimZipf-v0`` and ``RecSimZipfSession-v0`` with Gymnasium.
"""

from recsim_drpo.core import interrupts

interrupts.install_in_program()  # before whatever takes time to import

import lazy_loader  # noqa: E402

from recsim_drpo import _former_names  # noqa: E402
from recsim_drpo.envs.registration import register  # noqa: E402

# What is offered is named in __init__.pyi, and imported when it is first used.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

_former_names.install()
register()
