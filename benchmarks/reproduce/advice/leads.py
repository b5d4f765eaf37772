"""Differences of eCPM between methods on each log (leads), which all advice rests on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from recsim_drpo.benchmarks.reproduce.framework.agent_suite import HARD, SOFT
from recsim_drpo.benchmarks.reproduce.framework.documents import Table
from recsim_drpo.benchmarks.reproduce.framework.estimates import Floats
from recsim_drpo.benchmarks.reproduce.framework.records import cross_fitted, values
from recsim_drpo.benchmarks.reproduce.framework.study import Record

PHASE_MAP, WORLDS = "phase-map", "worlds"
"""Names of the experiments that advice rests on: the map, and other worlds to try it on."""

AXES: Mapping[str, tuple[float, ...]] = {
    "noise_share": (0.0, 0.4, 0.8, 0.95),
    "reward_noise": (0.05, 0.2, 0.8),
    "popularity_bias": (0.5, 2.0),
    "rounds": (5_000, 40_000, 320_000),
}

LABELS = {
    "noise_share": "share of random rounds",
    "reward_noise": "reward noise σ",
    "popularity_bias": "popularity bias α of the logger",
    "rounds": "rounds logged",
}

AGENTS = (
    "drpo",
    "drpo-boltzmann",
    "adaptive-bc",
    "bc",
    "awr",
    "asymre",
    "asymre-delta",
    "iql",
    "two-tower",
)
"""Who is compared on all logs: rewards are in [0, 1], where two-tower regression is Bernoulli's."""

CLAIMED = ("soft", "bc", "hard")
"""Names of the pairs that claims of the paper are about."""

REGRESSION = "regression"
"""Name of the pair of two-tower regression, which results of before do not have."""

PAIRS: Mapping[str, tuple[str, str]] = {
    "soft": ("DRPO", "the best soft method"),
    "bc": ("DRPO", "BC"),
    "hard": ("the better hard filter", "the best soft method"),
    REGRESSION: ("two-tower regression", "DRPO"),
}
"""Who is held against whom."""

SINGLE = "One method for all logs"
"""Title of the table of what single methods cost."""


def compared(
    records: Sequence[Record], labels: Sequence[str]
) -> tuple[list[str], dict[str, Floats]]:
    """The best soft method of each condition, and the leads of one method above another.

    The best of several is chosen for each seed by the validation users of all other seeds; the name
    is the one that most seeds choose.

    Args:
        records: of all conditions.
        labels: of the n conditions.

    Returns:
        n names of agents, and leads (n, num_seeds) of test eCPM by :data:`PAIRS`; without
        two-tower regression among the records those of the others.
    """
    rivals = [cross_fitted(records, label, SOFT) for label in labels]
    filters = [cross_fitted(records, label, HARD).scores for label in labels]
    soft = [rival.scores for rival in rivals]
    drpo, bc = _scores(records, labels, "drpo"), _scores(records, labels, "bc")
    against = {"soft": (drpo, soft), "bc": (drpo, bc), "hard": (filters, soft)}
    if any(record["agent"] == "two-tower" for record in records):
        against[REGRESSION] = (_scores(records, labels, "two-tower"), drpo)
    leads = {name: np.array(ours) - np.array(theirs) for name, (ours, theirs) in against.items()}
    return [rival.name for rival in rivals], leads


def _scores(records: Sequence[Record], labels: Sequence[str], agent: str) -> list[Floats]:
    return [values(records, condition=label, agent=agent) for label in labels]


def places_of(points: Sequence[Mapping[str, Any]]) -> list[str]:
    """Names of the groups that conditions form which differ in their number of rounds alone."""
    return [str([point[axis] for axis in AXES if axis != "rounds"]) for point in points]


def places(
    labels: Sequence[str],
    rivals: Sequence[str],
    leads: Mapping[str, Floats],
    logs: Sequence[Mapping[str, float]],
) -> list[dict[str, Any]]:
    """Label, best soft method, leads and log features of each condition, for :mod:`.rules`."""
    return [
        {
            "label": label,
            "best_soft": rival,
            "leads": {name: lead[k].tolist() for name, lead in leads.items()},
            "log": dict(logs[k]),
        }
        for k, (label, rival) in enumerate(zip(labels, rivals, strict=True))
    ]


def means_of(records: Sequence[Record], labels: Sequence[str]) -> tuple[list[str], Floats]:
    """The agents of :data:`AGENTS` that were trained, and their mean eCPM on each log.

    Args:
        records: of all conditions.
        labels: of the conditions.

    Returns:
        k names, and means over seeds (len(labels), k).
    """
    agents = [name for name in AGENTS if any(record["agent"] == name for record in records)]
    by_log = [
        [values(records, condition=label, agent=a).mean() for a in agents] for label in labels
    ]
    return agents, np.array(by_log)


def single_methods(records: Sequence[Record], labels: Sequence[str]) -> Table:
    """A table of each method's eCPM, and of what it loses where it is used on all logs untuned."""
    agents, means = means_of(records, labels)
    regret = means.max(axis=1, keepdims=True) - means
    rows = [
        [
            agent,
            f"{means[:, k].mean():.2f}",
            f"{regret[:, k].mean():.3f}",
            f"{regret[:, k].max():.2f}",
            str(int((regret[:, k] == 0).sum())),
        ]
        for k, agent in sorted(enumerate(agents), key=lambda place: regret[:, place[0]].mean())
    ]
    header = ["method", "eCPM", "it loses", "at most", "best on logs"]
    note = (
        "Losses of eCPM against the method that is best on a log, on average and at most, over "
        f"{len(labels)} logs; test users, means over seeds."
    )
    return Table(SINGLE, header, rows, note)
