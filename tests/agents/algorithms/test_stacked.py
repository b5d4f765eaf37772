from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import expit

from recsim_drpo import make_agent
from recsim_drpo.agents.algorithms.stacked import MEMBERS, outputs_of, unit_actions
from recsim_drpo.agents.algorithms.stacking import held_out, shares, unit
from tests.agents.algorithms.conftest import REWARDS, TINY, linear_parameters, loss_of
from tests.agents.conftest import make_batch

NAME = "stacked"
ACTIONS, STATES = TINY.actions.numpy(), TINY.observations.numpy()

# ½ ‖a − s‖² of the four rows, and s·a.
HALF_SQUARES = np.array([0.5, 2.0, 0.0, 0.5])
PRODUCTS = np.array([0.0, 1.0, 4.0, 1.0])


def parameters_by_hand():
    """All means are μ(s) = s; b(s) = 0.5 s_0 + 0.1 and c(s) = 0.25 s_1."""
    parameters = linear_parameters()
    del parameters["log_std"]
    for name, extra in (("regressed", 1), ("anchored", 2), ("weighted", 0)):
        outputs = torch.cat((torch.eye(2), torch.tensor([[0.5, 0.0], [0.0, 0.25]])[:extra]))
        parameters |= {
            f"{name}.weight_0": torch.eye(2),
            f"{name}.bias_0": torch.zeros(2),
            f"{name}.weight_1": outputs,
            f"{name}.bias_1": torch.tensor([0.0, 0.0, 0.1, 0.0])[: 2 + extra],
        }
    return parameters


def state_of(weights, step):
    return {
        "kappa": torch.tensor(0.5, dtype=torch.float64),
        "moments": torch.zeros(5, 5, dtype=torch.float64),
        "weights": torch.tensor(weights, dtype=torch.float64),
        "step": torch.tensor(step),
    }


def cross_entropies(scores):
    chances = expit(scores)
    return -(REWARDS * np.log(chances) + (1.0 - REWARDS) * np.log(1.0 - chances))


def test_losses_by_hand():
    """After the rounds held out have come back: each loss is a mean over all four rows."""
    state = state_of([0.2, 0.0, 0.6], 3_000)
    output = loss_of(NAME, parameters=parameters_by_hand(), state=state, penalty=0.3, anchor=0.7)
    baselines = 0.5 * STATES[:, 0] + 0.1
    squares = (STATES**2).sum(axis=1)
    regressed = (cross_entropies(PRODUCTS + baselines) + 0.3 * squares).mean()
    scales = 2.0 * np.exp(0.25 * STATES[:, 1])
    # κ = ½: 0.8 and 0.6 are admitted, ν = 0.6, and their standard deviation is 0.1.
    drawn = 2.0 * HALF_SQUARES[1] / 2.0
    anchored = cross_entropies(scales * PRODUCTS + baselines).mean() + 0.7 * drawn
    gaps = REWARDS - REWARDS.mean()
    weighted = (np.exp(gaps / gaps.std()) * HALF_SQUARES).mean()
    # All unit actions are s/‖s‖, so is their mean, and the zero state's is zero.
    lengths = np.sqrt(squares)
    policy = 0.5 * ((lengths - (lengths > 0)) ** 2).mean()
    expected = {
        "regressed": regressed,
        "anchored": anchored,
        "weighted": weighted,
        "policy": policy,
    }
    for name, value in expected.items():
        assert float(output.metrics[f"{name}_loss"]) == pytest.approx(value, rel=1e-5), name
    assert float(output.loss) == pytest.approx(sum(expected.values()), rel=1e-5)
    given = [float(output.metrics[f"{name}_share"]) for name in MEMBERS]
    assert given == pytest.approx([0.25, 0.0, 0.75], abs=3e-6)


@pytest.mark.parametrize("place", range(3))
def test_where_one_has_all_weight_the_policy_regresses_it_alone(place):
    parameters, batch = random_parameters(), make_batch(32)
    weights = [0.0, 0.0, 0.0]
    weights[place] = 2.0
    output = loss_of(NAME, batch, parameters, state_of(weights, 3_000))
    action_dim = batch.actions.shape[-1]
    actions = unit_actions(outputs_of(parameters, batch.observations), action_dim)
    own = outputs_of(parameters, batch.observations)[MEMBERS[place]][:, :action_dim]
    assert torch.allclose(actions[place], unit(own))
    mean = make_agent_of(parameters).act(batch.observations)
    expected = 0.5 * (mean - actions[place]).square().sum(-1).mean()
    assert float(output.metrics["policy_loss"]) == pytest.approx(float(expected), rel=1e-4)


def random_parameters(seed=3):
    agent = make_agent(NAME, observation_dim=3, action_dim=2, seed=seed, hidden_dim=8)
    prefix = "parameters."
    return {k[len(prefix) :]: v for k, v in agent.state_dict().items() if k.startswith(prefix)}


def make_agent_of(parameters):
    agent = make_agent(NAME, observation_dim=3, action_dim=2, hidden_dim=8)
    own = agent.state_dict()
    agent.load_state_dict(own | {f"parameters.{k}": v for k, v in parameters.items()})
    return agent


def gradients(batch, state, **hyperparameters):
    parameters = {k: v.clone().requires_grad_() for k, v in random_parameters().items()}
    loss_of(NAME, batch, parameters, state, **hyperparameters).loss.backward()
    return {name: tensor.grad for name, tensor in parameters.items()}


def unlike(first, second):
    """Names of networks whose gradients differ."""
    return {k.split(".")[0] for k in first if not torch.allclose(first[k], second[k], atol=1e-7)}


def batch_with_held_out():
    batch = make_batch(64)
    return batch, held_out(batch.observations, batch.actions)


def test_rounds_held_out_teach_none_of_the_three_until_they_come_back():
    batch, apart = batch_with_held_out()
    assert 4 < int(apart.sum()) < 60
    elsewhere = batch.actions.clone()
    for row in apart.nonzero().flatten().tolist():
        for k in range(1, 200):  # another action that is held out too
            action = batch.actions[row : row + 1] + 0.01 * k
            if bool(held_out(batch.observations[row : row + 1], action)):
                elsewhere[row] = action[0]
                break
    changed = batch._replace(actions=elsewhere)
    assert (elsewhere != batch.actions).any(dim=-1).equal(apart)
    weights = [1.0, 0.5, 0.25]
    early = [gradients(b, state_of(weights, 0)) for b in (batch, changed)]
    assert unlike(*early) <= {"policy"}
    late = [gradients(b, state_of(weights, 3_000)) for b in (batch, changed)]
    assert unlike(*late) >= set(MEMBERS) - {"anchored"}


def test_weights_reach_the_policy_and_none_of_the_three():
    batch, _ = batch_with_held_out()
    pair = [gradients(batch, state_of(weights, 3_000)) for weights in ([1.0, 0, 0], [0, 0, 1.0])]
    assert unlike(*pair) == {"policy"}


def test_weights_learn_while_rounds_are_held_out_and_then_stay():
    batch, _ = batch_with_held_out()
    start = [1.0, 0.5, 0.25]
    early = loss_of(NAME, batch, random_parameters(), state_of(start, 2_999)).state
    assert not torch.equal(early["weights"], torch.tensor(start, dtype=torch.float64))
    assert float(early["moments"][-1, -1]) == pytest.approx(0.005)
    late = loss_of(NAME, batch, random_parameters(), state_of(start, 3_000)).state
    assert late["weights"].tolist() == start
    assert not late["moments"].any()
    assert int(early["step"]) == 3_000


def test_without_rounds_held_out_all_three_weigh_the_same():
    output = loss_of(NAME, make_batch(16), random_parameters(), held_out_steps=0)
    assert [float(output.metrics[f"{name}_share"]) for name in MEMBERS] == pytest.approx(
        [1 / 3] * 3
    )


def test_a_policy_learns_the_weighted_mean_of_the_three():
    generator = torch.Generator().manual_seed(0)
    agent = make_agent(
        NAME, observation_dim=3, action_dim=2, hidden_dim=32, learning_rate=1e-2, held_out_steps=130
    )
    for _ in range(200):
        observations = torch.rand(128, 3, generator=generator)
        actions = unit(torch.randn(128, 2, generator=generator))
        wanted = unit(observations[:, :2] - 0.3)
        rewards = (0.5 + 0.4 * (wanted * actions).sum(-1)).clamp(0.0, 1.0)
        agent.update(
            make_batch(128)._replace(observations=observations, actions=actions, rewards=rewards)
        )
    state = agent.state_dict()
    parameters = {k[11:]: v for k, v in state.items() if k.startswith("parameters.")}
    mix = shares(state["state.weights"]).to(torch.float32)
    actions = unit_actions(outputs_of(parameters, observations), 2)
    mean = unit((mix.reshape(3, 1, 1) * actions).sum(dim=0))
    learnt = unit(agent.act(observations))
    assert float((learnt * mean).sum(-1).mean()) > 0.97
    assert float((learnt * wanted).sum(-1).mean()) > 0.9
    assert float(mix.sum()) == pytest.approx(1.0)


def test_rewards_that_are_no_shares_have_no_loss():
    batch = TINY._replace(rewards=torch.tensor([0.2, 1.5, 0.4, 0.6]))
    assert not torch.isfinite(loss_of(NAME, batch, parameters_by_hand()).loss)
