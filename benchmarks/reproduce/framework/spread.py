"""The standard deviation σ of policies as they learn, beside what they earn.

Of a vector σ it is the geometric mean over coordinates, of a σ that depends on the context over
users as well.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from recsim_drpo.agents.engine.learner import Learner
from recsim_drpo.agents.engine.networks import policy_moments
from recsim_drpo.agents.fleet import Fleet
from recsim_drpo.benchmarks.reproduce.framework.measures import UserEvaluator, of_rounds
from recsim_drpo.benchmarks.reproduce.framework.study import Study
from recsim_drpo.core.policy import Measured, Policies, Policy
from recsim_drpo.core.transitions import Transitions
from recsim_drpo.evaluation.bandit import Evaluator
from recsim_drpo.training.sweep import Trained

SIGMA = "sigma"
"""Column of a history, and key of a record's details."""

_USERS = 200


@dataclass(frozen=True)
class _With:
    values: Mapping[str, float]

    def headline(self) -> dict[str, float]:
        return dict(self.values)


class SpreadEvaluator:
    """An evaluator whose headline has policies' σ besides.

    Args:
        evaluator: that measures what they earn.
    """

    def __init__(self, evaluator: Evaluator) -> None:
        self._evaluator = evaluator
        users = torch.arange(_USERS, device=evaluator.world.device)
        self._contexts = evaluator.world.users("validation", 0, users).contexts

    def __call__(self, policy: Policy) -> Measured:
        """Measure one policy; of one that is no learner of ours, what it earns alone."""
        return self._with(self._evaluator(policy), policy)

    def many(self, policies: Policies) -> Sequence[Measured]:
        """Measure every learner of a fleet."""
        measured = self._evaluator.many(policies)
        if not isinstance(policies, Fleet):
            return measured
        return [self._with(one, policies.learner(k)) for k, one in enumerate(measured)]

    def _with(self, measured: Measured, policy: Any) -> Measured:
        if not isinstance(policy, Learner):
            return measured
        return _With({**measured.headline(), SIGMA: spread(policy, self._contexts)})


def spread(learner: Learner, contexts: torch.Tensor) -> float:
    """σ of a learner's policy, geometric mean over coordinates and contexts (B, o)."""
    prefix = "parameters."
    parameters = {
        name.removeprefix(prefix): value
        for name, value in learner.state_dict().items()
        if name.startswith(prefix)
    }
    _, log_std = policy_moments(parameters, contexts, learner.config.sigma)
    return float(log_std.mean().exp())


class SpreadStudy(Study):
    """A study whose records hold σ as well: pairs of step and σ, as curves are of eCPM."""

    def follower(self, validation: UserEvaluator) -> SpreadEvaluator:
        """See :meth:`Study.follower`."""
        return SpreadEvaluator(of_rounds(validation))

    def details(self, trained: Trained, log: Transitions) -> dict[str, Any]:
        """Pairs of step and σ, under ``sigma``."""
        rows = [row for row in trained.history if SIGMA in row]
        return {SIGMA: [[row["step"], row[SIGMA]] for row in rows]}
