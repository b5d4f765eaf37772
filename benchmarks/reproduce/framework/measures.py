"""What studies measure of a policy: of rounds their reward, of sessions their return."""

from __future__ import annotations

import math

from recsim_drpo.benchmarks.reproduce.framework.conditions import Condition
from recsim_drpo.evaluation.bandit import Evaluation, Evaluator
from recsim_drpo.evaluation.sessions import SessionEvaluation, SessionEvaluator
from recsim_drpo.simulator.sessions import Sessions, make_sessions
from recsim_drpo.simulator.world import World, make_world

METRICS = ("reward", "ecpm", "regret", "normalized", "distance", "coverage", "gini")
"""Test metrics of a policy in rounds."""

SESSION_METRICS = ("return", "session_length", "reward", "truncated", "coverage", "gini")
"""Test metrics of a policy in sessions."""

HEADLINES = ("ecpm", "return")
"""What a learning curve shows, and validation users choose by: of rounds, of sessions."""

UserEvaluator = Evaluator | SessionEvaluator
"""What measures a policy on users that it was not trained on."""


def simulated(condition: Condition, device: str) -> World | Sessions:
    """The world of a condition on a device, or its sessions where users stay for them."""
    make = make_sessions if condition.has_sessions else make_world
    return make(device, **condition.world)


def evaluator(world: World | Sessions, num_users: int, split: str) -> UserEvaluator:
    """What measures policies on so many users of a split of them."""
    if isinstance(world, Sessions):
        return SessionEvaluator(world, num_users, split=split)
    return Evaluator(world, num_users, split=split)


def of_rounds(evaluator: UserEvaluator) -> Evaluator:
    """An evaluator in rounds as such, for studies that know no sessions.

    Raises:
        ValueError: it is one in sessions.
    """
    if isinstance(evaluator, SessionEvaluator):
        raise ValueError("This study is of rounds; its conditions have sessions.")
    return evaluator


def summary(evaluation: Evaluation | SessionEvaluation) -> dict[str, float | None]:
    """The values of an evaluation without their intervals over users; ``None`` for NaN."""
    plain = evaluation.as_dict()
    names: tuple[str, ...] = METRICS
    if isinstance(evaluation, SessionEvaluation):
        plain["return"] = plain["session_return"]
        names = SESSION_METRICS
    values = {
        name: plain[name]["value"] if isinstance(plain[name], dict) else plain[name]
        for name in (*names, "nonfinite_share")
    }
    return {name: None if math.isnan(value) else value for name, value in values.items()}
