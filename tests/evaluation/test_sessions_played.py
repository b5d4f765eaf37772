"""The value of policies in sessions, against the environment and by its parts."""

from __future__ import annotations

import json
import math

import gymnasium as gym
import numpy as np
import pytest
import torch

from recsim_drpo import SessionEvaluator, Sessions, evaluate, make_agent, make_sessions
from recsim_drpo.evaluation.bandit import Evaluator
from recsim_drpo.evaluation.evaluate import evaluator_for

ENV = "RecSimZipfSession-v0"
SMALL = {"num_items": 300, "embedding_dim": 16, "num_topics": 5}


@pytest.fixture(scope="module")
def sessions() -> Sessions:
    return make_sessions(**SMALL)


class Fixed:
    """Shows everyone the item of the topic that they saw least of, by a rule of its own."""

    def __init__(self, sessions):
        self.sessions = sessions
        topics = sessions.world.topics
        self.items = torch.stack([(topics == topic).nonzero()[0, 0] for topic in sessions.topics])

    def act(self, observations):
        topics = observations[:, 10:].argmin(dim=1)
        return 2.5 * self.sessions.world.embeddings[self.items[topics]]


def test_evaluation_equals_the_environment_without_noise(sessions):
    policy, num_users = Fixed(sessions), 60
    found = SessionEvaluator(sessions, num_users, seed=4)(policy)
    env = gym.make(ENV, split="test", reward_noise=0.0, **SMALL).unwrapped
    observation, _ = env.reset(seed=4)
    returns, lengths, cut, items = [], [], [], []
    for _ in range(num_users):
        returns.append(0.0)
        lengths.append(0)
        while True:
            action = policy.act(torch.from_numpy(observation)[None])[0].numpy()
            observation, reward, terminated, truncated, info = env.step(action)
            returns[-1] += reward
            lengths[-1] += 1
            items.append(info["item_id"])
            if terminated or truncated:
                break
        cut.append(truncated)
        observation, _ = env.reset()
    assert found.session_return.value == pytest.approx(np.mean(returns), abs=1e-5)
    half = 1.959964 * np.std(returns, ddof=1) / math.sqrt(num_users)
    width = found.session_return.high - found.session_return.low
    assert width == pytest.approx(2 * half, rel=1e-4)
    assert found.session_length.value == pytest.approx(np.mean(lengths))
    assert found.reward.value == pytest.approx(sum(returns) / sum(lengths), abs=1e-6)
    assert found.truncated.value == pytest.approx(np.mean(cut))
    assert found.coverage == pytest.approx(len(set(items)) / 300)
    assert found.nonfinite_share == 0.0
    assert found.headline() == {
        "return": found.session_return.value,
        "session_length": found.session_length.value,
        "nonfinite_share": 0.0,
    }
    assert json.loads(json.dumps(found.as_dict()))["num_users"] == num_users
    paid = SessionEvaluator(sessions, num_users, seed=4).play(policy).paid.mean()
    assert paid > found.session_return.value  # noise is clipped at 0 more than at 1


def test_evaluate_takes_the_environment_however_it_is_given(sessions):
    agent = make_agent("bc", observation_dim=15, action_dim=16)
    by_id = evaluate(agent, ENV, num_users=40, env_kwargs=SMALL)
    env = gym.make(ENV, **SMALL)
    for given_env in (env, env.unwrapped.sessions, sessions):
        assert evaluate(agent, given_env, num_users=40) == by_id
    found = evaluator_for(env.spec, 40)
    assert isinstance(found, SessionEvaluator)
    assert found(agent) == by_id
    assert isinstance(evaluator_for(gym.spec("RecSimZipf-v0"), 5), Evaluator)
    assert evaluator_for(None) is evaluator_for(gym.spec("CartPole-v1")) is None
    with pytest.raises(ValueError, match="actions of shape"):
        evaluate(make_agent("bc", observation_dim=15, action_dim=8), sessions, num_users=4)
    with pytest.raises(TypeError, match="no method 'act'"):
        evaluate(object(), sessions, num_users=4)


def test_many_policies_are_evaluated_as_each_alone(sessions):
    class Two:
        policies = (Fixed(sessions), make_agent("bc", observation_dim=15, action_dim=16))

        def __len__(self):
            return 2

        def act(self, observations):
            pairs = zip(self.policies, observations, strict=True)
            return torch.stack([policy.act(given) for policy, given in pairs])

    evaluator = SessionEvaluator(sessions, 200)
    for many, policy in zip(evaluator.many(Two()), Two.policies, strict=True):
        alone = evaluator(policy)
        for name in ("session_return", "session_length", "reward", "truncated"):
            assert tuple(getattr(many, name)) == pytest.approx(
                tuple(getattr(alone, name)), abs=1e-5
            )
        assert (many.coverage, many.nonfinite_share) == (alone.coverage, alone.nonfinite_share)


def test_policies_that_show_nothing_are_counted(sessions):
    class Nothing:
        def act(self, observations):
            return torch.full((len(observations), 16), torch.nan)

    found = SessionEvaluator(sessions, 50)(Nothing())
    assert found.nonfinite_share == 1.0
    assert found.session_return.value == 0.0
    assert found.coverage == 0.0
