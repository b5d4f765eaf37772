from __future__ import annotations

import shutil
import warnings
from functools import partial
from itertools import islice

import pytest
import torch

from recsim_drpo import make_agent
from recsim_drpo.agents import Batch
from recsim_drpo.agents.engine import compiling, options, programs
from recsim_drpo.agents.engine.learner import Learner
from recsim_drpo.training import TrainingConfig, train_fleet
from tests.agents.conftest import (
    DIMS,
    assert_same_updates,
    eager_and,
    fleet_of,
    of_learner,
    random_batches,
    transitions_of,
)

needs_compiler = pytest.mark.skipif(
    not any(map(shutil.which, ("g++", "clang++", "c++"))), reason="needs a C++ compiler"
)
KINDS = ["bc", "drpo", "drpo-q", "iql", "awr"]


def interpreted(graph, example):
    """The graph of a program as it is, in place of what would be compiled of it."""
    return graph


@pytest.fixture
def uncompiled(monkeypatch):
    """Programs are traced as ever, and not compiled."""
    monkeypatch.setattr(programs, "_compiled", interpreted)


@pytest.mark.usefixtures("uncompiled")
@pytest.mark.parametrize("name", KINDS)
def test_programs_are_the_eager_update_with_its_metrics(name):
    eager, traced = eager_and("compile", name)
    assert_same_updates(eager, traced, islice(random_batches(len(eager), dtype=torch.float64), 3))


@pytest.mark.usefixtures("uncompiled")
def test_one_learner_whose_targets_begin_as_its_networks_is_overwritten_right():
    """Its targets are the same tensors as its networks until they are made its own."""
    eager, traced = (
        make_agent("iql", **DIMS, execution=how, dtype=torch.float64)
        for how in ("eager", "compile")
    )
    batches = islice(random_batches(1, dtype=torch.float64), 3)
    assert_same_updates(eager, traced, (of_learner(batch, 0) for batch in batches))


@pytest.mark.usefixtures("uncompiled")
def test_a_log_std_at_its_bound_stays_there():
    fleet = fleet_of("bc", overrides=[{"learning_rate": 0.9}], execution="compile")
    batches = random_batches(len(fleet))
    seen = []
    for _ in range(12):
        fleet.update(next(batches))
        seen.append(fleet.state_dict()["parameters.log_std"])
    assert torch.stack(seen).min() >= -5.0
    assert (torch.stack(seen) == -5.0).any() or (torch.stack(seen) == 2.0).any()


@pytest.mark.usefixtures("uncompiled")
def test_what_was_taken_out_before_is_not_overwritten():
    fleet = fleet_of("iql", execution="compile")
    batches = random_batches(len(fleet))
    fleet.update(next(batches))
    kept = fleet.state_dict()
    batch = next(batches)
    after = fleet.update(batch)["loss"]
    assert not torch.equal(
        kept["parameters.policy.weight_0"], fleet.state_dict()["parameters.policy.weight_0"]
    )
    fleet.load_state_dict(kept)
    assert torch.equal(fleet.update(batch)["loss"], after)


@pytest.mark.usefixtures("uncompiled")
def test_transposed_columns_are_read_by_their_values():
    batch = next(random_batches(2))
    turned = batch._replace(actions=batch.actions.mT.contiguous().mT)
    one, other = (fleet_of("bc", execution="compile") for _ in range(2))
    assert torch.equal(one.update(batch)["loss"], other.update(turned)["loss"])


def test_columns_that_a_loss_does_not_read_are_no_inputs():
    graph, reads = programs._traced(
        lambda a, b, c: [a * 2.0, c], [torch.ones(2), torch.ones(3), torch.ones(4)]
    )
    assert reads == [True, False, True]
    assert [n.op for n in graph.graph.nodes].count("placeholder") == 2


def test_programs_of_different_functions_shapes_and_constants_have_different_names():
    def name(function, size=3):
        example = [torch.ones(size)]
        return programs._key(programs._traced(function, example)[0], example)

    same = [name(lambda a: [a * 2.0]) for _ in range(2)]
    others = [name(lambda a: [a * 3.0]), name(lambda a: [a * 2.0], size=4)]
    for value in (3.0, 4.0):
        held = torch.tensor([1.0, 2.0, value])
        others.append(name(partial(lambda held, a: [a + held], held)))
    assert same[0] == same[1]
    assert len({same[0], *others}) == 5


def log_and_steps(steps):
    rows = of_learner(next(random_batches(1, 64)), 0)
    config = TrainingConfig(steps=steps, batch_size=8, log_every=1, evaluate_every=1)
    return transitions_of(Batch(*rows)), config


def trained(fleet, steps):
    log, config = log_and_steps(steps)
    train_fleet(fleet, log, config, progress=False)
    return fleet.state_dict()


@pytest.mark.parametrize("execution", ["auto", "eager"])
def test_long_trainings_are_compiled_of_themselves(monkeypatch, execution):
    compiled = []

    def noted(graph, example):
        compiled.append(graph)
        return graph

    monkeypatch.setattr(programs, "_compiled", noted)
    monkeypatch.setattr("recsim_drpo.agents.engine.engine.COMPILED_FROM", 4)
    trained(fleet_of("bc", execution=execution), 3)
    assert compiled == []
    trained(fleet_of("bc", execution=execution), 4)
    assert len(compiled) == (execution == "auto")


@pytest.mark.usefixtures("uncompiled")
def test_long_trainings_of_one_learner_are_compiled_too(monkeypatch):
    monkeypatch.setattr("recsim_drpo.agents.engine.engine.COMPILED_FROM", 4)
    agent = make_agent("bc", **DIMS)
    assert isinstance(agent, Learner)
    log, _ = log_and_steps(4)
    agent.make_train_step(log, 8, updates=3)
    assert not isinstance(agent._engine._advance, compiling.CompiledUpdate)
    agent.make_train_step(log, 8, updates=4)
    assert isinstance(agent._engine._advance, compiling.CompiledUpdate)


def test_without_a_compiler_long_trainings_say_so_and_are_eager(monkeypatch):
    def fails(graph, example):
        raise RuntimeError("No working C++ compiler found.")

    monkeypatch.setattr(programs, "_compiled", fails)
    monkeypatch.setattr("recsim_drpo.agents.engine.engine.COMPILED_FROM", 4)
    with pytest.warns(UserWarning, match="'bc' trains without torch's compiler.*No working C"):
        state = trained(fleet_of("bc"), 4)
    eager = trained(fleet_of("bc", execution="eager"), 4)
    assert all(torch.equal(state[key], value) for key, value in eager.items())
    with pytest.raises(RuntimeError, match="No working C"):
        fleet_of("bc", execution="compile").update(next(random_batches(2)))


def test_short_trainings_warn_of_nothing(monkeypatch):
    monkeypatch.setattr(programs, "_compiled", None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        trained(fleet_of("bc"), 4)
    assert TrainingConfig().steps < options.COMPILED_FROM


@pytest.mark.slow
@needs_compiler
def test_a_program_is_found_again_and_compiled_once(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    batch = next(random_batches(2))
    first = fleet_of("bc", execution="compile")
    losses = [first.update(batch)["loss"] for _ in range(2)]

    def not_again(*arguments, **options):
        raise AssertionError("compiled again")

    monkeypatch.setattr("torch._inductor.standalone_compile", not_again)
    second = fleet_of("bc", execution="compile")
    assert all(torch.equal(second.update(batch)["loss"], loss) for loss in losses)
    (kept,) = (tmp_path / "recsim_drpo").iterdir()
    kept.write_bytes(b"damaged")
    with pytest.raises(AssertionError, match="compiled again"):
        fleet_of("bc", execution="compile").update(batch)
