"""Shapes of curves that are measured over seeds: fits, and how well they explain."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from recsim_drpo.benchmarks.reproduce.framework.estimates import Floats

MISFIT = math.log(1.25)

VAST_MAJORITY = 0.75

Measured = Mapping[str, Any]


class ZipfFit(NamedTuple):
    """Attributes: s of c q^-s, the share that it explains, and both on logarithmic axes."""

    exponent: float
    explained: float
    log_exponent: float
    log_explained: float


def explained(y: Floats, fitted: Floats) -> float:
    """R², the share of the variance of ``y`` (T,) that is explained."""
    return 1.0 - float(np.square(y - fitted).sum() / np.square(y - y.mean()).sum())


def scaled(shape: Floats, y: Floats) -> Floats:
    """c × shape (T,) of least squares to ``y`` (T,)."""
    fitted: Floats = shape * float(shape @ y / (shape @ shape))
    return fitted


def zipf_fit(x: ArrayLike, values: ArrayLike) -> ZipfFit:
    """Fit c x^-s by least squares, on linear and on logarithmic axes (NaN where a value is 0)."""
    from scipy.optimize import minimize_scalar

    q, y = np.asarray(x, dtype=np.float64), np.asarray(values, dtype=np.float64)
    best = minimize_scalar(
        lambda s: -explained(y, scaled(q**-s, y)), bounds=(0.0, 10.0), method="bounded"
    )
    if y.min() <= 0.0:
        return ZipfFit(float(best.x), -float(best.fun), math.nan, math.nan)
    slope, level = np.polyfit(np.log(q), np.log(y), 1)
    on_log_axes = explained(np.log(y), level + slope * np.log(q))
    return ZipfFit(float(best.x), -float(best.fun), -float(slope), on_log_axes)


def over_seeds(logs: Sequence[Measured], *path: str) -> Floats:
    """What is measured of each log: (num_seeds, …)."""

    def at(log: Any) -> Any:
        for key in path:
            log = log[key]
        return log

    return np.array([at(log) for log in logs], dtype=np.float64)
