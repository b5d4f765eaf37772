from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch

from recsim_drpo import Evaluator, Fleet, evaluate, make_agent, make_world, reference_policy
from recsim_drpo.reporting.statistics import Estimate


class Fixed:
    """Shows everyone the same item, as NumPy arrays: a policy from elsewhere."""

    def __init__(self, world, item, scale=1.0):
        self.action = scale * world.catalogue.embeddings[item]

    def act(self, observations):
        return np.repeat(self.action[None], len(observations), axis=0)


def test_values_by_brute_force(small_world):
    num_users = 400
    users = small_world.users("test", 7, torch.arange(num_users))
    cosines = (users.interests @ small_world.embeddings.T).double().numpy()
    latent = np.exp(-(1 - cosines) / (2 * small_world.config.delta**2))
    found = evaluate(Fixed(small_world, 11, scale=3.0), small_world, num_users=num_users, seed=7)
    mine, oracle, uniform = latent[:, 11], latent.max(1), latent.mean(1)
    assert found.reward.value == pytest.approx(mine.mean(), abs=1e-6)
    half = 1.959964 * mine.std(ddof=1) / math.sqrt(num_users)
    assert found.reward.high - found.reward.low == pytest.approx(2 * half, rel=1e-4)
    assert found.ecpm.value == pytest.approx(5 * mine.mean(), abs=1e-5)
    assert found.regret.value == pytest.approx((oracle - mine).mean(), abs=1e-6)
    expected = (mine - uniform).mean() / (oracle - uniform).mean()
    assert found.normalized.value == pytest.approx(expected, abs=1e-5)
    action = 3.0 * small_world.embeddings[11]
    distance = (action - users.interests).norm(dim=1).mean()
    assert found.distance.value == pytest.approx(float(distance), rel=1e-5)
    assert found.coverage == pytest.approx(1 / 300)
    assert found.gini == pytest.approx(299 / 300)
    assert found.nonfinite_share == 0.0
    assert found.num_users == num_users


def test_references_are_ordered_and_normalised(small_world):
    evaluator = Evaluator(small_world, 4_000)
    found = {
        name: evaluator(reference_policy(name, small_world, "medium"))
        for name in ("random", "popularity", "logger", "expert", "oracle")
    }
    assert found["oracle"].normalized.value == pytest.approx(1.0)
    assert found["oracle"].regret.value == pytest.approx(0.0, abs=1e-7)
    low, high = found["random"].normalized.low, found["random"].normalized.high
    assert low < 0.005
    assert high > -0.005
    assert found["random"].coverage == 1.0
    ecpm = {name: one.ecpm.value for name, one in found.items()}
    assert ecpm["random"] < ecpm["logger"] < ecpm["expert"] < ecpm["oracle"]
    assert ecpm["random"] < ecpm["popularity"] < ecpm["expert"]
    # The mixture is worth what its components are.
    world_rand = evaluator(_organic(small_world)).ecpm.value
    mixed = 0.1 * ecpm["expert"] + 0.6 * ecpm["popularity"] + 0.3 * world_rand
    assert ecpm["logger"] == pytest.approx(mixed, abs=0.05)


def _organic(world):
    from recsim_drpo import LoggingAgent

    return LoggingAgent(world, {"random": 1.0}, seed=3)


def test_the_registered_world_keeps_its_calibration():
    """docs/calibration.md: optimum 2.0, medium logger 1.0, untrained network 0.15 to 0.25."""
    world = make_world()
    evaluator = Evaluator(world, 5_000)
    assert evaluator(reference_policy("oracle", world)).ecpm.value == pytest.approx(2.0, abs=0.03)
    logger = evaluator(reference_policy("logger", world, "medium"))
    assert logger.ecpm.value == pytest.approx(1.0, abs=0.05)
    untrained = [
        evaluator(make_agent("bc", observation_dim=10, action_dim=128, seed=seed)).ecpm.value
        for seed in range(8)
    ]
    assert 0.15 <= np.mean(untrained) <= 0.25


def test_policies_meet_the_same_users_and_seeds_change_them(small_world):
    policy = Fixed(small_world, 0)
    one = evaluate(policy, small_world, num_users=50)
    assert evaluate(policy, small_world, num_users=50) == one
    assert evaluate(policy, small_world, num_users=50, seed=1).reward != one.reward
    assert evaluate(policy, small_world, num_users=50, split="validation").reward != one.reward


def test_nonfinite_actions_earn_nothing_and_are_counted(small_world):
    class Half(Fixed):
        def act(self, observations):
            actions = super().act(observations)
            actions[::2, 3] = np.nan
            return actions

    good = evaluate(Fixed(small_world, 5), small_world, num_users=100)
    found = evaluate(Half(small_world, 5), small_world, num_users=100)
    assert found.nonfinite_share == 0.5
    assert 0 < found.reward.value < good.reward.value
    assert math.isfinite(found.distance.value)
    assert found.coverage == pytest.approx(1 / 300)

    class Lost(Fixed):
        def act(self, observations):
            return np.full((len(observations), 16), np.inf)

    lost = evaluate(Lost(small_world, 0), small_world, num_users=10)
    assert (lost.reward.value, lost.coverage, lost.nonfinite_share) == (0.0, 0.0, 1.0)
    assert math.isnan(lost.distance.value)
    assert math.isnan(lost.gini)


def test_a_policy_cannot_change_the_users(small_world):
    class Vandal(Fixed):
        def act(self, observations):
            actions = super().act(observations)
            observations.fill_(0.0)
            return actions

    evaluator = Evaluator(small_world, 30)
    before = evaluator(Fixed(small_world, 2))
    evaluator(Vandal(small_world, 2))
    assert evaluator(make_agent("bc", observation_dim=10, action_dim=16)) == Evaluator(
        small_world, 30
    )(make_agent("bc", observation_dim=10, action_dim=16))
    assert evaluator(Fixed(small_world, 2)) == before


def test_a_world_without_a_choice_has_no_normalised_value():
    world = make_world(num_items=1, embedding_dim=4, num_topics=1)
    found = evaluate(Fixed(world, 0), world, num_users=20)
    assert math.isnan(found.normalized.value)
    assert found.regret.value == pytest.approx(0.0, abs=1e-7)


def test_a_row_of_a_table_and_a_learning_curve(small_world):
    evaluation = evaluate(Fixed(small_world, 5), small_world, num_users=100)
    assert (evaluation.value, evaluation.value_name) == (evaluation.ecpm, "eCPM")
    assert evaluation.cells() == {
        "reward": str(evaluation.reward),
        "eCPM": f"{evaluation.ecpm.value:.3f}",
        "regret": f"{evaluation.regret.value:.3f}",
        "of optimum": f"{evaluation.normalized.value:.1%}",
        "Dist.": f"{evaluation.distance.value:.3f}",
        "items shown": "0.3%",
        "Gini": "0.997",
    }
    assert evaluation.headline()["ecpm"] == evaluation.value.value
    lost = evaluate(Fixed(small_world, 5, scale=math.nan), small_world, num_users=10)
    assert lost.cells()["Dist."] == ""


def test_as_dict_is_plain(small_world):
    found = evaluate(Fixed(small_world, 0), small_world, num_users=10).as_dict()
    assert json.loads(json.dumps(found)) == found
    assert set(found["reward"]) == set(Estimate._fields)


def test_a_fleet_is_evaluated_at_once_and_as_one_by_one(small_world):
    fleet = Fleet(
        "drpo", observation_dim=10, action_dim=16, seeds=[0, 1, 2], overrides=[{"hidden_dim": 8}]
    )
    evaluator = Evaluator(small_world, 400)
    together = evaluator.many(fleet)
    assert len(together) == 3
    for k, found in enumerate(together):
        alone = evaluator(fleet.learner(k)).as_dict()
        for key, value in found.as_dict().items():
            if isinstance(value, dict):
                for part in value:
                    assert value[part] == pytest.approx(alone[key][part], rel=1e-5), key
            else:
                assert value == pytest.approx(alone[key]), key
