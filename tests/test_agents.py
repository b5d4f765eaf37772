from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recsim_drpo import agent_names, make_agent
from recsim_drpo.agents import Agent, Batch, bc, drpo
from recsim_drpo.agents.filtering import adapt_kappa, top_kappa
from recsim_drpo.agents.networks import LOG_STD_RANGE, policy_log_prob, policy_mean

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


def linear_parameters():
    """A network without hidden units that matter: μ(s) = (s_0, s_1) for s ≥ 0."""
    eye = torch.eye(2)
    zero = torch.zeros(2)
    return {
        "weight_0": eye,
        "bias_0": zero,
        "weight_1": eye.clone(),
        "bias_1": zero.clone(),
        "log_std": torch.tensor([0.0, math.log(2.0)]),
    }


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
    mean = policy_mean(parameters, TINY.observations)
    reference = torch.distributions.Normal(mean, parameters["log_std"].exp())
    torch.testing.assert_close(found, reference.log_prob(TINY.actions).sum(-1))


def test_bc_loss_by_hand():
    output = bc.loss(linear_parameters(), {}, TINY, bc.BCConfig())
    assert float(output.loss) == pytest.approx(-TINY_LOG_PROB.mean(), abs=1e-6)


def test_drpo_loss_by_hand():
    config = drpo.DRPOConfig(initial_kappa=0.5)
    output = drpo.loss(linear_parameters(), drpo.init_state(config), TINY, config)
    # κ = 0.5 of 4 admits 0.8 and 0.6: ν = 0.6, σ_subset = 0.1, advantages 0.2 and 0.
    expected = -(0.2 / 0.1 * TINY_LOG_PROB[1] + 0.0) / 2
    assert float(output.loss) == pytest.approx(expected, rel=1e-5)
    assert float(output.metrics["threshold"]) == pytest.approx(0.6)
    assert float(output.metrics["admitted_share"]) == pytest.approx(0.5)
    batch_std = np.std([0.2, 0.8, 0.4, 0.6])
    assert float(output.metrics["std_ratio"]) == pytest.approx(0.1 / batch_std, rel=1e-5)
    # 0.1 < 0.5 · 0.2236: the controller relaxes.
    assert float(output.state["kappa"]) == pytest.approx(0.51)


def test_drpo_gradient_is_exactly_zero_on_rejected_samples():
    config = drpo.DRPOConfig(initial_kappa=0.5)
    actions = TINY.actions.clone().requires_grad_()
    batch = TINY._replace(actions=actions)
    drpo.loss(linear_parameters(), drpo.init_state(config), batch, config).loss.backward()
    zero = (actions.grad == 0).all(dim=1)
    # 0.2 and 0.4 are rejected; 0.6 is ν itself, of advantage 0.
    assert zero.tolist() == [True, False, True, True]


def test_drpo_with_constant_rewards_learns_nothing_and_stays_finite():
    config = drpo.DRPOConfig()
    batch = TINY._replace(rewards=torch.full((4,), 0.3))
    parameters = {k: v.requires_grad_() for k, v in linear_parameters().items()}
    output = drpo.loss(parameters, drpo.init_state(config), batch, config)
    gradients = torch.autograd.grad(output.loss, list(parameters.values()))
    assert float(output.loss.detach()) == 0.0
    assert all(bool((g == 0).all()) for g in gradients)
    assert float(output.metrics["admitted_share"]) == pytest.approx(0.5)
    assert float(output.state["kappa"]) == pytest.approx(0.49)


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
    rule = {"target_ratio": 0.5, "relax_rate": 1.02, "tighten_rate": 0.98, "min_kappa": 0.05}

    def following(kappa, filtered):
        return float(adapt_kappa(torch.tensor(kappa, dtype=torch.float64), filtered, **rule))

    assert following(0.5, narrow) == pytest.approx(0.51)
    assert following(0.99, narrow) == 1.0
    assert following(0.5, spread) == pytest.approx(0.49)
    assert following(0.0505, spread) == 0.05


@pytest.mark.parametrize("name", NAMES)
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
    module = {"bc": bc, "drpo": drpo}[name]
    state = {k.removeprefix("state."): v for k, v in before.items() if k.startswith("state.")}
    loss = module.loss(parameters, state, batch, agent.config).loss
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
    assert not torch.equal(state["parameters.weight_0"], agent.state_dict()["parameters.weight_0"])


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
    module = {"bc": bc, "drpo": drpo}[name]
    agents = [make_agent(name, observation_dim=3, action_dim=2, seed=seed) for seed in range(3)]
    batches = [make_batch(12, seed=seed) for seed in range(3)]
    states = [agent.state_dict() for agent in agents]

    def part(prefix, state):
        return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}

    def stacked(parts):
        return {key: torch.stack([one[key] for one in parts]) for key in parts[0]}

    config = agents[0].config
    together = torch.func.vmap(
        lambda parameters, state, o, a, r: (
            module.loss(parameters, state, Batch(o, a, r, o, r > 2), config).loss
        )
    )(
        stacked([part("parameters.", s) for s in states]),
        stacked([part("state.", s) for s in states]),
        *(
            torch.stack([getattr(b, f) for b in batches])
            for f in ("observations", "actions", "rewards")
        ),
    )
    for k, batch in enumerate(batches):
        alone = module.loss(
            part("parameters.", states[k]), part("state.", states[k]), batch, config
        ).loss
        torch.testing.assert_close(together[k], alone)


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
