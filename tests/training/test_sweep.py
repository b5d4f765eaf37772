from __future__ import annotations

import copy
import math
import random

import numpy as np
import pytest
import torch

from recsim_drpo import Evaluator, Fleet, make_agent, register_agent
from recsim_drpo.training.config import TrainingConfig
from recsim_drpo.training.loop import train
from recsim_drpo.training.sweep import train_many

CONFIG = TrainingConfig(steps=30, batch_size=32, log_every=10, evaluate_every=15)


def test_what_is_done_is_handed_over_before_the_rest_is_trained(logs):
    done = []

    class StopError(Exception):
        pass

    def follow(run, row):
        if run.seed == 2:
            raise StopError

    with pytest.raises(StopError):
        train_many(
            {"bc": [{"hidden_dim": 4}]},
            logs[0],
            CONFIG,
            seeds=[0, 1, 2],
            fleet_size=1,
            on_done=done.append,
            on_log=follow,
            progress=False,
        )
    assert [trained.run.seed for trained in done] == [0, 1]


def test_many_runs_come_back_in_order_and_as_each_alone(logs, small_world):
    agents = {
        "drpo": [{"hidden_dim": 8}, {"hidden_dim": 8, "batch_size": 16}, {"hidden_dim": 4}],
        "bc": [{"hidden_dim": 8}],
    }
    rows = []
    trained = train_many(
        agents,
        logs,
        CONFIG,
        seeds=[0, 1],
        fleet_size=3,
        on_log=lambda run, row: rows.append((run, row)),
        progress=False,
    )
    asked = [(n, s, v) for n, variants in agents.items() for v in variants for s in (0, 1)]
    for outcome, (name, seed, variant) in zip(trained, asked, strict=True):
        run = outcome.run
        overrides = {k: v for k, v in variant.items() if k != "batch_size"}
        assert (run.agent, run.seed, run.overrides) == (name, seed, variant)
        assert [row for other, row in rows if other is run] == outcome.history
        assert outcome.diverged_at is None
        agent = make_agent(name, observation_dim=10, action_dim=16, seed=seed, **overrides)
        config = TrainingConfig(steps=30, batch_size=variant.get("batch_size", 32), log_every=10)
        train(agent, logs[seed], config, seed=seed, progress=False)
        state = outcome.agent.state_dict()
        for key, value in agent.state_dict().items():
            np.testing.assert_allclose(state[key], value, atol=1e-4, err_msg=key)


def test_mistakes_are_found_before_anything_is_trained(logs):
    def attempt(agents=None, given=logs, seeds=(0,), **options):
        seen = []
        with pytest.raises(ValueError) as caught:  # noqa: PT011 - the caller looks at the message
            train_many(
                agents or {"bc": [{}]},
                given,
                CONFIG,
                seeds=seeds,
                on_log=lambda *row: seen.append(row),
                progress=False,
                **options,
            )
        assert seen == []
        return str(caught.value)

    assert "Did you mean 'drpo'" in attempt({"bc": [{}], "dpro": [{}]})
    assert "Did you mean 'initial_kappa'" in attempt({"bc": [{}], "drpo": [{"initial_kapa": 1}]})
    assert "batch_size=1" in attempt({"bc": [{}], "drpo": [{"batch_size": 1}]})
    assert "no log for seed 7" in attempt(seeds=[0, 7])
    assert "fleet_size=0" in attempt(fleet_size=0)
    assert "makes no learner" in attempt({"bc": []})
    dear = copy.copy(logs[0])
    dear._rewards = 1.5 + logs[0].rewards
    refused = attempt({"bc": [{}], "two-tower": [{}]}, {0: logs[0], 1: dear}, seeds=(0, 1))
    assert "the agent 'two-tower' takes them from 0 to 1" in refused


class Constant:
    """An agent from outside, which diverges at the third update if it is told to."""

    def __init__(self, *, observation_dim, action_dim, seed, device, diverges=False):
        del observation_dim, device
        self.seed, self.updates, self._dim, self._diverges = seed, 0, action_dim, diverges

    def update(self, batch):
        self.batch_size = len(batch.rewards)
        self.updates += 1
        loss = math.nan if self._diverges and self.updates >= 3 else 1.0
        return {"loss": torch.tensor(loss)}

    def act(self, observations):
        return torch.ones(len(observations), self._dim)

    def state_dict(self):
        return {}

    def load_state_dict(self, state):
        pass


def test_agents_from_outside_are_trained_one_by_one(logs, clean_registry, capsys):
    register_agent("constant")(Constant)
    config = TrainingConfig(steps=4, batch_size=8, log_every=1)
    done = []
    trained = train_many(
        {"constant": [{}, {"diverges": True, "batch_size": 4}]},
        logs,
        config,
        seeds=[0, 1],
        on_done=done.append,
        progress=False,
    )
    assert done == trained
    ends = [(outcome.run.seed, outcome.diverged_at, len(outcome.history)) for outcome in trained]
    assert ends == [(0, None, 4), (1, None, 4), (0, 3, 3), (1, 3, 3)]
    assert [outcome.agent.batch_size for outcome in trained] == [8, 8, 4, 4]
    assert "constant, seed 1: Diverged at step 3" in capsys.readouterr().out


class InMemory:
    """Checkpoints that hold copies, and stop the training right after some of them."""

    def __init__(self, every, stop_after=math.inf):
        self.every, self.states, self.stop_after = every, {}, stop_after

    def load(self, name):
        return copy.deepcopy(self.states.get(name))

    def save(self, name, state):
        self.states[name] = copy.deepcopy(dict(state))
        self.stop_after -= 1
        if self.stop_after == 0:
            raise KeyboardInterrupt


class Drawing:
    """An agent that draws from the generators of the process, as agents from outside may."""

    summary = "draws"

    def __init__(self, observation_dim, action_dim, seed, device):
        self.total = torch.zeros(action_dim)

    def update(self, batch):
        drawn = torch.rand(16) + np.random.rand() + random.random()  # noqa: NPY002
        self.total = self.total + drawn * batch.rewards.mean()
        return {"loss": self.total.mean()}

    def act(self, observations):
        return self.total.expand(len(observations), -1)

    def state_dict(self):
        return {"total": self.total}

    def load_state_dict(self, state):
        self.total = state["total"]


def assert_same_outcomes(ones, others):
    for one, other in zip(ones, others, strict=True):
        assert (one.run, one.history) == (other.run, other.history)
        state = other.agent.state_dict()
        for name, tensor in one.agent.state_dict().items():
            assert torch.equal(tensor, state[name]), name


@pytest.fixture(scope="module")
def through():
    """Outcomes of trainings that were not stopped, by agent."""
    return {}


@pytest.mark.parametrize("stop_after", [1, 4, 5, 9])
@pytest.mark.parametrize(
    ("agent", "variants", "fleet_size"),
    [
        ("drpo", [{"hidden_dim": 8}, {"hidden_dim": 4}], 8),
        ("crr", [{"hidden_dim": 8}], 1),
        ("tests.training.test_sweep:Drawing", [{}], 8),
    ],
)
def test_a_stopped_training_goes_on_as_if_it_had_not_stopped(
    logs, small_world, through, agent, variants, fleet_size, stop_after
):
    def train_with(checkpoints):
        torch.manual_seed(3)
        np.random.seed(3)  # noqa: NPY002
        random.seed(3)
        return train_many(
            {agent: variants},
            logs,
            CONFIG,
            seeds=[0, 1],
            fleet_size=fleet_size,
            evaluator=Evaluator(small_world, 100, split="validation"),
            checkpoints=checkpoints,
            progress=False,
        )

    if agent not in through:
        through[agent] = train_with(None)
    kept = InMemory(7, stop_after)
    with pytest.raises(KeyboardInterrupt):
        train_with(kept)  # after 7, 14, 21, 28 or 30 updates of the first training, or the next
    kept.stop_after = math.inf
    assert_same_outcomes(through[agent], train_with(kept))
    assert all(state["step"] == 30 for state in kept.states.values())


def test_a_checkpoint_of_another_shape_is_refused(logs):
    kept = InMemory(10)
    train_many({"bc": [{"hidden_dim": 8}]}, logs[0], CONFIG, checkpoints=kept, progress=False)
    with pytest.raises(ValueError, match="The state does not fit this 'bc' agent"):
        train_many({"bc": [{"hidden_dim": 4}]}, logs[0], CONFIG, checkpoints=kept, progress=False)


def test_runs_start_from_given_parameters_with_a_fresh_optimiser_and_state(logs):
    trained = train_many({"iql": [{"hidden_dim": 8}]}, logs[0], CONFIG, progress=False)[0]
    state = trained.agent.state_dict()
    prefix = "parameters."
    initial = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
    shape = {"observation_dim": 10, "action_dim": 16, "seeds": [4, 5]}
    fleet = Fleet("iql", overrides=[{"hidden_dim": 8}], initial=initial, **shape)
    for name, tensor in fleet.state_dict().items():
        if name.startswith(prefix):
            assert torch.equal(tensor, torch.stack([state[name]] * 2)), name
        elif name.startswith("adam."):
            assert not tensor.any(), name
        elif name.startswith("state.target."):  # copies of the networks, as of any fresh agent
            own = initial[name.removeprefix("state.target.")]
            assert torch.equal(tensor, torch.stack([own] * 2)), name
    assert any(name.startswith("state.target.") for name in state)
    assert fleet.state_dict()["step"].tolist() == [0, 0]

    short = TrainingConfig(steps=1, batch_size=32)
    with pytest.raises(ValueError, match=r"The parameters to start from do not fit this 'iql'"):
        train_many({"iql": [{"hidden_dim": 4}]}, logs[0], short, initial=initial, progress=False)
    with pytest.raises(ValueError, match=r"The parameters to start from do not fit this 'bc'"):
        train_many({"bc": [{"hidden_dim": 8}]}, logs[0], short, initial=initial, progress=False)
    with pytest.raises(ValueError, match=r"test_sweep:Drawing' is from outside"):
        train_many({"tests.training.test_sweep:Drawing": [{}]}, logs[0], short, initial=initial)
