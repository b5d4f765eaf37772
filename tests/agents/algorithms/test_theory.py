from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from scipy.optimize import linprog, minimize

from recsim_drpo.agents.algorithms.filtering import top_kappa
from recsim_drpo.agents.algorithms.theory import (
    capped_boltzmann,
    capped_boltzmann_on_support,
    dual_threshold,
    dual_threshold_by_minimising,
    dual_value,
    optimistic_weights,
)

reward_lists = st.lists(st.sampled_from([0.0, 0.2, 0.25, 0.5, 0.9, 1.0]), min_size=1, max_size=12)
kappas = st.floats(0.05, 1.0)


def random_problem(seed, size=8, atoms=True):
    generator = np.random.default_rng(seed)
    rewards = generator.choice([0.0, 0.3, 0.5, 1.0], size) if atoms else generator.random(size)
    probabilities = generator.dirichlet(np.full(size, 2.0))
    return torch.tensor(rewards), torch.tensor(probabilities)


def linear_programme(rewards, probabilities, kappa):
    """Eq. 9 by scipy: maximise Σ q R over Σ q = 1, 0 ≤ q ≤ p / κ."""
    solution = linprog(
        -rewards, A_eq=np.ones((1, len(rewards))), b_eq=[1.0],
        bounds=[(0.0, p / kappa) for p in probabilities],
    )  # fmt: skip
    assert solution.success
    return -solution.fun


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("atoms", [True, False])
def test_optimistic_weights_solve_the_linear_programme_and_its_dual(seed, atoms):
    rewards, probabilities = random_problem(seed, atoms=atoms)
    for kappa in (0.05, 0.3, 0.5, 1.0):
        weights = optimistic_weights(rewards, kappa, probabilities)
        assert float((probabilities * weights).sum()) == pytest.approx(1.0)
        assert float(weights.min()) >= 0.0
        assert float(weights.max()) <= 1 / kappa + 1e-9
        value = float((probabilities * weights * rewards).sum())
        best = linear_programme(rewards.numpy(), probabilities.numpy(), kappa)
        assert value == pytest.approx(best, abs=1e-9)
        nu = dual_threshold(rewards, kappa, probabilities)
        assert float(dual_value(nu, rewards, kappa, probabilities)) == pytest.approx(best)


@given(reward_lists, kappas)
@settings(max_examples=200, deadline=None)
def test_sorting_and_minimising_find_the_same_value(rewards, kappa):
    values = torch.tensor(rewards, dtype=torch.float64)
    by_sorting = dual_value(dual_threshold(values, kappa), values, kappa)
    by_minimising = dual_value(dual_threshold_by_minimising(values, kappa), values, kappa)
    assert float(by_sorting) == pytest.approx(float(by_minimising), abs=1e-12)
    levels = torch.linspace(-0.5, 1.5, 201, dtype=torch.float64)
    assert float(dual_value(levels, values, kappa).min()) >= float(by_sorting) - 1e-12


def test_an_integer_number_of_samples_makes_the_minimiser_an_interval():
    """Eq. 12 says ν* = the threshold: any ν between two rewards may do as well."""
    rewards = torch.tensor([0.0, 0.4, 0.6, 1.0])
    between = dual_value(torch.tensor([0.4, 0.5, 0.6]), rewards, 0.5)
    np.testing.assert_allclose(between, 0.8)
    assert float(dual_value(0.39, rewards, 0.5)) > 0.8
    assert float(dual_value(0.61, rewards, 0.5)) > 0.8


@given(reward_lists, kappas)
@settings(max_examples=100, deadline=None)
def test_the_agents_filter_is_the_exact_solution(rewards, kappa):
    """For K = max(1, ⌊κN⌋) admitted samples, at κ = K / N."""
    values = torch.tensor(rewards, dtype=torch.float64)
    filtered = top_kappa(values, torch.tensor(kappa, dtype=torch.float64))
    share = float(filtered.weights.sum()) / len(rewards)
    expected = optimistic_weights(values, share) * share
    torch.testing.assert_close(filtered.weights, expected, atol=1e-9, rtol=0)


def entropic_objective(q, rewards, probabilities, tau, reference):
    return float(q @ rewards - tau * (q * np.log(np.maximum(q, 1e-300) / reference)).sum())


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("support", [False, True])
def test_capped_boltzmann_solutions_against_a_numerical_solver(seed, support):
    rewards, probabilities = random_problem(seed, size=6)
    r, p = rewards.numpy(), probabilities.numpy()
    solve = capped_boltzmann_on_support if support else capped_boltzmann
    reference = np.full(6, 1 / 6) if support else p
    for kappa, tau in ((0.4, 0.1), (0.4, 1.0), (0.7, 0.02), (0.9, 5.0)):
        q = (probabilities * solve(rewards, kappa, tau, probabilities)).numpy()
        assert q.sum() == pytest.approx(1.0, abs=1e-9)
        assert (q <= p / kappa + 1e-9).all()
        assert (q > 0).all()  # it does not cut the bottom, against Eq. 45
        solution = minimize(
            lambda x, t=tau: -entropic_objective(x, r, p, t, reference),
            p,
            bounds=[(1e-12, b / kappa) for b in p],
            constraints={"type": "eq", "fun": lambda x: x.sum() - 1.0},
            options={"ftol": 1e-12, "maxiter": 500},
        )
        assert entropic_objective(q, r, p, tau, reference) >= -solution.fun - 1e-7


def test_capped_boltzmann_limits():
    rewards = torch.tensor([0.1, 0.5, 0.5, 0.9])
    # τ → ∞ is the data itself, τ → 0 the optimistic solution, κ small the free Boltzmann weights.
    torch.testing.assert_close(capped_boltzmann(rewards, 0.5, 1e9), torch.ones(4).double())
    cold = capped_boltzmann(rewards, 0.5, 1e-3)
    torch.testing.assert_close(cold, optimistic_weights(rewards, 0.5), atol=1e-6, rtol=0)
    free = capped_boltzmann(rewards, 1e-6, 0.3)
    expected = torch.exp(rewards.double() / 0.3)
    torch.testing.assert_close(free, expected / expected.mean())
    # At κ = 1 nothing but the data is allowed.
    torch.testing.assert_close(capped_boltzmann(rewards, 1.0, 0.1), torch.ones(4).double())


@given(
    st.lists(st.floats(0.0, 1.0), min_size=1, max_size=12),
    st.sampled_from([1e-9, 1e-6, 1e-3, 0.05, 1.0, 1e3]),
    st.integers(1, 12),
)
@settings(max_examples=300, deadline=None)
def test_capped_boltzmann_keeps_its_mass_at_any_temperature(rewards, tau, count):
    """κN an integer and τ small are where all the mass can be at the cap."""
    kappa = min(1.0, count / len(rewards))
    weights = capped_boltzmann(torch.tensor(rewards), kappa, tau)
    tolerance = 1e-9 + 1e-15 / tau  # exponents of size 1 / τ are known to their rounding
    assert float(weights.mean()) == pytest.approx(1.0, abs=tolerance)
    assert float(weights.min()) >= 0.0
    assert float(weights.max()) <= 1.0 / kappa + 1e-9
    order = torch.tensor(rewards).argsort()
    assert bool((weights[order].diff() >= -1e-9).all())


def test_eq_45_is_not_the_solution_of_eq_43():
    """F.3 as stated does not hold: its weights break the cap, and cutting costs value."""
    rewards, kappa, tau = torch.tensor([0.0, 0.4, 0.6, 1.0]).double(), 0.5, 0.2
    r, p = rewards.numpy(), np.full(4, 0.25)
    eq_45 = np.where(r >= float(dual_threshold(rewards, kappa)), np.exp(r / tau), 0.0)
    eq_45 /= eq_45.sum()
    assert eq_45.max() > 0.25 / kappa  # dQ / dP ≤ 1 / κ is broken
    cut = np.array([0.0, 0.0, 0.5, 0.5])  # all that the cap leaves on the samples not cut
    exact = 0.25 * capped_boltzmann(rewards, kappa, tau).numpy()
    values = [entropic_objective(q, r, p, tau, p) for q in (exact, cut)]
    assert values[0] > values[1] + 0.02


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: optimistic_weights(torch.ones(3), 0.0), "kappa=0.0"),
        (lambda: optimistic_weights(torch.ones(3), 1.1), "kappa=1.1"),
        (lambda: capped_boltzmann(torch.ones(3), 0.5, 0.0), "tau=0.0"),
        (lambda: dual_threshold(torch.ones(0), 0.5), "rewards must be finite"),
        (lambda: dual_threshold(torch.tensor([float("nan")]), 0.5), "rewards must be finite"),
        (lambda: dual_threshold(torch.ones(2), 0.5, torch.tensor([0.5, 0.6])), "sum to 1"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
