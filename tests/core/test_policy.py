from __future__ import annotations

import numpy as np
import pytest
import torch

from recsim_drpo.core.policy import actions_of, as_observations, check_acts

CPU = torch.device("cpu")


class Returns:
    """Returns the same whatever it sees, and tries to change that."""

    def __init__(self, actions):
        self.actions = actions

    def act(self, observations):
        observations.zero_()
        return self.actions


def test_actions_are_detached_tensors_and_observations_stay_as_they_are():
    observations = torch.ones(2, 3)
    actions = actions_of(Returns(torch.ones(2, 4, requires_grad=True)), observations, 4)
    assert not actions.requires_grad
    assert torch.equal(observations, torch.ones(2, 3))
    assert torch.equal(actions_of(Returns(np.ones((2, 4))), observations, 4), torch.ones(2, 4))


def test_several_policies_see_the_same_observations_or_each_its_own():
    policies = Returns(torch.ones(5, 2, 4))
    for observations in (torch.ones(2, 3), torch.ones(5, 2, 3)):
        assert actions_of(policies, observations, 4, axes=(5,)).shape == (5, 2, 4)


@pytest.mark.parametrize(
    ("actions", "axes", "message"),
    [
        (torch.ones(2, 5), (), r"shape \(2, 5\) for 2 rounds; this catalogue takes \(2, 4\)"),
        (torch.ones(4), (), r"shape \(4,\) for 2 rounds"),
        (torch.ones(2, 4), (5,), r"shape \(2, 4\) for 2 rounds; .* takes \(5, 2, 4\)"),
    ],
)
def test_actions_of_another_shape_are_one_error(actions, axes, message):
    with pytest.raises(ValueError, match=message):
        actions_of(Returns(actions), torch.ones(2, 3), 4, axes=axes, rows="rounds")


def test_what_does_not_act_is_named():
    check_acts(Returns(None))
    with pytest.raises(TypeError, match="list has no method 'act'"):
        check_acts([])


def test_observations_are_checked_and_brought_to_float32():
    assert as_observations(np.ones((2, 3)), 3, CPU).dtype == torch.float32
    assert as_observations(np.ones((4, 2, 3)), 3, CPU, (4,)).shape == (4, 2, 3)
    with pytest.raises(ValueError, match=r"shape \(2, 3\); expected \(4, B, 3\)"):
        as_observations(np.ones((2, 3)), 3, CPU, (4,))
