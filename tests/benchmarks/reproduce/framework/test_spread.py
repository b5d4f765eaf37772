"""σ of policies as they learn."""

from __future__ import annotations

import math

import pytest
import torch

from recsim_drpo.agents.registry import make_agent
from recsim_drpo.benchmarks.reproduce.framework.conditions import Condition
from recsim_drpo.benchmarks.reproduce.framework.spread import SIGMA, SpreadStudy, spread
from recsim_drpo.benchmarks.reproduce.framework.study import Study
from recsim_drpo.training.config import TrainingConfig

CONTEXTS = torch.tensor([[1.0, 0.0], [0.0, 1.0]])


def learner(**settings):
    shape = {"observation_dim": 2, "action_dim": 2, "num_hidden_layers": 1, "hidden_dim": 1}
    return make_agent("bc", **shape, **settings)


def test_sigma_by_hand():
    policy = learner()
    state = policy.state_dict()
    policy.load_state_dict(state | {"parameters.log_std": torch.tensor([-1.0, -2.0])})
    assert spread(policy, CONTEXTS) == pytest.approx(math.exp(-1.5))
    assert spread(learner(sigma="fixed"), CONTEXTS) == 1.0


def test_sigma_of_each_context_is_averaged_by_hand():
    policy = learner(sigma="state")
    state = policy.state_dict()
    # One hidden unit relu(x_1); outputs are two means, then two log σ: −1 − h and 0.5.
    state |= {
        "parameters.policy.weight_0": torch.tensor([[1.0, 0.0]]),
        "parameters.policy.bias_0": torch.zeros(1),
        "parameters.policy.weight_1": torch.tensor([[0.0], [0.0], [-1.0], [0.0]]),
        "parameters.policy.bias_1": torch.tensor([0.0, 0.0, -1.0, 0.5]),
    }
    policy.load_state_dict(state)
    log_sigma = [-2.0, 0.5, -1.0, 0.5]
    assert spread(policy, CONTEXTS) == pytest.approx(math.exp(sum(log_sigma) / 4))


def test_a_study_follows_sigma_and_changes_no_number(small_kwargs, tmp_path):
    fields = {
        "name": "try",
        "conditions": [Condition("one", {"expert": 1.0}, world=dict(small_kwargs), num_rounds=300)],
        "agents": {"bc": [{"hidden_dim": 4}, {"hidden_dim": 4, "sigma": "state"}]},
        "seeds": (0, 1),
        "training": TrainingConfig(steps=20, batch_size=32, evaluate_every=10),
        "num_test_users": 100,
        "num_validation_users": 50,
    }
    plain = Study(**fields).run(tmp_path / "plain", progress=False)
    followed = SpreadStudy(**fields).run(tmp_path / "followed", progress=False)
    for one, other in zip(plain, followed, strict=True):
        steps, sigma = zip(*other.pop(SIGMA), strict=True)
        assert steps == (0, 10, 20)
        assert sigma[0] == pytest.approx(1.0, abs=0.3)
        assert sigma[-1] < sigma[0]  # the first thing that cloning an expert learns
        assert one["test"]["ecpm"] == pytest.approx(other["test"]["ecpm"], abs=0.1)
        assert [step for step, _ in one["curve"]] == [step for step, _ in other["curve"]]
