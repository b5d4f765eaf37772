from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from recsim_drpo import Evaluator, Fleet, make_agent
from recsim_drpo.core.transitions import Transitions
from recsim_drpo.training.config import TrainingConfig
from recsim_drpo.training.loop import DivergedError, idle_updates, train, train_fleet
from recsim_drpo.training.order import draw_indices

CONFIG = TrainingConfig(steps=30, batch_size=32, log_every=10, evaluate_every=15)


def fleet_of(name="drpo", seeds=(0, 1), overrides=({"hidden_dim": 8},), **options):
    return Fleet(
        name, observation_dim=10, action_dim=16, seeds=seeds, overrides=overrides, **options
    )


def fresh(name="drpo", seed=0, **hyperparameters):
    return make_agent(name, observation_dim=10, action_dim=16, seed=seed, **hyperparameters)


def test_training_learns(logs, small_world):
    agent = fresh(learning_rate=3e-3)
    evaluator = Evaluator(small_world, 500, split="validation")
    config = TrainingConfig(steps=400, log_every=50, evaluate_every=100)
    rows = []
    history = train(agent, logs[0], config, evaluator=evaluator, on_log=rows.append, progress=False)
    assert history == rows
    assert [row["step"] for row in history] == [0, *range(50, 401, 50)]
    assert [row["step"] for row in history if "ecpm" in row] == [0, 100, 200, 300, 400]
    assert history[-1]["ecpm"] > 2 * history[0]["ecpm"]
    assert history[-1]["ecpm"] == evaluator(agent).ecpm.value
    assert all(math.isfinite(v) for row in history for v in row.values())


def clicks(log):
    """A log with the contexts and actions of another, and a click in 55 % of the rounds."""
    batch = log.as_batch()
    rewards = torch.rand(len(log), generator=torch.Generator().manual_seed(1)) < 0.55
    return Transitions(
        torch.stack([batch.observations, batch.next_observations], dim=1).flatten(0, 1),
        torch.arange(len(log)) * 2,
        batch.actions,
        rewards.to(torch.float32),
        batch.terminations,
        {},
    )


def test_updates_with_nothing_to_learn_are_counted_between_rows(logs):
    """DRPO has no advantage where at least K of the batch are clicks: counted from the batches."""
    log = clicks(logs[0])
    config = TrainingConfig(steps=30, batch_size=32, log_every=7)
    fixed = {"hidden_dim": 8, "adaptive": False, "initial_kappa": 0.5}

    def idle(seed):
        seeds, sizes = torch.tensor([seed]), torch.tensor([len(log)])
        drawn = draw_indices(seeds, sizes, 0, 30, 32)[:, 0]
        return [float(log.rewards[indices].sum() >= 16) for indices in drawn]

    fleet = fleet_of(overrides=[fixed])
    histories = train_fleet(fleet, log, config, progress=False)
    alone = train(fresh(**fixed), log, config, progress=False)
    for seed, history in ((0, histories[0]), (1, histories[1]), (0, alone)):
        expected = idle(seed)
        assert 0 < sum(expected) < 30
        rows = [0, 7, 14, 21, 28, 30]
        for (start, stop), row in zip(itertools.pairwise(rows), history, strict=True):
            assert row["idle_share"] == sum(expected[start:stop]) / (stop - start)
        assert idle_updates(history) == sum(expected)


def test_the_seed_decides_the_order_of_batches(logs):
    def after(seed):
        agent = fresh()
        train(agent, logs[0], TrainingConfig(steps=5), seed=seed, progress=False)
        return agent.state_dict()["parameters.policy.weight_0"]

    assert torch.equal(after(0), after(0))
    assert not torch.equal(after(0), after(1))


def test_divergence_is_reported_with_its_step(logs):
    class Bursts:
        steps = 0

        def update(self, batch):
            self.steps += 1
            return {"loss": torch.tensor(math.inf if self.steps > 7 else 1.0)}

        def act(self, observations):
            return torch.zeros(len(observations), 16)

        def state_dict(self):
            return {}

        def load_state_dict(self, state):
            pass

    with pytest.raises(DivergedError, match="at step 10: the metric 'loss' is inf") as caught:
        train(Bursts(), logs[0], TrainingConfig(steps=50, log_every=5), progress=False)
    assert caught.value.step == 10
    assert [row["step"] for row in caught.value.history] == [5, 10]


def test_objects_that_are_no_agents_are_refused(logs):
    class Idle:
        def act(self, observations):
            return observations

    with pytest.raises(TypeError, match="Idle has no method 'update'"):
        train(Idle(), logs[0], progress=False)


@pytest.mark.parametrize("name", ["drpo", "crr", "iql"])
def test_a_fleet_trains_as_its_learners_alone(logs, small_world, name):
    evaluator = Evaluator(small_world, 300, split="validation")
    fleet = fleet_of(name, overrides=[{"hidden_dim": 8}, {"hidden_dim": 8, "learning_rate": 0.01}])
    own = [logs[member.seed] for member in fleet.members]
    rows = []
    histories = train_fleet(
        fleet,
        own,
        CONFIG,
        evaluator=evaluator,
        on_log=lambda k, row: rows.append((k, row)),
        progress=False,
    )
    assert [row for k, row in rows if k == 2] == histories[2]
    for k, member in enumerate(fleet.members):
        agent = make_agent(
            name, observation_dim=10, action_dim=16, seed=member.seed, **member.overrides
        )
        alone = train(
            agent, logs[member.seed], CONFIG, seed=member.seed, evaluator=evaluator, progress=False
        )
        assert [row["step"] for row in alone] == [0, 10, 15, 20, 30]
        for one, two in zip(alone, histories[k], strict=True):
            assert one.keys() == two.keys()
            for key, value in one.items():
                assert two[key] == pytest.approx(value, rel=1e-3, abs=1e-4), key
        observations = torch.randn(4, 10, generator=torch.Generator().manual_seed(0))
        torch.testing.assert_close(
            fleet.learner(k).act(observations), agent.act(observations), rtol=0, atol=1e-4
        )


def test_training_in_two_halves_is_training_at_once(logs):
    """The order of the data goes by the step that a learner is at."""
    whole = TrainingConfig(steps=20, batch_size=32, log_every=5)
    half = TrainingConfig(steps=10, batch_size=32, log_every=5)
    through, stopped, resumed = (fleet_of(seeds=[seed]) for seed in (3, 3, 9))
    history = train_fleet(through, logs[0], whole, progress=False)[0]
    first = train_fleet(stopped, logs[0], half, progress=False)[0]
    resumed.load_state_dict(stopped.state_dict())
    second = train_fleet(resumed, logs[0], whole, first_step=10, progress=False)[0]
    assert [*first, *second] == history
    for key, value in through.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[key]), key
    alone = fleet_of(seeds=[3]).learner(0)
    rows = train(alone, logs[0], half, seed=3, progress=False)
    rows += train(alone, logs[0], whole, seed=3, first_step=10, progress=False)
    assert [row["step"] for row in rows] == [5, 10, 15, 20]
    torch.testing.assert_close(
        alone.act(torch.ones(2, 10)), through.act(torch.ones(2, 10))[0], rtol=0, atol=1e-5
    )


def test_a_learner_that_froze_on_a_bad_batch_is_reported_though_later_ones_are_harmless(logs):
    full = logs[0].as_batch()
    actions = full.actions.clone()
    actions[17] = 1e30
    log = Transitions(
        torch.stack([full.observations, full.next_observations], dim=1).flatten(0, 1),
        torch.arange(len(logs[0])) * 2,
        actions,
        full.rewards,
        full.terminations,
        {},
    )
    agent = fleet_of("bc", seeds=[0]).learner(0)
    config = TrainingConfig(steps=400, batch_size=32, log_every=100)
    with pytest.raises(DivergedError) as caught:
        train(agent, log, config, progress=False)
    assert caught.value.step == agent.diverged_at < 400


class HostReads(TorchDispatchMode):
    """Counts the operations by which numbers are brought to the host."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.count += function.name() in ("aten::_local_scalar_dense", "aten::nonzero")
        return function(*args, **(kwargs or {}))


def test_nothing_is_brought_to_the_host_between_logged_steps(logs):
    def reads(steps, log_every):
        config = TrainingConfig(steps=steps, batch_size=32, log_every=log_every)
        fleet = fleet_of()
        with HostReads() as counter:
            train_fleet(fleet, logs[0], config, progress=False)
        return counter.count

    with HostReads() as counter:  # it does count them
        assert torch.ones(1) > 0
        torch.ones(2).nonzero()
    assert counter.count == 2
    assert reads(40, 40) == reads(10, 10)


def test_every_learner_may_have_its_own_log(logs):
    """Shifted rewards in one log are seen by the learner of that log alone."""
    shared = fleet_of(seeds=[0, 1])
    own = fleet_of(seeds=[0, 1])
    full = logs[0].as_batch()
    turned = Transitions(
        torch.stack([full.observations, full.next_observations], dim=1).flatten(0, 1),
        torch.arange(len(logs[0])) * 2,
        full.actions.roll(1, dims=0),
        full.rewards,
        full.terminations,
        {},
    )
    train_fleet(shared, logs[0], CONFIG, progress=False)
    train_fleet(own, [logs[0], turned], CONFIG, progress=False)
    first, second = shared.state_dict(), own.state_dict()
    key = "parameters.policy.weight_0"
    assert torch.equal(first[key][0], second[key][0])
    assert not torch.equal(first[key][1], second[key][1])


def test_a_diverged_learner_is_reported_and_the_rest_goes_on(logs, small_world, capsys):
    fleet = fleet_of(
        "apg", seeds=[0], overrides=[{"hidden_dim": 8}, {"hidden_dim": 8, "learning_rate": 1e7}]
    )
    evaluator = Evaluator(small_world, 100, split="validation")
    histories = train_fleet(fleet, logs[0], CONFIG, evaluator=evaluator, progress=False)
    healthy, frozen = fleet.diverged_at.tolist()
    assert healthy == -1
    assert 1 < frozen <= 30
    printed = capsys.readouterr().out
    assert "apg, seed 0, {'hidden_dim': 8, 'learning_rate': 10000000.0}" in printed
    assert f"diverged at step {frozen}; frozen as it was before" in printed
    assert all(math.isfinite(row["loss"]) for row in histories[0] if "loss" in row)
    assert not math.isfinite(histories[1][-1]["loss"])
    # Its frozen policy still has a value.
    assert math.isfinite(histories[1][-1]["ecpm"])
    assert histories[1][-1]["nonfinite_share"] == 0.0


def test_logs_join_in_order_and_only_where_they_fit(logs):
    both = Transitions.concatenated([logs[0], logs[1]])
    assert len(both) == len(logs[0]) + len(logs[1])
    indices = torch.tensor([0, 5, len(logs[0]) - 1])
    for start, log in ((0, logs[0]), (len(logs[0]), logs[1])):
        for one, two in zip(log.take(indices), both.take(indices + start), strict=True):
            if isinstance(one, torch.Tensor):
                assert torch.equal(one, two)
    full = logs[0].as_batch()
    narrow = Transitions(
        torch.zeros(4, 3),
        torch.arange(3),
        full.actions[:3],
        full.rewards[:3],
        full.terminations[:3],
        {},
    )
    with pytest.raises(ValueError, match="different observation_dim cannot be joined: 10, 3"):
        Transitions.concatenated([logs[0], narrow])


def test_a_fleet_takes_one_log_or_one_for_each_learner(logs):
    with pytest.raises(ValueError, match="3 logs for a fleet of 2"):
        train_fleet(fleet_of(), [logs[0]] * 3, CONFIG, progress=False)


@pytest.mark.parametrize("first_step", [-1, 31])
def test_training_goes_on_from_a_step_of_its_own(logs, first_step):
    message = f"first_step={first_step} is not an integer from 0 to 30"
    with pytest.raises(ValueError, match=message):
        train(fresh(), logs[0], CONFIG, first_step=first_step, progress=False)
    with pytest.raises(ValueError, match=message):
        train_fleet(fleet_of(), logs[0], CONFIG, first_step=first_step, progress=False)
