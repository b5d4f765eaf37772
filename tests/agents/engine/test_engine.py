from __future__ import annotations

import shutil
from contextlib import nullcontext
from itertools import islice

import pytest
import torch

from recsim_drpo import make_agent
from recsim_drpo.agents import Batch, Fleet
from tests.agents.conftest import (
    NAMES,
    SCHEDULES,
    alone,
    assert_close,
    assert_same_updates,
    eager_and,
    fleet_of,
    of_learner,
    random_batches,
    transitions_of,
    with_infos,
)


@pytest.mark.parametrize("name", ["bc", "drpo", "iql"])
def test_bfloat16_learns_nearly_the_same(name):
    exact, rounded = (fleet_of(name, precision=p) for p in ("float32", "bf16"))
    batches = random_batches(2)
    for _ in range(20):
        batch = next(batches)
        losses = [fleet.update(batch)["loss"] for fleet in (exact, rounded)]
    assert not torch.equal(*losses)
    torch.testing.assert_close(*losses, rtol=0.05, atol=0.05)
    assert rounded.act(batch.observations).dtype == torch.float32


@pytest.mark.parametrize("name", ["bc", "drpo-q"])
def test_in_bfloat16_a_fleet_and_a_learner_alone_sum_in_the_same_type(name):
    fleet = fleet_of(name, precision="bf16")
    learner = alone(fleet.members[1], name, precision="bf16")
    batches = random_batches(2)
    for _ in range(3):
        batch = next(batches)
        together, separate = fleet.update(batch), learner.update(of_learner(batch, 1))
    for key, value in separate.items():
        assert value.dtype == together[key].dtype, key
        torch.testing.assert_close(together[key][1], value, rtol=0.02, atol=0.02)


def test_a_log_that_does_not_fit_is_refused_before_training():
    batch = of_learner(next(random_batches(1)), 0)
    for wrong, message in (
        (batch._replace(actions=batch.actions[:, :1]), "action_dim='1'"),
        (
            batch._replace(observations=torch.zeros(16, 4), next_observations=torch.zeros(16, 4)),
            "observation_dim='4'",
        ),
    ):
        for agent in (fleet_of("bc"), make_agent("bc", observation_dim=3, action_dim=2)):
            with pytest.raises(ValueError, match=message):
                agent.make_train_step(transitions_of(wrong), 8)


@pytest.mark.slow
@pytest.mark.skipif(
    not any(map(shutil.which, ("g++", "clang++", "c++"))), reason="torch.compile needs a compiler"
)
@pytest.mark.parametrize("name", NAMES)
def test_compiled_steps_are_the_eager_ones(name):
    eager, compiled = eager_and("compile", name)
    batches = islice(random_batches(len(eager), dtype=torch.float64), 20)
    assert_same_updates(eager, compiled, batches, rtol=1e-9)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", NAMES)
def test_a_captured_graph_is_the_eager_step(name):
    eager, captured = eager_and("graph", name, device="cuda")
    rows = of_learner(next(random_batches(1, 64, dtype=torch.float64)), 0)
    infos = {name: column.cuda() for name, column in rows.infos.items()}
    log = transitions_of(Batch(*(column.cuda() for column in rows[:5]), infos))
    generator = torch.Generator("cuda").manual_seed(0)
    steps = [fleet.make_train_step(log, 16) for fleet in (eager, captured)]
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(50):
            indices = torch.randint(64, (len(eager), 16), generator=generator, device="cuda")
            for step in steps:
                step(indices)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert_close(eager.state_dict(), captured.state_dict())
    # The graph owns the state: what changes it otherwise has to reach the graph.
    fresh = eager_and("graph", name, device="cuda")[0].state_dict()
    for fleet, step in zip((eager, captured), steps, strict=True):
        fleet.load_state_dict(fresh)
        fleet.sample(log.observations())
        step(indices)
        fleet.update(with_infos(log.take(indices), torch.Generator("cuda").manual_seed(0)))
        step(indices)
    assert_close(eager.state_dict(), captured.state_dict())


def test_a_state_dict_is_contiguous_as_checkpoints_need_it():
    fleet = Fleet("iql", observation_dim=3, action_dim=4, seeds=[0, 1])
    for holder in (fleet, fleet.learner(1)):
        assert all(tensor.is_contiguous() for tensor in holder.state_dict().values())


def poisoned(batch, number):
    """A batch whose far actions make policy gradients of learner ``number`` overflow.

    Its propensities are no numbers, for agents whose gradients of far actions vanish.
    """
    actions, propensities = batch.actions.clone(), batch.infos["propensity"].clone()
    actions[number], propensities[number] = 1e30, torch.nan
    return batch._replace(actions=actions, infos={**batch.infos, "propensity": propensities})


@pytest.mark.parametrize("name", NAMES)
def test_a_diverging_learner_is_frozen_and_touches_no_neighbour(name):
    overrides = [{"hidden_dim": 8, **SCHEDULES[20].get(name, {})}]
    fleet = fleet_of(name, seeds=[0, 1, 2], overrides=overrides)
    healthy = fleet_of(name, seeds=[0, 1, 2], overrides=overrides)
    batches = random_batches(3)
    for step in range(1, 13):
        batch = next(batches)
        before = fleet.learner(1).state_dict()
        fleet.update(poisoned(batch, 1) if step == 6 else batch)
        healthy.update(batch)
        if step == 6:
            frozen = before
    assert fleet.diverged_at.tolist() == [-1, 6, -1]
    after, reference = fleet.state_dict(), healthy.state_dict()
    for key, value in reference.items():
        for k in (0, 2):
            assert torch.equal(after[key][k], value[k]), key
    for key, value in fleet.learner(1).state_dict().items():
        if key not in ("step", "diverged_at"):
            assert torch.equal(value, frozen[key]), key
    assert bool(torch.isfinite(fleet.act(torch.zeros(4, 3))).all())
    assert fleet.learner(1).diverged_at == 6
    assert fleet.learner(0).diverged_at is None


@pytest.mark.parametrize("name", ["apg", "asymre-delta"])
def test_a_finite_gradient_whose_square_overflows_freezes_at_once(name):
    """Adam's second moment would be infinite, and the parameters NaN one update later."""
    fleet = fleet_of(name, seeds=[0, 1])
    batches = random_batches(2)
    fleet.update(next(batches))
    batch = next(batches)
    rewards = batch.rewards.clone()
    rewards[0] *= 1e25
    before = fleet.learner(0).state_dict()
    metrics = fleet.update(batch._replace(rewards=rewards))
    assert bool(torch.isfinite(metrics["loss"][0]))
    for _ in range(4):
        fleet.update(next(batches))
    assert fleet.diverged_at.tolist() == [2, -1]
    for key, value in fleet.learner(0).state_dict().items():
        if key not in ("step", "diverged_at"):
            assert torch.equal(value, before[key]), key


def test_an_apg_learner_that_overflows_by_itself_leaves_the_others_as_they_were():
    """Plain policy gradient on signed advantages, with a step length that runs away."""
    overrides = [{"learning_rate": 3e-4}, {"learning_rate": 1e6}, {"learning_rate": 1e-3}]
    fleet = fleet_of("apg", seeds=[5], overrides=overrides)
    others = fleet_of("apg", seeds=[5], overrides=[overrides[0], overrides[2]])
    batches = random_batches(3)
    for _ in range(150):
        batch = next(batches)
        fleet.update(batch)
        others.update(Batch(*(getattr(batch, f)[[0, 2]] for f in Batch._fields[:5])))
    first, second, third = fleet.diverged_at.tolist()
    assert first == third == -1
    assert 1 < second <= 150
    for k, j in ((0, 0), (2, 1)):
        torch.testing.assert_close(
            fleet.state_dict()["parameters.policy.weight_0"][k],
            others.state_dict()["parameters.policy.weight_0"][j],
        )


def compiler_limits():
    settings = torch._dynamo.config
    names = ("recompile_limit", "cache_size_limit")
    return {name: getattr(settings, name) for name in names if hasattr(settings, name)}


@pytest.mark.parametrize("fails", [False, True])
def test_the_compilers_settings_are_changed_only_while_it_runs(monkeypatch, fails):
    before, seen = compiler_limits(), []

    def compile_nothing(function, **options):
        def run(*arguments):
            seen.append(compiler_limits())
            if fails:
                raise RuntimeError("no compiler")
            return function(*arguments)

        return run

    monkeypatch.setattr(torch, "compile", compile_nothing)
    monkeypatch.setattr("recsim_drpo.agents.engine.engine.available", lambda: False)
    fleet = fleet_of("bc", execution="compile")
    assert compiler_limits() == before
    with pytest.raises(RuntimeError, match="no compiler") if fails else nullcontext():
        fleet.update(next(random_batches(2)))
    assert compiler_limits() == before
    assert seen == [dict.fromkeys(before, 256)]
