"""Least-squares fits to curves that are measured over seeds, and how much they explain."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from recsim_drpo.benchmarks.reproduce.framework.estimates import Floats
from recsim_drpo.benchmarks.reproduce.framework.thresholds import threshold

MISFIT = math.log(threshold("misfit_ratio"))

VAST_MAJORITY = threshold("vast_majority")

Measured = Mapping[str, Any]


class ZipfFit(NamedTuple):
    """Zipf's law c q^-s, fitted to a curve.

    Attributes:
        exponent: s.
        explained: R² of the fit.
        log_exponent: s, fitted on logarithmic axes.
        log_explained: R² there.
    """

    exponent: float
    explained: float
    log_exponent: float
    log_explained: float


def explained(y: Floats, fitted: Floats) -> float:
    """R², the share of the variance of ``y`` (T,) that is explained."""
    return 1.0 - float(np.square(y - fitted).sum() / np.square(y - y.mean()).sum())


def scaled(shape: Floats, y: Floats) -> Floats:
    """The multiple of a shape (T,) that has the least squares to ``y`` (T,)."""
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
    """One measurement of every seed's log, stacked: (num_seeds, …).

    Args:
        logs: measurements of each log, nested by name.
        path: names that lead to the one that is wanted.
    """

    def at(log: Any) -> Any:
        for key in path:
            log = log[key]
        return log

    return np.array([at(log) for log in logs], dtype=np.float64)
