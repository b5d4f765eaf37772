"""Policies: streams that number rounds, and the checks of what policies take and return."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from recsim_drpo.core.policy import (
    PolicyStream,
    RandomPolicy,
    as_observations,
    check_acts,
    checked_actions,
    restarted,
)


class Rounds(RandomPolicy):
    """Shows the numbers of the rounds."""

    def act(self, observations, rounds=None):
        rounds = torch.arange(len(observations)) if rounds is None else rounds
        return rounds.to(torch.float32).unsqueeze(1)


class Fixed:
    def act(self, observations):
        return observations


def test_a_stream_numbers_rounds_on_from_call_to_call():
    stream = PolicyStream(Rounds())
    parts = [stream.act(torch.zeros(count, 3)) for count in (2, 0, 3)]
    assert [part.flatten().tolist() for part in parts] == [[0, 1], [], [2, 3, 4]]


def test_restarted_streams_begin_at_round_zero_and_leave_the_former_one_alone():
    stream = PolicyStream(Rounds())
    stream.act(torch.zeros(2, 3))
    for policy in (stream, stream.policy):
        again = restarted(policy)
        assert isinstance(again, PolicyStream)
        assert again.act(torch.zeros(2, 3)).flatten().tolist() == [0, 1]
    assert stream.act(torch.zeros(1, 3)).item() == 2


def test_policies_that_draw_nothing_are_not_restarted():
    policy = Fixed()
    assert restarted(policy) is policy


def test_policies_act():
    check_acts(Fixed())
    for policy in (object(), type("Named", (), {"act": 3})()):
        with pytest.raises(TypeError, match="has no method 'act', which a policy needs"):
            check_acts(policy)


def test_actions_are_checked_for_their_shape_and_detached():
    actions = torch.ones(4, 2, requires_grad=True)
    checked = checked_actions(actions, (4, 2))
    assert not checked.requires_grad
    assert torch.equal(checked, actions)
    assert checked_actions(np.ones((4, 2)), (4, 2)).dtype == torch.float64
    with pytest.raises(ValueError, match=r"shape \(4, 2\) for 5 rounds; .* takes \(5, 2\)"):
        checked_actions(actions, (5, 2), "rounds")
    with pytest.raises(ValueError, match=r"shape \(4, 2\) for 4 users; .* takes \(3, 4, 2\)"):
        checked_actions(actions, (3, 4, 2))


def test_observations_become_float32():
    cpu = torch.device("cpu")
    observations = as_observations([[1, 2, 3]], 3, cpu)
    assert observations.dtype == torch.float32
    assert observations.tolist() == [[1, 2, 3]]
    assert as_observations(np.zeros((0, 3)), 3, cpu).shape == (0, 3)
    assert as_observations(np.zeros((2, 5, 3)), 3, cpu, (2,)).shape == (2, 5, 3)
    with pytest.raises(ValueError, match=r"shape \(3,\); expected \(B, 3\)"):
        as_observations([1, 2, 3], 3, cpu)
    with pytest.raises(ValueError, match=r"shape \(2, 5, 4\); expected \(2, B, 3\)"):
        as_observations(np.zeros((2, 5, 4)), 3, cpu, (2,))
