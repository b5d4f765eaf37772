"""The value of policies on simulated users."""

from recsim_drpo.evaluation.bandit import Evaluation, Evaluator
from recsim_drpo.evaluation.evaluate import evaluate, evaluator_for, world_of
from recsim_drpo.evaluation.sessions import Played, SessionEvaluation, SessionEvaluator

__all__ = [
    "Evaluation",
    "Evaluator",
    "Played",
    "SessionEvaluation",
    "SessionEvaluator",
    "evaluate",
    "evaluator_for",
    "world_of",
]
