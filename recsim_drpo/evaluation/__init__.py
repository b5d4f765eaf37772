"""The value of policies on simulated users."""

from recsim_drpo.evaluation.evaluate import (
    Evaluation,
    Evaluator,
    Played,
    SessionEvaluation,
    SessionEvaluator,
    evaluate,
    evaluator_for,
    world_of,
    world_of_spec,
)

__all__ = [
    "Evaluation",
    "Evaluator",
    "Played",
    "SessionEvaluation",
    "SessionEvaluator",
    "evaluate",
    "evaluator_for",
    "world_of",
    "world_of_spec",
]
