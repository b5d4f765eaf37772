from __future__ import annotations

import json

import pytest
import torch

from recsim_drpo import SessionEvaluator, make_sessions


class Fixed:
    """Shows one item, or several policies one item each, to everyone."""

    def __init__(self, sessions, *items):
        self.actions = sessions.world.embeddings[list(items)]

    def __len__(self):
        return len(self.actions)

    def act(self, observations):
        if observations.ndim == 2:
            return self.actions[0].expand(len(observations), -1)
        return self.actions.unsqueeze(1).expand(-1, observations.shape[1], -1)


@pytest.fixture
def evaluator(small_kwargs):
    return SessionEvaluator(make_sessions(**small_kwargs, max_steps=5), 60, seed=3)


def test_an_evaluation_sums_up_the_sessions_played(evaluator):
    policy = Fixed(evaluator.sessions, 7)
    played, evaluation = evaluator.play(policy), evaluator(policy)
    assert evaluation == evaluator.summary(played)
    assert evaluation.value == evaluation.session_return
    assert evaluation.value.value == pytest.approx(played.returns.mean())
    assert evaluation.session_length.value == pytest.approx(played.lengths.mean())
    assert played.counts[7] == played.lengths.sum() == played.counts.sum()
    assert (played.nothing_shown == 0).all()
    assert evaluation.coverage == pytest.approx(1 / 300)


def test_a_row_of_a_table_and_a_learning_curve(evaluator):
    evaluation = evaluator(Fixed(evaluator.sessions, 7))
    assert evaluation.value_name == "return of a session"
    assert evaluation.cells() == {
        "return": str(evaluation.session_return),
        "steps": f"{evaluation.session_length.value:.2f}",
        "reward a step": f"{evaluation.reward.value:.3f}",
        "cut off": f"{evaluation.truncated.value:.1%}",
        "items shown": "0.3%",
        "Gini": "0.997",
    }
    assert evaluation.headline()["return"] == evaluation.session_return.value
    plain = evaluation.as_dict()
    assert json.loads(json.dumps(plain)) == plain


def test_several_policies_meet_the_users_that_each_meets_alone(evaluator):
    sessions = evaluator.sessions
    together = evaluator.many(Fixed(sessions, 7, 8))
    for item, evaluation in zip((7, 8), together, strict=True):
        alone = evaluator(Fixed(sessions, item))
        assert evaluation.session_return == pytest.approx(alone.session_return, rel=1e-5)
        assert evaluation.session_length == alone.session_length
        assert evaluation.gini == alone.gini


def test_errors(evaluator):
    class Narrow:
        def act(self, observations):
            return torch.zeros(*observations.shape[:-1], 3)

        def __len__(self):
            return 2

    with pytest.raises(ValueError, match=r"shape \(60, 3\) for 60 users; .* takes \(60, 16\)"):
        evaluator(Narrow())
    with pytest.raises(ValueError, match=r"shape \(2, 60, 3\) for 60 users"):
        evaluator.many(Narrow())
    with pytest.raises(TypeError, match="object has no method 'act'"):
        evaluator(object())
    with pytest.raises(ValueError, match="num_users=0"):
        SessionEvaluator(evaluator.sessions, 0)
