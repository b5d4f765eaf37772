from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings, strategies as st

from recsim_drpo import make_agent
from recsim_drpo.agents import Agent, Batch
from recsim_drpo.agents.registry import ALGORITHMS
from tests.agents.conftest import (
    NAMES,
    make_batch,
    transitions_of,
)

WITHOUT_NOISE = [
    name for name in NAMES if not ALGORITHMS[name].noise(8, 2, ALGORITHMS[name].config())
]


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


@pytest.mark.parametrize("name", WITHOUT_NOISE)
def test_loss_does_not_depend_on_the_order_of_the_batch(name):
    rewards = torch.tensor([0.0, 0.0, 0.3, 0.3, 0.3, 1.0, 1.0, 0.2])
    batch = make_batch(8, rewards=rewards)
    order = torch.tensor([3, 0, 7, 5, 1, 6, 2, 4])
    infos = {k: v if k == "negatives" else v[order] for k, v in batch.infos.items()}
    shuffled = Batch(*(field[order] for field in batch[:5]), infos)
    states = []
    for data in (batch, shuffled):
        agent = make_agent(name, observation_dim=3, action_dim=2)
        for _ in range(5):
            agent.update(data)
        states.append(agent.state_dict())
    for key, value in states[0].items():
        torch.testing.assert_close(value, states[1][key], atol=1e-5, rtol=1e-4)


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


def test_a_train_step_is_an_update_and_bind_its_former_name():
    batch = make_batch(32)
    log = transitions_of(batch)
    by_update, by_step, by_former_name = (
        make_agent("iql", observation_dim=3, action_dim=2, seed=2) for _ in range(3)
    )
    steps = [by_step.make_train_step(log, 8), by_former_name.bind(log, 8)]
    generator = torch.Generator().manual_seed(0)
    for _ in range(3):
        indices = torch.randint(32, (8,), generator=generator)
        loss = by_update.update(log.take(indices))["loss"]
        assert all(torch.equal(step(indices)["loss"], loss) for step in steps)
    for key, value in by_update.state_dict().items():
        for agent in (by_step, by_former_name):
            assert torch.equal(agent.state_dict()[key], value), key
