from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

from recsim_drpo.agents.algorithms.filtering import FilterConfig, adapt_kappa, top_kappa
from recsim_drpo.core.transitions import Batch
from tests.agents.algorithms.conftest import (
    TINY,
    linear_parameters,
    loss_of,
)

FILTERED = ["adaptive-bc", "drpo", "drpo-exp"]


@pytest.mark.parametrize(
    ("name", "rewards", "idle"),
    [
        # K = 2 of 4: the rewards that are admitted tie at ν, or one is above it.
        ("drpo", [1.0, 0.0, 1.0, 1.0], 1.0),
        ("drpo", [1.0, 0.0, 1.0, 0.0], 1.0),
        ("drpo", [1.0, 0.0, 0.0, 0.0], 0.0),
        ("drpo", [0.3, 0.3, 0.3, 0.3], 1.0),
        ("drpo", [0.2, 0.8, 0.4, 0.6], 0.0),
        # Others give the admitted the same weight and learn all the same.
        ("adaptive-bc", [1.0, 0.0, 1.0, 1.0], 0.0),
        ("drpo-exp", [1.0, 0.0, 1.0, 1.0], 0.0),
        ("drpo-boltzmann", [1.0, 0.0, 1.0, 1.0], 0.0),
    ],
)
def test_an_update_with_nothing_to_learn_is_told(name, rewards, idle):
    batch = TINY._replace(rewards=torch.tensor(rewards))
    output = loss_of(name, batch)
    assert float(output.metrics["idle_share"]) == idle
    if idle:
        assert float(output.loss) == 0.0


def test_filter_shares_the_rest_among_ties():
    filtered = top_kappa(torch.tensor([0.5, 1.0, 0.5, 0.0, 0.5]), torch.tensor(0.4).double())
    # K = 2: one above, one left for three ties.
    np.testing.assert_allclose(filtered.weights, [1 / 3, 1, 1 / 3, 0, 1 / 3], atol=1e-7)
    assert float(filtered.threshold) == 0.5


@pytest.mark.parametrize(
    ("kappa", "size", "count"),
    [(0.05, 320, 16), (0.29, 100, 28), (0.5, 2, 1), (1.0, 7, 7), (0.01, 5, 1)],
)
def test_filter_admits_the_floor_of_kappa_n_and_at_least_one(kappa, size, count):
    # ⌊0.29 · 100⌋ is 28 in the arithmetic of Algorithm 1's int(N × P), as it is in Python.
    rewards = torch.arange(size, dtype=torch.float32)
    filtered = top_kappa(rewards, torch.tensor(kappa, dtype=torch.float64))
    assert float(filtered.weights.sum()) == count
    assert float(filtered.threshold) == size - count


@given(st.floats(0.01, 0.99), st.integers(2, 40), st.floats(0.05, 1.0))
@settings(max_examples=100, deadline=None)
def test_rounding_is_no_advantage_where_rewards_tie(reward, size, kappa):
    """In float32 the mean of equal rewards may differ from them by more than the σ of 1e-8."""
    batch = Batch(
        torch.zeros(size, 2),
        torch.ones(size, 2),
        torch.full((size,), reward),
        torch.zeros(size, 2),
        torch.ones(size, dtype=torch.bool),
    )
    for baseline in ("threshold", "mean"):
        output = loss_of("drpo", batch, baseline=baseline, initial_kappa=kappa)
        assert float(output.metrics["idle_share"]) == 1.0
        assert float(output.loss) == 0.0


rewards_lists = st.lists(st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.77, 1.0]), min_size=2, max_size=40)


@given(rewards_lists, st.floats(0.05, 1.0), st.randoms(use_true_random=False))
@settings(max_examples=150, deadline=None)
def test_filter_solves_the_linear_programme_whatever_the_order(rewards, kappa, random):
    """Eq. 9: maximise Σ w R over 0 ≤ w ≤ 1, Σ w = K. Greedy from the top is its optimum."""
    values = torch.tensor(rewards, dtype=torch.float64)
    filtered = top_kappa(values, torch.tensor(kappa, dtype=torch.float64))
    count = max(1, int(len(rewards) * kappa))
    weights = filtered.weights
    assert float(weights.sum()) == pytest.approx(count)
    assert bool(((weights >= 0) & (weights <= 1)).all())
    best = sum(sorted(rewards, reverse=True)[:count])
    assert float((weights * values).sum()) == pytest.approx(best)
    mean = float((weights * values).sum()) / count
    deviation = math.sqrt(float((weights * (values - mean) ** 2).sum()) / count) + 1e-8
    assert float(filtered.subset_std) == pytest.approx(deviation, abs=1e-9)
    order = list(range(len(rewards)))
    random.shuffle(order)
    shuffled = top_kappa(values[order], torch.tensor(kappa, dtype=torch.float64))
    torch.testing.assert_close(shuffled.weights, weights[order])


def test_controller_relaxes_tightens_and_keeps_its_bounds():
    spread = top_kappa(torch.tensor([0.0, 1.0]), torch.tensor(1.0).double())
    narrow = top_kappa(torch.tensor([0.0, 1.0]), torch.tensor(0.5).double())

    def next_kappa(kappa, filtered):
        return float(
            adapt_kappa(torch.tensor(kappa, dtype=torch.float64), filtered, FilterConfig())
        )

    assert next_kappa(0.5, narrow) == pytest.approx(0.51)
    assert next_kappa(0.99, narrow) == 1.0
    assert next_kappa(0.5, spread) == pytest.approx(0.49)
    assert next_kappa(0.0505, spread) == 0.05


@pytest.mark.parametrize("name", FILTERED)
def test_gradient_is_exactly_zero_on_rejected_samples(name):
    actions = TINY.actions.clone().requires_grad_()
    loss_of(name, TINY._replace(actions=actions)).loss.backward()
    zero = (actions.grad == 0).all(dim=1)
    # 0.2 and 0.4 are rejected. 0.6 is ν itself: of advantage 0 for DRPO alone.
    assert zero.tolist() == [True, False, True, name == "drpo"]


@pytest.mark.parametrize("name", FILTERED)
def test_rejected_samples_leave_no_trace_however_extreme(name):
    far = TINY._replace(actions=TINY.actions.clone())
    far.actions[[0, 2]] = 1e6
    parameters = {k: v.requires_grad_() for k, v in linear_parameters().items()}
    gradients = [
        torch.autograd.grad(loss_of(name, b, parameters).loss, list(parameters.values()))
        for b in (TINY, far)
    ]
    for one, two in zip(*gradients, strict=True):
        assert torch.equal(one, two)


def test_a_fixed_kappa_stays():
    for name in FILTERED:
        output = loss_of(name, initial_kappa=0.25, adaptive=False)
        assert float(output.state["kappa"]) == 0.25
        assert float(output.metrics["admitted_share"]) == 0.25
