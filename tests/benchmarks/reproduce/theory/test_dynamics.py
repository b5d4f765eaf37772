from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp
from scipy.optimize import brentq
from scipy.special import exp1

from recsim_drpo.benchmarks.reproduce.theory import dynamics


def flow(distance, sigma, duration):
    """A negative sample's gradient flow, by a general solver."""

    def field(_, state):
        d, xi = state
        return [d * np.exp(-2 * xi), 1.0 - d**2 * np.exp(-2 * xi)]

    def huge(_, state):
        return 12.0 + state[1]  # σ = 6e-6

    huge.terminal = True
    return solve_ivp(field, (0, duration), [distance, np.log(sigma)], events=huge, rtol=1e-10)


@pytest.mark.parametrize("sigma", [0.5, 1.0, 2.0])
def test_a_near_negative_sample_lets_mu_rest_and_a_far_one_explodes(sigma):
    boundary = brentq(lambda d: float(dynamics.repulsion_margin(d, sigma)), 1e-6, 5.0)
    assert dynamics.repulsion_margin(1.02 * boundary, sigma) > 0
    assert flow(1.02 * boundary, sigma, 60.0).status == 1
    assert dynamics.repulsion_margin(0.9 * boundary, sigma) < 0
    near = flow(0.9 * boundary, sigma, 30.0)
    assert near.status == 0
    assert near.y[1, -1] > np.log(sigma) + 3.0
    # Where it rests: v = e^u (E₁(u) + C) = 0.
    start = (0.9 * boundary) ** 2
    shift = np.exp(-start) / sigma**2 - exp1(start)
    rest = brentq(lambda u: exp1(u) + shift, start, 50.0)
    assert near.y[0, -1] == pytest.approx(rest**0.5, rel=1e-4)
    gradient = np.hypot(
        near.y[0, -1] * np.exp(-2 * near.y[1, -1]),
        (near.y[0, -1] * np.exp(-near.y[1, -1])) ** 2 - 1,
    )
    assert gradient == pytest.approx(1.0, abs=1e-3)


def torch_ascent(actions, advantage, steps, rate, adam, learn_sigma):
    theta = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    optimiser = (torch.optim.Adam if adam else torch.optim.SGD)([theta], lr=rate)
    samples = torch.as_tensor(actions)
    for _ in range(steps):
        optimiser.zero_grad()
        xi = theta[1] if learn_sigma else theta[1].detach()
        z = (samples - theta[0]) * torch.exp(-xi)
        (advantage * (0.5 * z**2 + xi)).mean().backward()
        optimiser.step()
    return theta.detach().numpy()


@pytest.mark.parametrize("adam", [False, True])
@pytest.mark.parametrize(("actions", "advantage"), [([2.0], -1.0), ([-0.3, 0.8, 1.2], 0.7)])
@pytest.mark.parametrize("learn_sigma", [False, True])
def test_ascent_is_torchs(actions, advantage, adam, learn_sigma):
    steps, rate = (50, 0.01) if adam else (8, 0.02)
    path = dynamics.ascend(
        np.array(actions)[:, None], advantage, steps, rate, adam=adam, learn_sigma=learn_sigma
    )
    expected = torch_ascent(actions, advantage, steps, rate, adam, learn_sigma)
    np.testing.assert_allclose([path.mean[-1, 0], path.log_sigma[-1, 0]], expected, rtol=1e-6)
