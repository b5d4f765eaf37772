"""Names that a search is asked by. Imports neither torch nor Optuna."""

from __future__ import annotations

TRUE_REWARD, OFFLINE = "true-reward", "offline"
CRITERIA = (TRUE_REWARD, OFFLINE)
"""What a search makes large: see :mod:`.criteria`."""

SAMPLERS = ("tpe", "random", "qmc", "gp", "cmaes")
PRUNERS = ("median", "halving", "hyperband", "none")
"""Of Optuna."""
