"""The agents that experiments compare, the kind of each, and the margins that claims' words mean.

Every list of agents, every scenario and every margin that more than one experiment uses is here and
nowhere else, so that no two tables of one result can mean different agents by one word.
"""

from __future__ import annotations

import numpy as np

from recsim_drpo.benchmarks.reproduce.framework.estimates import Floats
from recsim_drpo.benchmarks.reproduce.framework.study import Variants
from recsim_drpo.benchmarks.reproduce.framework.thresholds import threshold

SCENARIOS = ("medium", "extreme")
"""Those of Table 4, in the paper's order."""

GRIDS: Variants = {
    "bc": [{}],
    "apg": [{}],
    "crr": [{"beta": beta} for beta in (0.5, 1.0, 5.0)],
    "bppo": [{"epsilon": epsilon} for epsilon in (0.1, 0.2, 0.3)],
    # The paper's temperatures on raw rewards, as its 0.05 reads, and the reference's own form.
    "awr": [
        *({"beta": beta, "standardize": False} for beta in (0.05, 0.1, 1.0)),
        {"beta": 1.0, "standardize": True},
    ],
    "iql": [{"tau": tau} for tau in (0.5, 0.7, 0.9)],
    "asymre": [{}],
    "asymre-delta": [{}],
    "adaptive-bc": [{}],
    "drpo-exp": [{}],
    "drpo-boltzmann": [{}],
    "drpo": [{}],
}
"""Hyper-parameters that are tried, by agent: Appendix I's grids, and Table 5's values for DRPO."""

PAPER_AWR = {"beta": 0.05, "standardize": False}
"""AWR with the paper's temperature on raw rewards, where an experiment tunes nothing."""

UNTUNED: Variants = {name: [PAPER_AWR if name == "awr" else {}] for name in GRIDS}
"""One configuration for each agent, where an experiment tunes nothing."""

SOFT = ("awr", "crr", "iql", "asymre", "asymre-delta", "drpo-boltzmann")
"""Agents that weigh every sample by its reward or by a critic, and reject none."""

HARD = ("adaptive-bc", "drpo", "drpo-exp", "drpo-q")
"""Agents that reject part of every batch."""

PAPERS_OWN = ("drpo-exp", "drpo")
"""The methods that the paper proposes."""

PAPERS_BASELINES = ("apg", "bc", "crr", "bppo", "awr", "iql", "asymre", "adaptive-bc")
"""The paper's eight."""

RIVALS = ("bc", "awr", "asymre", "iql")
"""Agents that DRPO is held against, one by one."""

PAPER_TABLE_1: dict[str, dict[str, float]] = {
    "medium": {
        "bc": 1.69,
        "crr": 1.11,
        "bppo": 1.70,
        "awr": 1.66,
        "iql": 1.68,
        "adaptive-bc": 1.84,
        "drpo-exp": 1.86,
        "drpo": 1.87,
    },
    "extreme": {
        "bc": 1.34,
        "crr": 1.08,
        "bppo": 0.62,
        "awr": 1.27,
        "iql": 1.44,
        "adaptive-bc": 1.48,
        "drpo-exp": 1.59,
        "drpo": 1.54,
    },
}
"""eCPM in Table 1, by scenario and agent."""

TEACHER_ECPM = threshold("teacher_ecpm")
"""eCPM of the logging teacher: more is *adequate*."""

COLLAPSED_ECPM = threshold("collapsed_ecpm")
"""Half of the teacher's: less is to *fail* or *collapse*."""

FAR_DISTANCE = threshold("far_distance")
"""Dist. above which the paper's APG has *failed catastrophically* (Section 5.3)."""

NECESSARY_SHARE = threshold("necessary_share")
"""Hard filtering is *necessary* where the best soft method has a smaller share of DRPO's eCPM."""

INDISTINGUISHABLE_SHARE = threshold("indistinguishable_share")
"""Means are *indistinguishable* where they differ by a smaller share."""


def collapsed(ecpm: Floats, distance: Floats) -> bool:
    """Whether every run (num_seeds,) has collapsed and is far from u*; NaN is infinitely far."""
    far = np.nan_to_num(distance, nan=np.inf) > FAR_DISTANCE
    return bool((ecpm < COLLAPSED_ECPM).all() and far.all())
