from __future__ import annotations

import math

import gymnasium as gym
import pytest
import torch

from recsim_drpo import Evaluator, make_agent, register_agent
from recsim_drpo.training.config import TrainingConfig
from recsim_drpo.training.online import learns_online, train_online

CONFIG = TrainingConfig(steps=20, batch_size=8, log_every=6, evaluate_every=12)
NUM_ENVS = 4


class Wanderer:
    """Acts at random in 4 environments and learns nothing; may diverge in a step."""

    num_envs = NUM_ENVS

    def __init__(
        self, *, observation_dim, action_dim, seed, device, batch_size, diverges_at=math.inf
    ):
        del observation_dim, device
        self.batch_size, self._dim, self._diverges_at = batch_size, action_dim, diverges_at
        self._generator = torch.Generator().manual_seed(seed)

    def learn(self, envs, steps, on_step):
        assert envs.num_envs == NUM_ENVS
        envs.reset(seed=0)
        for step in range(NUM_ENVS, steps + NUM_ENVS, NUM_ENVS):
            _, rewards, *_ = envs.step(self.act(torch.zeros(NUM_ENVS)).numpy())
            loss = math.nan if step >= self._diverges_at else 0.5
            metrics = {"loss": loss, "reward": float(rewards.mean())}
            on_step(step, metrics)
        return metrics

    def act(self, observations):
        return torch.randn(len(observations), self._dim, generator=self._generator)

    def update(self, batch):
        raise TypeError("learns online")

    def state_dict(self):
        return {}

    def load_state_dict(self, state):
        pass


@pytest.fixture
def spec(clean_registry, small_kwargs):
    register_agent("wanderer")(Wanderer)
    return gym.make("RecSimZipf-v0", **small_kwargs).spec


def test_rows_are_where_their_steps_were_crossed(spec, small_world):
    evaluator = Evaluator(small_world, 50, split="validation")
    rows, done = [], []
    trained = train_online(
        "wanderer",
        {},
        spec,
        CONFIG,
        seeds=[0, 1],
        evaluator=evaluator,
        on_log=lambda run, row: rows.append((run, row)),
        on_done=done.append,
        progress=False,
    )
    assert done == trained
    assert [outcome.run.seed for outcome in trained] == [0, 1]
    for outcome in trained:
        assert (outcome.dims, outcome.diverged_at) == ((10, 16), None)
        assert outcome.agent.batch_size == 8
        assert [row for run, row in rows if run is outcome.run] == outcome.history
        # Every 6 and 12 steps, of which 4 are made together; the last row is of the end.
        assert [row["step"] for row in outcome.history] == [0.0, 8.0, 12.0, 20.0]
        evaluated = [row["step"] for row in outcome.history if "ecpm" in row]
        assert evaluated == [0.0, 12.0, 20.0]
        assert all(0.0 <= row["reward"] <= 1.0 for row in outcome.history[1:])


def test_without_an_evaluator_history_begins_with_the_first_row_logged(spec):
    (trained,) = train_online("wanderer", {"batch_size": 3}, spec, CONFIG, progress=False)
    assert [row["step"] for row in trained.history] == [8.0, 12.0, 20.0]
    assert trained.agent.batch_size == 3
    assert "ecpm" not in trained.history[-1]


def test_a_run_that_diverges_ends_with_the_step_at_which_it_was_seen(spec, capsys):
    overrides = {"diverges_at": 9}
    trained = train_online("wanderer", overrides, spec, CONFIG, seeds=[0, 1], progress=False)
    assert [outcome.diverged_at for outcome in trained] == [12, 12]
    assert [row["step"] for row in trained[0].history] == [8.0, 12.0]
    assert "wanderer, seed 1: Diverged at step 12" in capsys.readouterr().out


def test_what_does_not_learn_online_is_refused(spec):
    assert not learns_online(make_agent("bc", observation_dim=10, action_dim=16))
    with pytest.raises(ValueError, match="no environment that it names"):
        train_online("wanderer", {}, None, progress=False)
    with pytest.raises(ValueError, match="the log is of CartPole-v1"):
        train_online("wanderer", {}, gym.spec("CartPole-v1"), progress=False)


def test_an_agent_that_learns_from_logs_is_refused(spec):
    @register_agent("bookworm")
    class Bookworm(Wanderer):
        learn = None

    with pytest.raises(TypeError, match="'bookworm' does not learn online: it has no method"):
        train_online("bookworm", {}, spec, CONFIG, progress=False)
