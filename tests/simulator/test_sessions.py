"""Sessions: steps by hand, ranges, and what random numbers depend on."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

from recsim_drpo.simulator.config import SessionConfig
from recsim_drpo.simulator.sessions import Sessions, round_numbers


def test_two_steps_by_hand(tiny_sessions, luck_of):
    sessions = tiny_sessions()
    first = torch.tensor([[0.3, 0.0, 0.0]])
    # Nothing shown yet: both topics alike, u* between them; item 0 is at 45°.
    step = sessions.step(first, torch.tensor([0]), luck_of(leaving=0.99, noise=0.5))
    relevance = math.exp(-(1 - math.sqrt(0.5)) / 0.5)
    assert step.latent.item() == pytest.approx(relevance, abs=1e-6)
    assert step.observed.item() == pytest.approx(min(1.0, relevance + 0.2 * 0.5), abs=1e-6)
    assert step.topics.tolist() == [0]
    np.testing.assert_allclose(step.observations, [[0.3, 0.25, 0.0]], atol=1e-7)
    # Exposure 0.25 to topic 0 adds 4 · 0.25 = 1 to its logit, and takes 0.5 · 0.25 of its reward.
    share = math.e / (math.e + 1)
    cosine = share / math.hypot(share, 1 - share)
    reward = math.exp(-(1 - cosine) / 0.5) * (1 - 0.5 * 0.25)
    leaving = 0.1 + 0.4 * 0.25 + 0.2 * (1 - reward)
    for luck, left in ((leaving - 1e-4, True), (leaving + 1e-4, False)):
        again = sessions.step(step.observations, torch.tensor([0]), luck_of(luck))
        assert again.latent.item() == pytest.approx(reward, abs=1e-6)
        assert again.left.tolist() == [left]
        np.testing.assert_allclose(again.observations, [[0.3, 0.4375, 0.0]], atol=1e-7)
    # The other topic is not satiated: its best item now is the one between.
    rewards, items = sessions.best_of_topics(step.observations)
    between = math.exp(
        -(1 - (share + 1 - share) * math.sqrt(0.5) / math.hypot(share, 1 - share)) * 2
    )
    np.testing.assert_allclose(rewards, [[reward, between]], atol=1e-6)
    assert items.tolist() == [[0, 2]]
    assert sessions.best_items(step.observations).tolist() == [0 if reward > between else 2]


def test_nothing_shown_earns_nothing_and_lets_exposure_decay(tiny_sessions, luck_of):
    sessions = tiny_sessions()
    state = torch.tensor([[0.3, 0.4, 1.0]])
    step = sessions.step(state, torch.tensor([-1]), luck_of(leaving=0.3 - 1e-4, noise=9.0))
    assert (step.latent.item(), step.observed.item(), step.topics.item()) == (0.0, 0.0, -1)
    assert step.left.item()  # 0.1 + 0.4 · 0 + 0.2 · (1 - 0)
    assert not sessions.step(state, torch.tensor([-1]), luck_of(0.3 + 1e-4)).left.item()
    np.testing.assert_allclose(step.observations, [[0.3, 0.3, 0.75]], atol=1e-7)


def test_probabilities_of_leaving_are_clipped(tiny_sessions, luck_of):
    certain = tiny_sessions(leave_base=1.0, leave_boredom=1.0)
    state = torch.tensor([[0.0, 1.0, 1.0]])
    assert certain.leaving(torch.tensor([0.0]), torch.tensor([1.0])).item() == 1.0
    assert certain.step(state, torch.tensor([0]), luck_of(1 - 2**-33)).left.item()
    never = tiny_sessions(leave_base=0.0, leave_boredom=0.0, leave_disappointment=0.0)
    assert not never.step(state, torch.tensor([0]), luck_of(2**-33)).left.item()


def test_without_exposure_pull_and_satiation_rewards_are_the_bandits(sessions, some_states):
    plain = Sessions(sessions.world, SessionConfig(exposure_pull=0.0, satiation=0.0))
    states = some_states(plain, 50)
    items = torch.arange(50)
    interests = plain.world.interests(plain.world.tastes(states[:, :10]))
    expected = plain.world.reward_of_items(items, interests)
    torch.testing.assert_close(plain.latent_reward(items, states), expected, atol=0, rtol=0)


@settings(max_examples=30, deadline=None)
@given(
    rate=st.floats(0, 1, width=32),
    pull=st.floats(0, 100),
    satiation=st.floats(0, 1),
    seed=st.integers(0, 2**31),
)
def test_everything_stays_in_its_range(sessions, rate, pull, satiation, seed, some_states):
    config = SessionConfig(exposure_rate=rate, exposure_pull=pull, satiation=satiation)
    mine = Sessions(sessions.world, config)
    states = some_states(mine, 16, seed)
    states[:4, 10:] = 1.0
    states[4:8, 10:] = 0.0
    numbers = torch.arange(16)
    for step in range(6):
        items = torch.randint(-1, 300, (16,), generator=torch.Generator().manual_seed(seed + step))
        found = mine.step(states, items, mine.luck("train", seed, numbers, step))
        states = found.observations
        for values in (found.latent, found.observed, states[:, 10:]):
            assert bool(((values >= 0) & (values <= 1)).all())


def test_sessions_do_not_depend_on_the_batch(sessions, some_states):
    numbers = torch.arange(40)
    states = some_states(sessions, 40)
    items = torch.randint(-1, 300, (40,), generator=torch.Generator().manual_seed(0))
    steps = torch.arange(40) % 7
    luck = sessions.luck("test", 9, numbers, steps)
    together = sessions.step(states, items, luck)
    for i in range(40):
        one = slice(i, i + 1)
        alone_luck = sessions.luck("test", 9, numbers[one], int(steps[i]))
        assert torch.equal(alone_luck.noise, luck.noise[one])
        assert torch.equal(alone_luck.leaving, luck.leaving[one])
        alone = sessions.step(states[one], items[one], alone_luck)
        for mine, theirs in zip(alone, together, strict=True):
            torch.testing.assert_close(mine, theirs[one], atol=1e-6, rtol=0)


def test_splits_seeds_sessions_and_steps_have_luck_of_their_own(sessions):
    numbers = torch.arange(50)
    seen = [
        sessions.luck(split, seed, numbers, step).leaving
        for split in ("train", "validation", "test")
        for seed in (0, 1)
        for step in (0, 1, 49)
    ]
    assert len(torch.cat(seen).unique()) == 50 * len(seen)
    assert round_numbers(torch.tensor([3]), 2).item() == 3 * 65_536 + 2
    leaving = sessions.luck("train", 0, torch.arange(20_000), 0).leaving
    assert leaving.mean().item() == pytest.approx(0.5, abs=0.01)
    firsts = [sessions.begin(split, 0, numbers) for split in ("train", "validation", "test")]
    assert len(torch.cat(firsts).unique(dim=0)) == 150


def test_myopic_is_the_argmax_over_all_items(sessions, some_states):
    states = some_states(sessions, 30)
    every = torch.arange(300)
    rewards = torch.stack(
        [sessions.latent_reward(every, state.expand(300, -1)) for state in states]
    )
    best = rewards.max(dim=1)
    torch.testing.assert_close(
        sessions.latent_reward(sessions.best_items(states), states), best.values, atol=1e-6, rtol=0
    )
    topical, items = sessions.best_of_topics(states)
    for column, topic in enumerate(sessions.topics):
        mine = rewards[:, sessions.world.topics == topic].amax(dim=1)
        torch.testing.assert_close(topical[:, column], mine, atol=1e-6, rtol=0)
        assert bool((sessions.world.topics[items[:, column]] == topic).all())
