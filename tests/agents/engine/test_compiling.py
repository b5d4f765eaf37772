from __future__ import annotations

import os
import shutil
import subprocess
import sys
import warnings
from functools import partial
from itertools import islice
from types import MappingProxyType

import pytest
import torch

from recsim_drpo import make_agent
from recsim_drpo.agents import Batch
from recsim_drpo.agents.engine import compiling, options, programs, sources
from recsim_drpo.agents.engine.learner import Learner
from recsim_drpo.core.transitions import Transitions
from recsim_drpo.training import TrainingConfig, train_fleet
from tests.agents.conftest import (
    DIMS,
    assert_close,
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
def uncompiled(monkeypatch, tmp_path):
    """Programs are traced as ever, and neither compiled nor found."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
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
    graph, reads, names = programs._traced(
        lambda a, b, c: {"x": a * 2.0, "y": c}, [torch.ones(2), torch.ones(3), torch.ones(4)]
    )
    assert reads == [True, False, True]
    assert names == ["x", "y"]
    assert [n.op for n in graph.graph.nodes].count("placeholder") == 2


def test_programs_of_different_functions_shapes_and_constants_have_different_names():
    def name(function, size=3):
        example = [torch.ones(size)]
        graph, _, _ = programs._traced(function, example)
        return programs._path_of(programs._written(graph), example)

    same = [name(lambda a: {"x": a * 2.0}) for _ in range(2)]
    others = [name(lambda a: {"x": a * 3.0}), name(lambda a: {"x": a * 2.0}, size=4)]
    for value in (3.0, 4.0):
        held = torch.tensor([1.0, 2.0, value])
        others.append(name(partial(lambda held, a: {"x": a + held}, held)))
    assert same[0] == same[1]
    assert len({same[0], *others}) == 5


def test_descriptions_that_tell_functions_apart_are_looked_up_under_different_names():
    example = [torch.ones(3)]
    plain = programs._path_of("double", example)
    assert plain == programs._path_of("double", [torch.zeros(3)])
    others = {
        programs._path_of("triple", example),
        programs._path_of("double", [torch.ones(4)]),
        programs._path_of("double", [torch.ones(3, dtype=torch.float64)]),
    }
    with torch.autocast("cpu", torch.bfloat16):
        others.add(programs._path_of("double", example))
    assert len({plain, *others}) == 5


def log_and_steps(steps, **options):
    rows = of_learner(next(random_batches(1, 64, **options)), 0)
    config = TrainingConfig(steps=steps, batch_size=8, log_every=1, evaluate_every=1)
    return transitions_of(Batch._make(rows)), config


def trained(fleet, steps):
    log, config = log_and_steps(steps)
    train_fleet(fleet, log, config, progress=False)
    return fleet.state_dict()


@pytest.fixture
def gathered(monkeypatch):
    """Names of the columns that are left out of each batch that is gathered."""
    left_out = []
    take = Transitions.take

    def noted(log, indices, unread=MappingProxyType({})):
        left_out.append(sorted(unread))
        return take(log, indices, unread)

    monkeypatch.setattr(Transitions, "take", noted)
    return left_out


UNREAD = {
    "bc": ["infos.propensity", "next_observations", "rewards", "terminations"],
    "drpo": ["infos.propensity", "next_observations", "terminations"],
    "iql": ["infos.propensity"],
}


@pytest.mark.usefixtures("uncompiled")
@pytest.mark.parametrize("name", UNREAD)
@pytest.mark.parametrize("ends", ["all", "some", "unknown"])
def test_what_is_not_read_is_not_gathered_and_changes_nothing(gathered, name, ends):
    log, config = log_and_steps(4, episodes=ends == "some", dtype=torch.float64)
    if ends == "unknown":
        log = log.with_room(len(log), log.device)
    fleets = [fleet_of(name, execution=how, dtype=torch.float64) for how in ("eager", "compile")]
    for fleet in fleets:
        train_fleet(fleet, log, config, progress=False)
    assert_close(*(fleet.state_dict() for fleet in fleets))
    known = ["next_observations", "terminations"] if name == "iql" and ends == "all" else []
    assert gathered[-1] == sorted([*UNREAD[name], *known])


@pytest.mark.usefixtures("uncompiled")
def test_an_update_between_those_of_a_log_that_terminates_always_looks_at_terminations():
    log, _ = log_and_steps(4, dtype=torch.float64)
    fleets = [fleet_of("iql", execution=how, dtype=torch.float64) for how in ("eager", "compile")]
    batch = next(random_batches(2, dtype=torch.float64, episodes=True))
    assert not batch.terminations.all()
    for fleet in fleets:
        step = fleet.make_train_step(log, 8)
        for start in (0, 8):
            step(torch.arange(start, start + 8).expand(len(fleet), -1))
            fleet.update(batch)
    assert_close(*(fleet.state_dict() for fleet in fleets))


def test_what_a_mask_of_ones_covers_is_not_computed():
    def function(a, b):
        return {"x": a + b.exp().masked_fill(torch.ones_like(a, dtype=torch.bool), 3.0)}

    graph, reads, _ = programs._traced(function, [torch.ones(2), torch.ones(2)])
    assert reads == [True, False]
    assert graph(torch.tensor([1.0, 2.0]))[0].tolist() == [4.0, 5.0]


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
    with monkeypatch.context() as patched:  # whatever describes it: by its trace
        patched.setattr(sources, "_digest_of_code", lambda: None)
        third = fleet_of("bc", execution="compile")
        assert all(torch.equal(third.update(batch)["loss"], loss) for loss in losses)
    states = [fleet.state_dict() for fleet in (first, second, third)]
    assert all(torch.equal(states[0][key], state[key]) for state in states for key in state)
    kept = [file for file in (tmp_path / "recsim_drpo").iterdir() if file.is_file()]
    assert sorted(file.suffix for file in kept) == [".json", ".py"]
    for file in kept:
        file.write_bytes(b"damaged")
    with pytest.raises(AssertionError, match="compiled again"):
        fleet_of("bc", execution="compile").update(batch)


STARTS = """
import sys, torch
from recsim_drpo.agents.fleet import Fleet
from tests.agents.conftest import fleet_of, random_batches
fleet = fleet_of(sys.argv[1], execution="compile")
print(fleet.update(next(random_batches(len(fleet))))["loss"].tolist())
print([name for name in ("torch._inductor", "torch._dynamo", "sympy") if name in sys.modules])
"""


@pytest.mark.slow
@needs_compiler
@pytest.mark.parametrize("name", ["bc", "iql", "drpo"])
def test_the_next_process_imports_no_compiler_and_computes_the_same(tmp_path, name):
    environment = os.environ | {"TORCHINDUCTOR_CACHE_DIR": str(tmp_path)}

    def start():
        command = [sys.executable, "-c", STARTS, name]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        return done.stdout.splitlines()

    (first, imported), (second, none) = start(), start()
    assert first == second
    assert "torch._inductor" in imported
    assert none == "[]"
