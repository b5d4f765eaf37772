"""Optuna's samplers and pruners by the names of :mod:`.names`."""

from __future__ import annotations

import warnings
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler


def sampler_of(name: str, seed: int) -> BaseSampler:
    """Optuna's sampler of a name of :data:`.names.SAMPLERS`.

    Args:
        name: one of them.
        seed: its own, ≥ 0; of larger ones what is left by 2**32, as NumPy takes it.

    Raises:
        ImportError: it needs a package that is not there.
    """
    from optuna import samplers
    from optuna.exceptions import ExperimentalWarning

    if name == "cmaes" and find_spec("cmaes") is None:
        raise ImportError("The sampler cmaes needs a package: pip install cmaes.")
    kinds: dict[str, type[BaseSampler]] = {
        "tpe": samplers.TPESampler,
        "random": samplers.RandomSampler,
        "qmc": samplers.QMCSampler,
        "gp": samplers.GPSampler,
        "cmaes": samplers.CmaEsSampler,
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)  # whoever names one wants it
        return kinds[name](seed=seed % 2**32)  # type: ignore[call-arg]


def pruner_of(name: str, together: int) -> BasePruner:
    """Optuna's pruner of a name of :data:`.names.PRUNERS`.

    Args:
        name: one of them.
        together: trials that train as one fleet: the median's are known after so many.
    """
    from optuna import pruners

    match name:
        case "median":
            return pruners.MedianPruner(n_startup_trials=max(5, together))
        case "halving":
            return pruners.SuccessiveHalvingPruner()
        case "hyperband":
            return pruners.HyperbandPruner()
    return pruners.NopPruner()
