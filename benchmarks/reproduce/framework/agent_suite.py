"""The agents that experiments compare, the kind of each, and the margins that claims' words mean.

Every list of agents, every scenario and every margin that more than one experiment uses is here and
nowhere else, so that no two tables of one result can mean different agents by one word.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

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
    # What rewards are regressed on by hand needs its penalty tuned: three times more, a third.
    "two-tower": [{"penalty": penalty} for penalty in (1e-3, 3e-3, 1e-2)],
    "two-tower-ips": [{"penalty": penalty} for penalty in (1e-3, 3e-3, 1e-2)],
    "two-tower-gaussian": [{"penalty": penalty} for penalty in (1e-3, 3e-3, 1e-2)],
    "softmax-bc": [{}],
    "softmax-pg": [{}],
    "dr-policy": [{}],
    "topk-off-policy": [{}],
    "drpo-softmax": [{}],
    "stacked": [{}],
}
"""Hyper-parameters that are tried, by agent: Appendix I's grids, Table 5's values for DRPO, and
for agents that the paper has not the default and its neighbours."""

PAPER_AWR = {"beta": 0.05, "standardize": False}
"""AWR with the paper's temperature on raw rewards, where an experiment tunes nothing."""

UNTUNED: Variants = {name: [PAPER_AWR if name == "awr" else {}] for name in GRIDS}
"""One configuration for each agent, where an experiment tunes nothing."""

SOFT = ("awr", "crr", "iql", "asymre", "asymre-delta", "drpo-boltzmann")
"""Agents that weigh every sample by its reward or by a critic, and reject none."""

HARD = ("adaptive-bc", "drpo", "drpo-exp", "drpo-q")
"""Agents that reject part of every batch."""

PLAIN = ("bc", "apg", "bppo")
"""Agents that neither weigh nor reject: a clone, signed advantages, policy improvement."""

VALUE = ("two-tower", "two-tower-ips", "two-tower-gaussian")
"""Agents that predict rewards and show the item of the highest prediction; no part of the paper."""

DISCRETE = ("softmax-bc", "softmax-pg", "topk-off-policy", "dr-policy", "drpo-softmax")
"""Agents whose policy is a softmax over the catalogue, with a filter or without; no part of the
paper, whose *soft* and *hard* methods have a Gaussian over embeddings."""

COMBINED = ("stacked",)
"""Agents that weigh several of the others by the log; measured apart, in docs/all_logs.md."""
KINDS: Mapping[str, Sequence[str]] = {
    "hard filter": HARD,
    "soft weights": SOFT,
    "value": VALUE,
    "softmax over items": DISCRETE,
    "several": COMBINED,
    "plain": PLAIN,
}
"""Every agent of ours by what it does with rewards. *The best soft method* is one of the second,
*the best of all* one of any; sentences on what wins are made from these names."""


def kind_of(agent: str) -> str:
    """The kind of an agent.

    Raises:
        ValueError: it is of none.
    """
    for kind, names in KINDS.items():
        if agent in names:
            return kind
    raise ValueError(f"The agent {agent!r} is of no kind; name one in agent_suite.KINDS.")


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


def marks_told(largest: float) -> str:
    """Text on the marks at which a collapse would be said as well, by the most that was earned."""
    return f"it would be said at every mark above {largest:.2f} eCPM, and at none below"
