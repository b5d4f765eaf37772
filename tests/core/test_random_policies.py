"""Policies that draw: streams that number rounds, and how evaluations begin them."""

from __future__ import annotations

import torch

from recsim_drpo.core.random_policies import PolicyStream, RandomPolicy, restarted


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
