from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

from recsim_drpo import agent_names, make_agent
from recsim_drpo.agents import Agent, Batch
from recsim_drpo.agents.algorithms.filtering import FilterConfig, adapt_kappa, top_kappa
from recsim_drpo.agents.engine.networks import LOG_STD_RANGE, policy_log_prob, policy_moments
from recsim_drpo.agents.engine.step import draw_noise
from recsim_drpo.agents.registry import ALGORITHMS
from recsim_drpo.core.config import build_config

NAMES = sorted(agent_names())


def make_batch(size=6, observation_dim=3, action_dim=2, seed=0, rewards=None):
    generator = torch.Generator().manual_seed(seed)
    return Batch(
        torch.randn(size, observation_dim, generator=generator),
        torch.randn(size, action_dim, generator=generator),
        torch.rand(size, generator=generator) if rewards is None else torch.as_tensor(rewards),
        torch.randn(size, observation_dim, generator=generator),
        torch.ones(size, dtype=torch.bool),
    )


def linear_parameters(**critics):
    """Networks that can be computed by hand.

    The policy's mean is μ(s) = (s_0, s_1) for s ≥ 0. A critic is given by weights of its (positive)
    inputs and a bias: ``value=([1.0, 0.0], 0.1)`` is V(s) = s_0 + 0.1.
    """
    parameters = {
        "policy.weight_0": torch.eye(2),
        "policy.bias_0": torch.zeros(2),
        "policy.weight_1": torch.eye(2),
        "policy.bias_1": torch.zeros(2),
        "log_std": torch.tensor([0.0, math.log(2.0)]),
    }
    for name, (weights, bias) in critics.items():
        parameters[f"{name}.weight_0"] = torch.eye(len(weights))
        parameters[f"{name}.bias_0"] = torch.zeros(len(weights))
        parameters[f"{name}.weight_1"] = torch.tensor([weights])
        parameters[f"{name}.bias_1"] = torch.tensor([bias])
    return parameters


def loss_of(name, batch=None, parameters=None, state=None, noise=None, **hyperparameters):
    """An algorithm's loss output on a batch, by default TINY and the networks above."""
    algorithm = ALGORITHMS[name]
    config = build_config(algorithm.config, hyperparameters, "hyper-parameter")
    parameters = linear_parameters() if parameters is None else parameters
    state = algorithm.init_state(parameters, config) if state is None else state
    batch = TINY if batch is None else batch
    return algorithm.loss(parameters, state, batch, noise or {}, config)


TINY = Batch(
    observations=torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 2.0], [1.0, 1.0]]),
    actions=torch.tensor([[1.0, 0.0], [1.0, 2.0], [0.0, 2.0], [0.0, 1.0]]),
    rewards=torch.tensor([0.2, 0.8, 0.4, 0.6]),
    next_observations=torch.zeros(4, 2),
    terminations=torch.ones(4, dtype=torch.bool),
)
# ½ z² summed over the two coordinates, σ = (1, 2): by hand.
TINY_HALF_SQUARES = np.array([0.5, 0.5, 0.0, 0.5])
TINY_LOG_PROB = -(TINY_HALF_SQUARES + math.log(2.0) + math.log(2.0 * math.pi))


def test_log_prob_by_hand_and_against_torch():
    parameters = linear_parameters()
    found = policy_log_prob(parameters, TINY.observations, TINY.actions)
    np.testing.assert_allclose(found, TINY_LOG_PROB, atol=1e-6)
    mean, log_std = policy_moments(parameters, TINY.observations)
    reference = torch.distributions.Normal(mean, log_std.exp())
    torch.testing.assert_close(found, reference.log_prob(TINY.actions).sum(-1))


def test_bc_loss_by_hand():
    output = loss_of("bc")
    assert float(output.loss) == pytest.approx(-TINY_LOG_PROB.mean(), abs=1e-6)


def test_drpo_loss_by_hand():
    output = loss_of("drpo")
    # κ = 0.5 of 4 admits 0.8 and 0.6: ν = 0.6, σ_subset = 0.1, advantages 0.2 and 0.
    expected = -(0.2 / 0.1 * TINY_LOG_PROB[1] + 0.0) / 2
    assert float(output.loss) == pytest.approx(expected, rel=1e-5)
    assert float(output.metrics["threshold"]) == pytest.approx(0.6)
    assert float(output.metrics["admitted_share"]) == pytest.approx(0.5)
    batch_std = np.std([0.2, 0.8, 0.4, 0.6])
    assert float(output.metrics["std_ratio"]) == pytest.approx(0.1 / batch_std, rel=1e-5)
    # 0.1 < 0.5 · 0.2236: the controller relaxes.
    assert float(output.state["kappa"]) == pytest.approx(0.51)


FILTERED = ["adaptive-bc", "drpo", "drpo-exp"]


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


def test_drpo_with_constant_rewards_learns_nothing_and_stays_finite():
    parameters = {k: v.requires_grad_() for k, v in linear_parameters().items()}
    output = loss_of("drpo", TINY._replace(rewards=torch.full((4,), 0.3)), parameters)
    gradients = torch.autograd.grad(output.loss, list(parameters.values()))
    assert float(output.loss.detach()) == 0.0
    assert all(bool((g == 0).all()) for g in gradients)
    assert float(output.metrics["admitted_share"]) == pytest.approx(0.5)
    assert float(output.state["kappa"]) == pytest.approx(0.49)


def test_drpo_with_a_signed_baseline_by_hand():
    # R − mean(0.8, 0.6) over σ_subset = 0.1: +1 and −1.
    expected = -(TINY_LOG_PROB[1] - TINY_LOG_PROB[3]) / 2
    assert float(loss_of("drpo", baseline="mean").loss) == pytest.approx(expected, abs=1e-5)


def test_drpo_exp_by_hand():
    weights = np.exp(np.array([0.1, -0.1]) / 0.05)
    expected = -(weights[0] * TINY_LOG_PROB[1] + weights[1] * TINY_LOG_PROB[3]) / 2
    assert float(loss_of("drpo-exp").loss) == pytest.approx(expected, rel=1e-5)


def test_drpo_boltzmann_by_hand():
    # κ = 0.5 caps weights at 2; e^{R / 0.2} is e^1, e^4, e^2, e^3 for R = 0.2, 0.8, 0.4, 0.6.
    # Uncapped, the largest would be 4 e^4 / Σ > 2, so it is 2, and 2 are left for e^1 + e^2 + e^3.
    rest = np.exp([1.0, 2.0, 3.0])
    low, middle, high = 2.0 * rest / rest.sum()
    assert high < 2.0
    weights = np.array([low, 2.0, middle, high])
    output = loss_of("drpo-boltzmann", beta=0.2)
    assert float(output.loss) == pytest.approx(-(weights * TINY_LOG_PROB).mean(), rel=1e-5)
    assert float(output.metrics["max_weight"]) == pytest.approx(2.0)
    # The controller is the filter's.
    assert float(output.state["kappa"]) == pytest.approx(0.51)


def test_drpo_boltzmann_at_its_limits():
    cold, hot = loss_of("drpo-boltzmann", beta=1e-4), loss_of("drpo-boltzmann", beta=1e6)
    assert float(cold.loss) == pytest.approx(float(loss_of("adaptive-bc").loss), rel=1e-5)
    assert float(hot.loss) == pytest.approx(float(loss_of("bc").loss), rel=1e-5)
    same = TINY._replace(rewards=torch.full((4,), 0.3))
    assert float(loss_of("drpo-boltzmann", same).loss) == pytest.approx(
        float(loss_of("bc").loss), rel=1e-5
    )


def test_adaptive_bc_by_hand():
    expected = -(TINY_LOG_PROB[1] + TINY_LOG_PROB[3]) / 2
    assert float(loss_of("adaptive-bc").loss) == pytest.approx(expected, rel=1e-6)
    ties = TINY._replace(rewards=torch.tensor([0.5, 1.0, 0.5, 0.0]))
    expected = -(TINY_LOG_PROB[1] + 0.5 * TINY_LOG_PROB[0] + 0.5 * TINY_LOG_PROB[2]) / 2
    assert float(loss_of("adaptive-bc", ties).loss) == pytest.approx(expected, rel=1e-6)


def test_a_fixed_kappa_stays():
    for name in FILTERED:
        output = loss_of(name, initial_kappa=0.25, adaptive=False)
        assert float(output.state["kappa"]) == 0.25
        assert float(output.metrics["admitted_share"]) == 0.25


REWARDS = TINY.rewards.numpy().astype(np.float64)
VALUE = ([0.5, 0.25], 0.1)  # V(s) = 0.5 s_0 + 0.25 s_1 + 0.1
VALUES = np.array([0.1, 0.6, 0.6, 0.85])


def test_apg_by_hand():
    expected = -((REWARDS - 0.5) * TINY_LOG_PROB).mean()
    output = loss_of("apg")
    assert float(output.loss) == pytest.approx(expected, abs=1e-6)
    assert float(output.metrics["negative_share"]) == 0.5
    error = REWARDS - VALUES
    expected = -(error * TINY_LOG_PROB).mean() + 0.5 * (error**2).mean()
    found = loss_of("apg", parameters=linear_parameters(value=VALUE), baseline="value")
    assert float(found.loss) == pytest.approx(expected, abs=1e-6)


def test_asymre_by_hand():
    advantages = REWARDS - 0.5
    weights = np.where(advantages < 0, 0.1, 1.0)
    expected = -(weights * advantages * TINY_LOG_PROB).mean()
    assert float(loss_of("asymre").loss) == pytest.approx(expected, abs=1e-6)
    expected = -((advantages + 0.1) * TINY_LOG_PROB).mean()
    assert float(loss_of("asymre-delta").loss) == pytest.approx(expected, abs=1e-6)


def test_asymre_at_its_limits_is_apg():
    apg = float(loss_of("apg").loss)
    assert float(loss_of("asymre", negative_weight=1.0).loss) == pytest.approx(apg, abs=1e-6)
    assert float(loss_of("asymre-delta", delta_v=0.0).loss) == pytest.approx(apg, abs=1e-6)


@pytest.mark.parametrize("standardize", [True, False])
def test_awr_by_hand(standardize):
    error = REWARDS - VALUES
    advantages = (error - error.mean()) / error.std() if standardize else error
    for beta in (1.0, 0.05):
        weights = np.minimum(np.exp(advantages / beta), 20.0)
        expected = -(weights * TINY_LOG_PROB).mean() + 0.5 * (error**2).mean()
        parameters = linear_parameters(value=VALUE)
        found = loss_of("awr", parameters=parameters, beta=beta, standardize=standardize)
        assert float(found.loss) == pytest.approx(expected, rel=1e-5)


def test_awr_and_drpo_exp_of_infinite_temperature_are_cloning():
    parameters = linear_parameters(value=VALUE)
    output = loss_of("awr", parameters=parameters, beta=1e9)
    cloning = float(output.loss - output.metrics["value_loss"])
    assert cloning == pytest.approx(float(loss_of("bc").loss), rel=1e-6)
    top = float(loss_of("adaptive-bc").loss)
    assert float(loss_of("drpo-exp", beta=1e9).loss) == pytest.approx(top, rel=1e-6)


def test_adaptive_bc_that_admits_all_is_cloning():
    found = loss_of("adaptive-bc", initial_kappa=1.0, adaptive=False).loss
    assert float(found) == pytest.approx(float(loss_of("bc").loss), rel=1e-6)


Q1 = ([0.1, 0.0, 0.2, 0.3], 0.0)  # Q(s, a) = 0.1 s_0 + 0.2 a_0 + 0.3 a_1
Q2 = ([0.0, 0.0, 0.5, 0.2], 0.05)
Q1_VALUES = np.array([0.2, 0.9, 0.6, 0.4])
Q2_VALUES = np.array([0.55, 0.95, 0.45, 0.25])


def iql_by_hand(tau):
    gap = np.minimum(Q1_VALUES, Q2_VALUES) - VALUES
    value_loss = (np.abs(tau - (gap < 0)) * gap**2).mean()
    q_loss = ((REWARDS - Q1_VALUES) ** 2).mean() + ((REWARDS - Q2_VALUES) ** 2).mean()
    return gap, value_loss + q_loss


@pytest.mark.parametrize("tau", [0.5, 0.7, 0.9])
def test_iql_by_hand(tau):
    gap, critic_loss = iql_by_hand(tau)
    weights = np.minimum(np.exp(gap / 0.2), 100.0)
    output = loss_of(
        "iql", parameters=linear_parameters(value=VALUE, q1=Q1, q2=Q2), tau=tau, beta=0.2
    )
    assert float(output.metrics["critic_loss"]) == pytest.approx(critic_loss, rel=1e-5)
    expected = -(weights * TINY_LOG_PROB).mean() + critic_loss
    assert float(output.loss) == pytest.approx(expected, rel=1e-5)


def test_iql_at_half_an_expectile_is_a_mean():
    """At τ = 0.5 V's gradient is that of half the squared error."""
    parameters = linear_parameters(value=VALUE, q1=Q1, q2=Q2)
    bias = parameters["value.bias_1"].requires_grad_()
    loss_of("iql", parameters=parameters, tau=0.5).loss.backward()
    gap = np.minimum(Q1_VALUES, Q2_VALUES) - VALUES
    assert float(bias.grad) == pytest.approx(-gap.mean(), rel=1e-5)


def test_drpo_q_by_hand():
    values = np.minimum(Q1_VALUES, Q2_VALUES)  # 0.2, 0.9, 0.45, 0.25: κ = 0.5 admits 0.9, 0.45
    expected = -(0.45 / 0.225 * TINY_LOG_PROB[1]) / 2 + iql_by_hand(0.7)[1]
    output = loss_of("drpo-q", parameters=linear_parameters(value=VALUE, q1=Q1, q2=Q2))
    assert float(output.loss) == pytest.approx(expected, rel=1e-5)
    assert float(output.metrics["threshold"]) == pytest.approx(np.sort(values)[-2])


def test_critics_bootstrap_only_where_the_episode_goes_on():
    batch = TINY._replace(
        next_observations=torch.tensor([[1.0, 0.0]] * 4),
        terminations=torch.tensor([True, False, True, False]),
    )
    goal = REWARDS + 0.9 * np.array([0, 1, 0, 1]) * 0.6  # V((1, 0)) = 0.6
    error = goal - VALUES
    expected = -(error * TINY_LOG_PROB).mean() + 0.5 * (error**2).mean()
    parameters = linear_parameters(value=VALUE)
    found = loss_of("apg", batch, parameters, baseline="value", discount=0.9)
    assert float(found.loss) == pytest.approx(expected, abs=1e-6)


CRR_NOISE = {"samples": torch.zeros(2, 4, 2), "next_actions": torch.zeros(4, 2)}
# Without noise the sampled actions are μ(s) = s, and Q1 there is 0.1 s_0 + 0.2 s_0 + 0.3 s_1.
CRR_BASELINE = np.array([0.0, 0.3, 0.6, 0.6])


@pytest.mark.parametrize("form", ["exp", "binary"])
def test_crr_by_hand(form):
    advantages = Q1_VALUES - CRR_BASELINE  # 0.2, 0.6, 0.0, -0.2
    exp = np.minimum(np.exp(advantages / 0.5), 2.0)
    weights = exp if form == "exp" else np.array([1.0, 1.0, 0.0, 0.0])
    q_loss = ((REWARDS - Q1_VALUES) ** 2).mean()
    expected = -(weights * TINY_LOG_PROB).mean() + q_loss
    settings = {"form": form, "beta": 0.5, "max_weight": 2.0, "num_samples": 2}
    # A shade above: 0.6 − 0.6 is not quite 0 in float32.
    parameters = linear_parameters(q=Q1)
    parameters["q.weight_1"][0, 3] -= 1e-5
    output = loss_of("crr", parameters=parameters, noise=CRR_NOISE, **settings)
    assert float(output.loss) == pytest.approx(expected, rel=2e-4)


def test_crr_binary_with_positive_advantages_is_cloning():
    # Q falls with the action's size where the policy acts far out: every logged action is better.
    noise = {"samples": torch.full((4, 4, 2), 50.0), "next_actions": torch.zeros(4, 2)}
    parameters = linear_parameters(q=([0.0, 0.0, -0.1, -0.1], 0.0))
    output = loss_of("crr", parameters=parameters, noise=noise, form="binary")
    assert float(output.metrics["mean_weight"]) == 1.0
    cloning = float(output.loss - output.metrics["q_loss"])
    assert cloning == pytest.approx(float(loss_of("bc").loss), rel=1e-6)


def test_crr_copies_its_target_on_schedule():
    agent = make_agent("crr", observation_dim=3, action_dim=2, target_every=4)
    for step in range(1, 10):
        agent.update(make_batch(8, seed=step))
        state = agent.state_dict()
        same = torch.equal(state["state.target.q.weight_0"], state["parameters.q.weight_0"])
        assert same == (step % 4 == 0)


def bppo_parts(old_shift, epsilon=0.2):
    """BPPO past its cloning, π_old shifted from π by ``old_shift`` in its first coordinate."""
    parameters = linear_parameters(q=Q1, value=VALUE)
    config = build_config(ALGORITHMS["bppo"].config, {"epsilon": epsilon}, "hyper-parameter")
    state = ALGORITHMS["bppo"].init_state(parameters, config)
    state["old.policy.bias_1"] = torch.tensor([old_shift, 0.0])
    state["step"] = torch.tensor(config.bc_steps)
    noise = {"old": torch.tensor([[0.5, 1.0], [-1.0, 0.0], [0.0, 0.0], [1.0, -1.0]])}
    return parameters, state, noise


def test_bppo_by_hand():
    """Its loss, and its gradient, which is zero wherever the clip is active."""
    parameters, state, noise = bppo_parts(0.3)
    sigma = np.array([1.0, 2.0])
    means = TINY.observations.numpy().astype(np.float64)
    actions = means + np.array([0.3, 0.0]) + sigma * noise["old"].numpy()
    # The two policies differ in the first coordinate of their means, by 0.3.
    new, old = actions[:, 0] - means[:, 0], actions[:, 0] - means[:, 0] - 0.3
    ratio = np.exp(0.5 * (old**2 - new**2))
    # The critic's first layer is the identity and a ReLU.
    hidden = np.maximum(np.concatenate([means, actions], axis=1), 0.0)
    raw = hidden @ np.array(Q1[0]) - VALUES
    advantages = (raw - raw.mean()) / raw.std()
    proximal = np.minimum(ratio * advantages, np.clip(ratio, 0.8, 1.2) * advantages)
    critics = ((REWARDS - Q1_VALUES) ** 2).mean() + ((REWARDS - VALUES) ** 2).mean()
    bias = parameters["policy.bias_1"].requires_grad_()
    output = loss_of("bppo", parameters=parameters, state=state, noise=noise)
    assert float(output.loss.detach()) == pytest.approx(-proximal.mean() + critics, rel=1e-5)
    active = ((ratio > 1.2) & (advantages > 0)) | ((ratio < 0.8) & (advantages < 0))
    assert 0 < active.sum() < 4
    score = (actions - means) / sigma**2
    expected = -(np.where(active, 0.0, ratio * advantages)[:, None] * score).mean(axis=0)
    output.loss.backward()
    np.testing.assert_allclose(bias.grad, expected, rtol=1e-4, atol=1e-6)


def test_bppo_phases():
    agent = make_agent("bppo", observation_dim=3, action_dim=2, bc_steps=3, replace_every=2)
    cloned = make_agent("bc", observation_dim=3, action_dim=2)
    epsilons = []
    for step in range(1, 9):
        batch = make_batch(8, seed=step)
        agent.update(batch)
        state = agent.state_dict()
        same = torch.equal(state["state.old.policy.weight_0"], state["parameters.policy.weight_0"])
        assert same == (step <= 3 or step in (5, 7)), step
        epsilons.append(round(float(state["state.epsilon"]), 6))
        if step <= 3:
            cloned.update(batch)
            for key in ("policy.weight_0", "policy.bias_2", "log_std"):
                torch.testing.assert_close(
                    state[f"parameters.{key}"], cloned.state_dict()[f"parameters.{key}"]
                )
    assert epsilons == [0.2] * 4 + [0.192] * 2 + [0.18432] * 2


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

    def following(kappa, filtered):
        return float(
            adapt_kappa(torch.tensor(kappa, dtype=torch.float64), filtered, FilterConfig())
        )

    assert following(0.5, narrow) == pytest.approx(0.51)
    assert following(0.99, narrow) == 1.0
    assert following(0.5, spread) == pytest.approx(0.49)
    assert following(0.0505, spread) == 0.05


WITHOUT_NOISE = [
    name for name in NAMES if not ALGORITHMS[name].noise(8, 2, ALGORITHMS[name].config())
]


@pytest.mark.parametrize("name", WITHOUT_NOISE)
def test_loss_does_not_depend_on_the_order_of_the_batch(name):
    rewards = torch.tensor([0.0, 0.0, 0.3, 0.3, 0.3, 1.0, 1.0, 0.2])
    batch = make_batch(8, rewards=rewards)
    order = torch.tensor([3, 0, 7, 5, 1, 6, 2, 4])
    shuffled = Batch(*(field[order] for field in batch[:5]))
    states = []
    for data in (batch, shuffled):
        agent = make_agent(name, observation_dim=3, action_dim=2)
        for _ in range(5):
            agent.update(data)
        states.append(agent.state_dict())
    for key, value in states[0].items():
        torch.testing.assert_close(value, states[1][key], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_first_update_is_adam_on_the_gradient_of_the_loss(name):
    batch = make_batch(10)
    agent = make_agent(name, observation_dim=3, action_dim=2, seed=4, learning_rate=1e-2)
    before = agent.state_dict()
    agent.update(batch)
    after = agent.state_dict()
    parameters = {
        key.removeprefix("parameters."): value.clone().requires_grad_()
        for key, value in before.items()
        if key.startswith("parameters.")
    }
    algorithm = ALGORITHMS[name]
    state = {k.removeprefix("state."): v for k, v in before.items() if k.startswith("state.")}
    noise = draw_noise(algorithm.noise(10, 2, agent.config), torch.tensor(4), before["step"])
    loss = algorithm.loss(parameters, state, batch, noise, agent.config).loss
    for key, gradient in zip(
        parameters, torch.autograd.grad(loss, list(parameters.values())), strict=True
    ):
        step = -1e-2 * gradient / (gradient.abs() + 1e-8)  # Adam's first step, bias corrected
        torch.testing.assert_close(
            after[f"parameters.{key}"], parameters[key].detach() + step, atol=1e-6, rtol=1e-4
        )


@pytest.mark.parametrize("name", NAMES)
def test_agents_follow_the_protocol(name):
    agent = make_agent(name, observation_dim=3, action_dim=2, seed=1)
    assert isinstance(agent, Agent)
    metrics = agent.update(make_batch())
    assert "loss" in metrics
    assert all(value.shape == () and not value.requires_grad for value in metrics.values())
    observations = torch.randn(5, 3)
    actions = agent.act(observations)
    assert actions.shape == (5, 2)
    assert actions.dtype == torch.float32
    assert not actions.requires_grad
    torch.testing.assert_close(agent.act(observations.numpy()), actions)


@pytest.mark.parametrize("name", NAMES)
def test_seeds_decide_initialisation_and_sampling(name):
    def first(seed):
        return make_agent(name, observation_dim=3, action_dim=2, seed=seed)

    observations = torch.randn(4, 3)
    torch.testing.assert_close(first(7).act(observations), first(7).act(observations))
    assert not torch.equal(first(7).act(observations), first(8).act(observations))
    torch.testing.assert_close(first(7).sample(observations), first(7).sample(observations))


def test_sample_has_the_policys_mean_and_deviation():
    agent = make_agent("bc", observation_dim=3, action_dim=2)
    state = agent.state_dict()
    state["parameters.log_std"] = torch.tensor([-1.0, 0.5])
    agent.load_state_dict(state)
    observations = torch.ones(1, 3)
    generator = torch.Generator().manual_seed(0)
    draws = agent.sample(observations.expand(40_000, 3), generator)
    expected = agent.act(observations)[0]
    deviation = torch.tensor([-1.0, 0.5]).exp()
    assert bool(((draws.mean(0) - expected).abs() < 4 * deviation / 200).all())
    torch.testing.assert_close(draws.std(0), deviation, rtol=0.02, atol=0)


def test_noise_is_a_function_of_seed_and_step():
    shapes = {"a": (3, 5), "b": (7,)}

    def draw(seed, step):
        return draw_noise(shapes, torch.tensor(seed), torch.tensor(step))

    assert draw(1, 2)["a"].shape == (3, 5)
    assert torch.equal(draw(1, 2)["a"], draw(1, 2)["a"])
    values = torch.cat([draw(s, t)[k].flatten() for s in (1, 2) for t in (0, 1) for k in "ab"])
    assert len(values.unique()) == len(values)


@pytest.mark.parametrize("sigma", ["learned", "fixed", "state"])
@pytest.mark.parametrize("name", ["bc", "bppo", "crr", "drpo"])
def test_every_sigma_trains_samples_and_resumes(name, sigma):
    agent = make_agent(name, observation_dim=3, action_dim=2, sigma=sigma)
    batch = make_batch(8)
    for _ in range(3):
        agent.update(batch)
    assert agent.act(batch.observations).shape == (8, 2)
    names = [key for key in agent.state_dict() if key.startswith("parameters.")]
    assert ("parameters.log_std" in names) == (sigma == "learned")
    mean, log_std = policy_moments(
        {k.removeprefix("parameters."): v for k, v in agent.state_dict().items()},
        batch.observations,
        sigma,
    )
    torch.testing.assert_close(agent.act(batch.observations), mean)
    assert log_std.shape == ((8, 2) if sigma == "state" else (2,))
    if sigma == "fixed":
        assert bool((log_std == 0).all())
    assert not torch.equal(agent.sample(batch.observations), mean)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("stop", [0, 3])
def test_resume_is_bit_exact(name, stop):
    batches = [make_batch(16, seed=k) for k in range(8)]
    through = make_agent(name, observation_dim=3, action_dim=2, seed=2)
    stopped = make_agent(name, observation_dim=3, action_dim=2, seed=2)
    for batch in batches[:stop]:
        through.update(batch)
        stopped.update(batch)
        through.sample(batch.observations)
        stopped.sample(batch.observations)
    resumed = make_agent(name, observation_dim=3, action_dim=2, seed=99)
    resumed.load_state_dict(stopped.state_dict())
    for batch in batches[stop:]:
        through.update(batch)
        resumed.update(batch)
    assert torch.equal(
        through.sample(batches[0].observations), resumed.sample(batches[0].observations)
    )
    for key, value in through.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[key]), key


def test_state_dict_is_a_copy():
    agent = make_agent("drpo", observation_dim=3, action_dim=2)
    state = agent.state_dict()
    agent.update(make_batch())
    assert not torch.equal(state["parameters.log_std"], agent.state_dict()["parameters.log_std"])


def test_load_state_dict_refuses_what_does_not_fit_and_changes_nothing():
    agent = make_agent("drpo", observation_dim=3, action_dim=2)
    before = agent.state_dict()
    wider = make_agent("drpo", observation_dim=4, action_dim=2, seed=3).state_dict()
    with pytest.raises(ValueError, match="does not fit this 'drpo' agent"):
        agent.load_state_dict(wider)
    other = make_agent("bc", observation_dim=3, action_dim=2, seed=3).state_dict()
    with pytest.raises(ValueError, match=r"'state\.kappa' is missing"):
        agent.load_state_dict(other)
    with pytest.raises(ValueError, match="'surplus'"):
        agent.load_state_dict({**before, "surplus": torch.zeros(1)})
    for key, value in agent.state_dict().items():
        assert torch.equal(value, before[key])


@pytest.mark.parametrize("bound", [0, 1])
def test_log_std_stays_in_its_range(bound):
    agent = make_agent("bc", observation_dim=3, action_dim=2, learning_rate=1.0)
    batch = make_batch(4)
    for _ in range(12):
        # Exact hits narrow the policy without limit, hopeless misses widen it.
        actions = agent.act(batch.observations) if bound == 0 else torch.full((4, 2), 1e4)
        agent.update(batch._replace(actions=actions))
        log_std = agent.state_dict()["parameters.log_std"]
        assert LOG_STD_RANGE[0] <= float(log_std.min()) <= float(log_std.max()) <= LOG_STD_RANGE[1]
    assert bool((log_std == LOG_STD_RANGE[bound]).all())


@given(
    st.sampled_from(NAMES),
    st.integers(2, 40),
    st.integers(1, 6),
    st.integers(1, 9),
    st.integers(1, 3),
    st.integers(0, 2**32),
)
@settings(max_examples=40, deadline=None)
def test_any_shape_trains_and_stays_finite(name, size, obs, act, layers, seed):
    agent = make_agent(
        name, observation_dim=obs, action_dim=act, seed=seed, num_hidden_layers=layers, hidden_dim=8
    )
    batch = make_batch(size, obs, act, seed=seed)
    for _ in range(3):
        metrics = agent.update(batch)
    assert all(bool(torch.isfinite(value)) for value in metrics.values())
    assert agent.act(batch.observations).shape == (size, act)


@pytest.mark.parametrize("name", NAMES)
def test_losses_run_under_vmap_unchanged(name):
    """Static shapes and no branch on values: what lets one loss serve a thousand learners."""
    algorithm = ALGORITHMS[name]
    agents = [make_agent(name, observation_dim=3, action_dim=2, seed=seed) for seed in range(3)]
    batches = [make_batch(12, seed=seed) for seed in range(3)]
    states = [agent.state_dict() for agent in agents]

    def part(prefix, state):
        return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}

    def stacked(parts):
        return {key: torch.stack([one[key] for one in parts]) for key in parts[0]}

    config = agents[0].config
    shapes = algorithm.noise(12, 2, config)
    noises = [draw_noise(shapes, torch.tensor(seed), torch.tensor(0)) for seed in range(3)]

    def loss(parameters, state, noise, o, a, r):
        batch = Batch(o, a, r, o, r > 0.5)
        output = algorithm.loss(parameters, state, batch, noise, config)
        return output.loss, algorithm.update_targets(parameters, output.state, config)

    pieces = [
        (
            part("parameters.", states[k]),
            part("state.", states[k]),
            noises[k],
            *(getattr(batches[k], f) for f in ("observations", "actions", "rewards")),
        )
        for k in range(3)
    ]
    arguments = [
        stacked(column)
        if isinstance(column[0], dict) and column[0]
        else column[0]
        if isinstance(column[0], dict)
        else torch.stack(column)
        for column in map(list, zip(*pieces, strict=True))
    ]
    together, next_states = torch.func.vmap(loss)(*arguments)
    for k in range(3):
        alone, state = loss(*pieces[k])
        torch.testing.assert_close(together[k], alone)
        for key, value in state.items():
            torch.testing.assert_close(next_states[key][k], value)


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("drop", {}, "Unknown agent 'drop'. Did you mean 'drpo'"),
        ("drpo", {"initial_kapa": 0.3}, "Did you mean 'initial_kappa'"),
        ("bc", {"initial_kappa": 0.3}, "Unknown hyper-parameter of 'bc'"),
        ("drpo", {"initial_kappa": 0.0}, "initial_kappa=0.0"),
        ("drpo", {"min_kappa": 0.6}, "min_kappa=0.6"),
        ("drpo", {"relax_rate": 0.9}, "relax_rate=0.9"),
        ("drpo", {"tighten_rate": 1.1}, "tighten_rate=1.1"),
        ("drpo", {"target_ratio": float("inf") * 0}, "target_ratio=nan"),
        ("bc", {"learning_rate": -1.0}, "learning_rate=-1.0"),
        ("bc", {"num_hidden_layers": 0}, "num_hidden_layers=0"),
        ("bc", {"sigma": "learn"}, "Did you mean 'learned'"),
        ("apg", {"baseline": "valu"}, "Did you mean 'value'"),
        ("drpo", {"baseline": "man"}, "Did you mean 'mean'"),
        ("drpo-exp", {"beta": 0.0}, "beta=0.0"),
        ("awr", {"beta": -1.0}, "beta=-1.0"),
        ("crr", {"form": "exponential"}, "Unknown form"),
        ("crr", {"num_samples": 0}, "num_samples=0"),
        ("iql", {"tau": 1.0}, "tau=1.0"),
        ("iql", {"polyak": 0.0}, "polyak=0.0"),
        ("iql", {"discount": 1.5}, "discount=1.5"),
        ("bppo", {"epsilon": 1.0}, "epsilon=1.0"),
        ("asymre", {"negative_weight": -0.1}, "negative_weight=-0.1"),
        ("asymre-delta", {"delta_v": float("nan")}, "delta_v=nan"),
        ("bc", {"seed": -3}, "seed=-3"),
        ("bc", {"device": "cuda:77"}, "device='cuda:77'"),
    ],
)
def test_bad_arguments_say_what_is_wrong(name, arguments, message):
    with pytest.raises(ValueError, match=message):
        make_agent(name, observation_dim=3, action_dim=2, **arguments)


@pytest.mark.parametrize("name", NAMES)
def test_batches_and_observations_that_do_not_fit_are_refused(name):
    agent = make_agent(name, observation_dim=3, action_dim=2)
    before = agent.state_dict()
    for batch in (
        make_batch(4, observation_dim=4),
        make_batch(4, action_dim=3),
        make_batch(4)._replace(rewards=torch.zeros(5)),
        make_batch(4)._replace(rewards=torch.zeros(4, 1)),
        make_batch(0),
    ):
        with pytest.raises(ValueError, match="Batch field"):
            agent.update(batch)
    with pytest.raises(ValueError, match=r"expected \(B, 3\)"):
        agent.act(torch.zeros(5, 4))
    for key, value in agent.state_dict().items():
        assert torch.equal(value, before[key])
