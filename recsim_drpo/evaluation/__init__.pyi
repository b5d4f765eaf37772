from .bandit import Evaluation as Evaluation, Evaluator as Evaluator
from .evaluate import evaluate as evaluate, evaluator_for as evaluator_for, world_of as world_of
from .references import reference_policies_for as reference_policies_for
from .sessions import (
    Played as Played,
    SessionEvaluation as SessionEvaluation,
    SessionEvaluator as SessionEvaluator,
)
