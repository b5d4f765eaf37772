from __future__ import annotations

from recsim_drpo import Evaluator, SessionEvaluator, Sessions
from recsim_drpo.evaluation.references import BELOW, reference_policies_for


def test_policies_below_and_above_those_of_single_rounds(small_world):
    evaluator = Evaluator(small_world, 200)
    below, above = reference_policies_for(evaluator, {"random": 0.5, "expert": 0.5})
    assert tuple(below) == BELOW
    assert tuple(above) == ("oracle",)
    value = {name: evaluator(policy).value.value for name, policy in (below | above).items()}
    assert value["random"] < value["logger"] < value["oracle"]


def test_policies_below_and_above_those_of_sessions(small_world):
    evaluator = SessionEvaluator(Sessions(small_world), 50)
    below, above = reference_policies_for(evaluator, {"expert": 1.0})
    assert tuple(below) == BELOW
    assert tuple(above) == ("myopic", "far-sighted")
    value = {name: evaluator(policy).value.value for name, policy in (below | above).items()}
    assert value["random"] < value["myopic"]
