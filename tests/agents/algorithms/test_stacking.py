from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from scipy.optimize import nnls

from recsim_drpo.agents.algorithms.stacking import (
    HELD_OUT_SHARE,
    MEMORY,
    follow,
    held_out,
    improved,
    moments_of,
    shares,
    unit,
)


def rows_of(size, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(size, 3, generator=generator), torch.randn(size, 4, generator=generator)


def regression(seed, size=200):
    """Features (B, 3), rewards (B,) that want one of them negative, and all their moments."""
    generator = np.random.default_rng(seed)
    features = generator.normal(size=(size, 3)) + generator.normal(size=(size, 1))
    rewards = features @ generator.normal(size=3) + 0.3 * generator.normal(size=size) + 2.0
    tensors = torch.as_tensor(features), torch.as_tensor(rewards)
    return features, rewards, moments_of(*tensors, torch.ones(size))


def test_a_fifth_of_the_rounds_is_held_out():
    for seed in range(3):
        share = float(held_out(*rows_of(20_000, seed)).double().mean())
        assert share == pytest.approx(1 / HELD_OUT_SHARE, abs=0.012)  # 4 standard errors


def test_contexts_that_are_all_alike_are_held_out_by_their_actions():
    _, actions = rows_of(4_000)
    share = float(held_out(torch.zeros(4_000, 2), actions).double().mean())
    assert share == pytest.approx(1 / HELD_OUT_SHARE, abs=0.03)


def test_a_round_is_on_one_side_in_whatever_batch_it_is_drawn():
    observations, actions = rows_of(500)
    whole = held_out(observations, actions)
    order = torch.randperm(500, generator=torch.Generator().manual_seed(1))
    assert torch.equal(held_out(observations[order], actions[order]), whole[order])
    assert torch.equal(held_out(observations.double(), actions.double()), whole)
    stacked = observations.reshape(5, 100, 3), actions.reshape(5, 100, 4)
    assert torch.equal(torch.func.vmap(held_out)(*stacked), whole.reshape(5, 100))
    assert 0 < int(whole.sum()) < 500


def test_units_by_hand():
    vectors = torch.tensor([[3.0, 4.0], [0.0, 0.0]])
    assert torch.allclose(unit(vectors), torch.tensor([[0.6, 0.8], [0.0, 0.0]]))


def test_moments_by_hand():
    features, rewards = (
        torch.tensor([[1.0, 2.0], [3.0, 0.0], [9.0, 9.0]]),
        torch.tensor([4, 2, 9.0]),
    )
    expected = torch.tensor(
        [[5.0, 1, 5, 2], [1, 2, 4, 1], [5, 4, 10, 3], [2, 1, 3, 1]], dtype=torch.float64
    )  # (1 + 9)/2, (2 + 0)/2, (4 + 6)/2, (1 + 3)/2; ...
    assert torch.equal(moments_of(features, rewards, torch.tensor([1.0, 1.0, 0.0])), expected)
    assert not moments_of(features, rewards, torch.zeros(3)).any()


def test_moments_follow_batches_and_wait_where_none_is_held_out():
    before, current = torch.full((3, 3), 2.0), torch.full((3, 3), 4.0)
    assert torch.allclose(follow(before, current), torch.full((3, 3), 2.0 + 2.0 * MEMORY))
    assert torch.equal(follow(before, torch.zeros(3, 3)), before)


@pytest.mark.parametrize("seed", range(6))
def test_weights_are_the_non_negative_least_squares(seed):
    features, rewards, moments = regression(seed)
    weights = torch.zeros(3, dtype=torch.float64)
    for _ in range(3_000):
        weights = improved(weights, moments)
    expected, _ = nnls(features - features.mean(axis=0), rewards - rewards.mean())
    assert weights.numpy() == pytest.approx(expected, abs=1e-8)


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 10_000), st.lists(st.floats(0.0, 5.0), min_size=3, max_size=3))
def test_no_step_of_the_weights_makes_the_least_squares_worse(seed, start):
    features, rewards, moments = regression(seed)
    before = torch.tensor(start, dtype=torch.float64)
    errors = [
        np.var(rewards - features @ weights.numpy())
        for weights in (before, improved(before, moments))
    ]
    assert errors[1] <= errors[0] * (1.0 + 1e-9)


def test_weights_know_nothing_of_the_level_of_rewards():
    features, rewards, moments = regression(0)
    lifted = moments_of(torch.as_tensor(features), torch.as_tensor(rewards + 7.0), torch.ones(200))
    start = torch.ones(3, dtype=torch.float64)
    assert torch.allclose(improved(start, moments), improved(start, lifted), atol=1e-9)


def test_shares_sum_to_1_and_are_alike_where_nothing_is_known():
    assert torch.allclose(
        shares(torch.tensor([1.0, 3.0, 0.0])), torch.tensor([0.25, 0.75, 0.0]), atol=1e-6
    )
    assert torch.allclose(shares(torch.zeros(4)), torch.full((4,), 0.25))
    nothing = improved(torch.zeros(2, dtype=torch.float64), torch.zeros(4, 4, dtype=torch.float64))
    assert torch.allclose(shares(nothing), torch.full((2,), 0.5, dtype=torch.float64))


def test_one_round_alone_tells_nothing_but_rounding():
    features = torch.tensor([[0.3, 0.1, -0.7]])
    moments = moments_of(features, torch.tensor([0.9]), torch.ones(1))
    weights = torch.zeros(3, dtype=torch.float64)
    for _ in range(10):
        weights = improved(weights, moments)
    assert torch.allclose(shares(weights), torch.full((3,), 1 / 3, dtype=torch.float64), atol=1e-6)


@pytest.mark.slow
@pytest.mark.skipif(
    not any(map(shutil.which, ("g++", "clang++", "c++"))), reason="torch.compile needs a compiler"
)
def test_compiled_the_same_rounds_are_held_out():
    observations, actions = rows_of(600)
    drawn = torch.randint(600, (2, 300), generator=torch.Generator().manual_seed(0))
    compiled = torch.compile(torch.func.vmap(held_out), fullgraph=True, dynamic=False)
    expected = held_out(observations, actions)[drawn]
    assert torch.equal(compiled(observations[drawn], actions[drawn]), expected)


@settings(deadline=None)
@given(st.floats(-1e12, 1e12), st.floats(-1e12, 1e12))
def test_numbers_of_any_size_are_hashed_without_overflow(observation, action):
    """By Python's integers, which have none."""
    pair = torch.tensor([[observation]]), torch.tensor([[action]])
    prime, total = 2**31 - 1, 0
    for place, number in enumerate(pair, start=1):
        cell = round(float(number.double()) * 2**20) % prime
        total += cell * ((place * 1_103_515_245 + 12_345) % prime) % prime
    assert bool(held_out(*pair)) == (total % HELD_OUT_SHARE == 0)
