"""The reference policies that evaluated policies stand between in a table."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from recsim_drpo.core.policy import Policy
from recsim_drpo.evaluation.bandit import Evaluator
from recsim_drpo.evaluation.sessions import SessionEvaluator
from recsim_drpo.simulator.config import LoggingConfig
from recsim_drpo.simulator.reference_policies import reference_policy, session_reference_policy

BELOW = ("random", "popularity", "logger")
"""Policies that know nothing of the learner's log."""


def reference_policies_for(
    evaluator: Evaluator | SessionEvaluator,
    weights: Mapping[str, float] | None,
    logging: LoggingConfig | None = None,
) -> tuple[dict[str, Policy], dict[str, Policy]]:
    """Policies below and above those that learn, for the world that an evaluator is about.

    Args:
        evaluator: of single rounds or of sessions.
        weights: the mixture of the agent that logged, see :class:`recsim_drpo.LoggingAgent`;
            ``None`` where another policy logged, which then is not among them.
        logging: its parameters.

    Returns:
        below: by name, those that know nothing of the learner's log, :data:`BELOW`.
        above: by name, those that know the world: the oracle of single rounds, in sessions the
            myopic and the far-sighted one.

    Raises:
        ValueError: no such mixture.
    """
    below = tuple(name for name in BELOW if name != "logger" or weights is not None)
    mixture = {"random": 1.0} if weights is None else weights  # which the others do not look at
    if isinstance(evaluator, SessionEvaluator):
        sessions = evaluator.sessions
        return _by_name(
            lambda name: session_reference_policy(name, sessions, mixture, logging),
            below,
            ("myopic", "far-sighted"),
        )
    world = evaluator.world
    return _by_name(
        lambda name: reference_policy(name, world, mixture, logging), below, ("oracle",)
    )


def _by_name(
    make: Callable[[str], Policy], below: tuple[str, ...], above: tuple[str, ...]
) -> tuple[dict[str, Policy], dict[str, Policy]]:
    return {name: make(name) for name in below}, {name: make(name) for name in above}
