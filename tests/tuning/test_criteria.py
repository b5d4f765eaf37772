from __future__ import annotations

import numpy as np
import pytest
import torch

from recsim_drpo import Evaluator
from recsim_drpo.datasets.generate import generate_dataset
from recsim_drpo.datasets.load import load_transitions
from recsim_drpo.ope.evaluator import OffPolicyEvaluator
from recsim_drpo.ope.logs import read_item_log
from recsim_drpo.tuning.criteria import problem_of

CPU = torch.device("cpu")


class Constant:
    """Shows one item to all."""

    def __init__(self, vector):
        self.vector = vector

    def act(self, observations):
        return self.vector.expand(len(observations), -1)


@pytest.fixture
def dataset(minari_root, small_kwargs):
    return generate_dataset(
        "tuning/log-v0", scenario="extreme", num_rounds=4_000, env_kwargs=dict(small_kwargs)
    )


def test_nothing_is_learnt_from_the_rounds_that_choose(dataset):
    problem = problem_of(dataset, "offline", held_out=0.25, device=CPU)
    assert len(problem.transitions) == 3_000
    assert problem.final_name == "test users"
    rewards = np.concatenate([episode.rewards for episode in dataset.iterate_episodes()])
    logged = load_transitions(dataset)
    assert torch.equal(problem.transitions.rewards, logged.rewards[:3_000])
    np.testing.assert_array_equal(rewards.astype(np.float32), logged.rewards.numpy())
    policy = Constant(logged.actions[:1])
    last = read_item_log(dataset).part(torch.arange(3_000, 4_000))
    np.testing.assert_array_equal(last.rewards.numpy(), logged.rewards[3_000:].numpy())
    measure = OffPolicyEvaluator(last)
    by_name = {e.estimator: e for e in measure.estimates(measure.terms(policy), refuse=False)}
    assert problem.criterion(policy) == pytest.approx(by_name["dr"].value.value)


def test_the_true_reward_is_that_of_validation_users(dataset, small_world):
    problem = problem_of(dataset, "true-reward", held_out=0.1, device=CPU)
    policy = Constant(load_transitions(dataset).actions[:1])
    expected = Evaluator(small_world, 2_000, split="validation")(policy).ecpm.value
    assert problem.criterion(policy) == pytest.approx(expected)
    assert problem.final(policy) == pytest.approx(Evaluator(small_world)(policy).ecpm.value)
    assert set(problem.criteria) == {"true-reward", "offline"}


def test_true_rewards_of_an_imported_log_are_not_known(tmp_path, minari_root):
    from recsim_drpo.datasets.import_log import import_log
    from recsim_drpo.datasets.importing.columns import Columns

    rng = np.random.default_rng(0)
    np.save(tmp_path / "items.npy", np.eye(4, dtype=np.float32))
    lines = ["x,item,click,p"]
    lines += [f"{rng.normal():.3f},{rng.integers(4)},{rng.integers(2)},0.25" for _ in range(200)]
    (tmp_path / "log.csv").write_text("\n".join(lines) + "\n")
    dataset = import_log(
        "tuning/imported-v0",
        tmp_path / "log.csv",
        tmp_path / "items.npy",
        Columns(numbers=["x"], item="item", reward="click", propensity="p"),
        progress=False,
    )
    with pytest.raises(ValueError, match="true rewards are not known"):
        problem_of(dataset, "true-reward", held_out=0.2, device=CPU)
    problem = problem_of(dataset, "offline", held_out=0.2, device=CPU)
    assert len(problem.transitions) == 160
    always = Constant(torch.eye(4)[:1])
    assert problem.criterion(always) != problem.final(always)
    assert set(problem.criteria) == {"offline"}
