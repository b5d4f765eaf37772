from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

import recsim_drpo
from recsim_drpo import (
    Batch,
    agent_names,
    generate_dataset,
    load_transitions,
    make_agent,
    register_agent,
)
from recsim_drpo.agents import AgentSpec, registry
from recsim_drpo.agents.algorithms.bc import BC
from recsim_drpo.agents.builtin import BUILT_IN
from recsim_drpo.agents.protocol import check_agent
from recsim_drpo.cli.app import main
from recsim_drpo.runs.checkpoints import load_state, save_state
from recsim_drpo.runs.folder import load_agent, load_config, save_run
from recsim_drpo.training.config import TrainingConfig
from recsim_drpo.training.loop import train

ROOT = Path(__file__).resolve().parents[2]
WORLD = ["--world", "num_items=300", "embedding_dim=16", "num_topics=5"]
TRAINING = {"steps": 1, "batch_size": 2, "seed": 0}
DIMS = {"observation_dim": 3, "action_dim": 2}

# A third party's module: an agent that says how it was made, and whose state is nested.
MODULE = '''
import torch
from dataclasses import replace
from recsim_drpo.agents.bc import BC

ALGORITHM = replace(BC, name="cloning", summary="cloning under another name")
NUMBER = 3


class Mean:
    """The mean of logged actions.

    Whatever the context.
    """

    def __init__(self, *, observation_dim, action_dim, seed, device, rate=0.5, name_of_rate="x"):
        self.observation_dim, self.action_dim, self.seed = observation_dim, action_dim, seed
        self.hyperparameters = {"rate": rate, "name_of_rate": name_of_rate}
        self.device = device
        self.mean = torch.zeros(action_dim, device=device)
        self.steps = 0

    def update(self, batch):
        self.mean = self.mean.lerp(batch.actions.mean(0), self.hyperparameters["rate"])
        self.steps += 1
        return {"distance": (batch.actions - self.mean).square().mean()}

    def act(self, observations):
        return self.mean.expand(len(observations), -1)

    def state_dict(self):
        return {"mean": self.mean, "more": [{"steps": self.steps}]}

    def load_state_dict(self, state):
        self.mean, self.steps = state["mean"].to(self.device), state["more"][0]["steps"]


class Needy(Mean):
    summary = "needs a hyper-parameter"

    def __init__(self, *, temperature, **others):
        super().__init__(**others)


class Fixed(Mean):
    def __init__(self, observation_dim, action_dim, seed, device):
        super().__init__(
            observation_dim=observation_dim, action_dim=action_dim, seed=seed, device=device
        )


def homeless(observation_dim, action_dim, seed, rate=1.0):
    """Takes no device."""


def actor(observation_dim, action_dim, seed, device):
    """Returns what only acts."""
    class Actor:
        def act(self, observations):
            return observations
        load_state_dict = 3
    return Actor()


class Unkept(Mean):
    def state_dict(self):
        return {"mean": self.mean, "options": {"kind": torch.float32}}
'''


@pytest.fixture(autouse=True)
def _clean(clean_registry):
    """What a test registers is gone after it."""


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A folder on the path that holds ``outside.py``, and into which packages can be put."""
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "outside.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, "outside", raising=False)
    yield folder
    sys.modules.pop("outside", None)


def install(site, package, **entries):
    """What pip leaves of a package that offers agents: its metadata."""
    folder = site / f"{package}-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    lines = [f"{name} = {value}" for name, value in entries.items()]
    (folder / "entry_points.txt").write_text("\n".join(["[recsim_drpo.agents]", *lines, ""]))


def make_batch(size=6, seed=0, terminations=True):
    generator = torch.Generator().manual_seed(seed)
    observations, following = torch.randn(2, size, 3, generator=generator)
    actions = 2.0 * torch.rand(size, 2, generator=generator) - 1.0
    rewards = torch.rand(size, generator=generator)
    ends = torch.full((size,), terminations)
    return Batch(observations, actions, rewards, following, ends)


# By name: module:Class.


def test_a_class_by_module_and_name(site):
    agent = make_agent("outside:Mean", **DIMS, seed=4, rate=0.25)
    assert type(agent).__module__ == "outside"
    assert (agent.seed, agent.device) == (4, torch.device("cpu"))
    assert agent.hyperparameters == {"rate": 0.25, "name_of_rate": "x"}
    assert "outside:Mean" not in agent_names()


def test_an_algorithm_by_module_and_name_learns_as_the_built_in_one(site):
    agents = [make_agent(name, **DIMS, seed=1) for name in ("outside:ALGORITHM", "bc")]
    for agent in agents:
        agent.update(make_batch())
    one, two = (agent.state_dict() for agent in agents)
    assert one.keys() == two.keys()
    assert all(torch.equal(one[key], two[key]) for key in one)


@pytest.mark.parametrize(
    ("reference", "error", "message"),
    [
        ("nowhere:Agent", ImportError, r"ModuleNotFoundError: No module named 'nowhere'"),
        ("outside:Meen", ImportError, r"'outside:Meen' cannot be imported \(AttributeError"),
        ("broken:Agent", ImportError, r"ZeroDivisionError: division by zero"),
        ("outside:NUMBER", TypeError, r"'outside:NUMBER' is a int; agents are made of"),
        ("outside:", ValueError, "not of the form module:Class"),
        (":Mean", ValueError, "not of the form module:Class"),
        ("out side:Mean", ValueError, "not of the form module:Class"),
        ("outside:actor", TypeError, "no method 'update', 'state_dict', 'load_state_dict'"),
        ("outside:Needy", TypeError, "missing a required.* argument: 'temperature'"),
        ("outside:homeless", TypeError, "unexpected keyword argument 'device'"),
    ],
)
def test_what_cannot_be_had_by_module_and_name(site, reference, error, message):
    (site / "broken.py").write_text("1 / 0\n")
    with pytest.raises(error, match=message) as caught:
        make_agent(reference, **DIMS)
    if error is ImportError:
        assert caught.value.__cause__ is not None


def test_hyperparameters_are_checked_by_the_signature(site):
    with pytest.raises(
        ValueError, match=r"hyper-parameter of 'outside:Mean' 'ratte'\. Did .*'rate"
    ):
        make_agent("outside:Mean", **DIMS, ratte=1)
    with pytest.raises(ValueError, match="Known: name_of_rate, rate"):
        make_agent("outside:Mean", **DIMS, momentum=1)
    with pytest.raises(ValueError, match=r"'outside:Fixed' 'rate'\. Known: none"):
        make_agent("outside:Fixed", **DIMS, rate=1)
    # A factory that takes any keyword judges them itself.
    agent = make_agent("outside:Needy", **DIMS, temperature=1, rate=0.125)
    assert agent.hyperparameters["rate"] == 0.125
    with pytest.raises(TypeError, match="unexpected keyword argument 'momentum'"):
        make_agent("outside:Needy", **DIMS, temperature=1, momentum=1)
    for wrong in ({"seed": -1}, {"device": "cuda:9"}):
        with pytest.raises(ValueError, match=f"{next(iter(wrong))}="):
            make_agent("outside:Mean", **DIMS, **wrong)
    for option in ({"dtype": torch.float64}, {"precision": "tf32"}, {"execution": "eager"}):
        with pytest.raises(ValueError, match="'outside:Mean' is from outside: dtype, precision"):
            make_agent("outside:Mean", **DIMS, **option)
        with pytest.raises(ValueError, match="is from outside"):
            AgentSpec("outside:Mean", 3, 2).make(**option)
    with pytest.raises(ValueError, match="observation_dim=0"):
        make_agent("outside:Mean", observation_dim=0, action_dim=2)


# By registration.


def test_a_registered_class_and_factory(site):
    import outside

    assert register_agent("mean", summary="mean of actions")(outside.Mean) is outside.Mean

    @register_agent("half-mean")
    def half(**keywords):
        """Half the mean.

        And more.
        """
        return outside.Mean(rate=0.5, **keywords)

    register_agent("needy")(outside.Needy)
    names = agent_names()
    assert list(names)[-3:] == ["mean", "half-mean", "needy"]
    assert names["mean"] == "mean of actions"
    assert names["half-mean"] == "Half the mean."
    assert names["needy"] == "needs a hyper-parameter"
    assert make_agent("half-mean", **DIMS).hyperparameters["rate"] == 0.5
    with pytest.raises(ValueError, match="Did you mean 'half-mean'"):
        make_agent("half_mean", **DIMS)


def test_a_registered_algorithm_is_as_good_as_a_built_in_one(site, tmp_path):
    import outside

    assert register_agent(outside.ALGORITHM) is outside.ALGORITHM
    assert registry.ALGORITHMS["cloning"] is outside.ALGORITHM
    assert agent_names()["cloning"] == "cloning under another name"
    agent = make_agent("cloning", **DIMS, learning_rate=0.5)
    assert agent.name == "cloning"
    save_run(tmp_path / "run", agent, [], TRAINING, {})
    assert load_agent(tmp_path / "run").hyperparameters["learning_rate"] == 0.5
    with pytest.raises(TypeError, match="has a summary already"):
        register_agent(outside.ALGORITHM, summary="another")


def test_names_that_are_taken_or_malformed(site):
    import outside

    with pytest.raises(ValueError, match=r"outside:Mean cannot be the agent 'drpo'.* a built-in"):
        register_agent("drpo")(outside.Mean)
    register_agent(BC)  # it is that one
    register_agent("mean")(outside.Mean)
    with pytest.raises(ValueError, match="cannot be the agent 'mean': that is outside:Mean"):
        register_agent("mean")(outside.Needy)
    for name in ("", "a:b", "a b", " a"):
        with pytest.raises(ValueError, match="is no name for an agent"):
            register_agent(name)(outside.Mean)
    with pytest.raises(TypeError, match="write @register_agent"):
        register_agent(outside.Mean)
    with pytest.raises(TypeError, match="'three' is a int"):
        register_agent("three")(3)
    assert set(agent_names()) == {*BUILT_IN, "mean"}


def test_defined_again_is_the_new_one(site):
    import importlib

    import outside

    former = register_agent("mean")(outside.Mean)
    register_agent("mean")(importlib.reload(outside).Mean)
    assert type(make_agent("mean", **DIMS)) is outside.Mean is not former


# By entry points.


def test_entry_points_offer_classes_factories_and_algorithms(site):
    install(site, "offers", mean="outside:Mean", cloning="outside:ALGORITHM")
    assert make_agent("bc", **DIMS).name == "bc"
    with pytest.raises(ValueError, match=r"Did you mean 'cloning'.*mean"):
        make_agent("clonning", **DIMS)
    assert "outside" not in sys.modules  # names alone import nothing
    assert type(make_agent("mean", **DIMS)).__name__ == "Mean"
    assert "cloning" not in registry.ALGORITHMS
    assert make_agent("cloning", **DIMS).name == "cloning"
    assert "cloning" in registry.ALGORITHMS
    names = agent_names()
    assert names["mean"] == "The mean of logged actions."
    assert names["cloning"] == "cloning under another name"


def test_an_entry_point_beside_a_decorator_in_its_module(site):
    text = "from recsim_drpo import register_agent\nimport outside\n"
    (site / "decorated.py").write_text(
        text + "Agent = register_agent('mean', summary='mine')(outside.Mean)\n"
    )
    install(site, "offers", mean="decorated:Agent")
    assert agent_names()["mean"] == "mine"


def test_entry_points_that_fail_are_named_and_skipped(site):
    (site / "broken.py").write_text("import no_such_library\n")
    install(
        site, "offers", mean="outside:Mean", wrong="broken:Agent", bc="outside:Mean",
        other="outside:ALGORITHM", number="outside:NUMBER", twice="outside:Mean",
    )  # fmt: skip
    install(site, "rival", twice="outside:Needy")
    with pytest.warns(RuntimeWarning) as caught:
        names = agent_names()
    assert set(names) == {*BUILT_IN, "mean"}
    assert names["bc"] == BC.summary
    said = sorted(str(warning.message) for warning in caught)
    for part in (
        "'wrong' (broken:Agent) cannot be imported (ModuleNotFoundError: No module named 'no_such",
        "outside:Mean cannot be the agent 'bc': that is a built-in agent",
        "'number' (outside:NUMBER) is a int",
        "'other' (outside:ALGORITHM) is an algorithm called 'cloning'",
        "'twice' is offered by several packages: 'outside:Mean', 'outside:Needy'",
    ):
        assert sum(part in one for one in said) == 1, part
    assert len(said) == 5
    assert all(warning.filename == __file__ for warning in caught)
    with pytest.raises(ImportError, match="No module named 'no_such_library'") as error:
        make_agent("wrong", **DIMS)
    assert isinstance(error.value.__cause__, ModuleNotFoundError)
    with pytest.raises(ValueError, match="offered by several packages"):
        make_agent("twice", **DIMS)
    assert make_agent("bc", **DIMS).name == "bc"


# What an agent is.


def test_check_agent_names_what_is_missing(site):
    import outside

    check_agent(make_agent("bc", **DIMS))
    with pytest.raises(TypeError, match="object has no method 'update', 'act', 'state_dict', 'lo"):
        check_agent(object())
    with pytest.raises(TypeError, match="Mean is a class"):
        check_agent(outside.Mean)


# States and run folders.


def assert_same(one, two):
    """A state and what came back of it; an OrderedDict may have become a dictionary."""
    assert isinstance(two, dict) if isinstance(one, dict) else type(two) is type(one)
    if isinstance(one, torch.Tensor):
        assert one.dtype == two.dtype
        assert torch.equal(one.detach(), two)
    elif isinstance(one, dict):
        assert [(type(k), k) for k in one] == [(type(k), k) for k in two]
        for key in one:
            assert_same(one[key], two[key])
    elif isinstance(one, list | tuple):
        assert len(one) == len(two)
        for left, right in zip(one, two, strict=True):
            assert_same(left, right)
    elif isinstance(one, float) and math.isnan(one):
        assert math.isnan(two)
    else:
        assert one == two


def test_a_nested_state_round_trips_exactly(tmp_path):
    module = torch.nn.Linear(2, 3)
    optimizer = torch.optim.Adam(module.parameters(), lr=0.1)
    module(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    base = torch.arange(6.0)
    state = {
        "module": module.state_dict(),
        "optimizer": optimizer.state_dict(),
        "ordered": OrderedDict(b=1, a=2),
        "plain": [None, True, 1, 0.1, -0.0, math.inf, math.nan, 2**70, "ü", "tensor"],
        "nested": ((), [], {}, ([torch.tensor(3)],), {"tensor": "x"}, {"list": [1]}),
        "views": [base[:2], base[1:3], base.view(2, 3).T, base],
        "kinds": [torch.ones(2, dtype=kind) for kind in (torch.bool, torch.uint8, torch.bfloat16)],
        "empty": torch.empty(0, 3),
        "a.b": torch.zeros(1),
        "a": {"b": torch.ones(1)},
        "": {"": torch.full((1,), 2.0)},
        "__metadata__": torch.full((1,), 3.0),
        1: torch.full((1,), 4.0),
        "1": torch.full((1,), 5.0),
        "generator": torch.Generator().manual_seed(0).get_state(),
    }
    save_state(tmp_path / "state", state, "any")
    assert_same(state, load_state(tmp_path / "state"))


def test_a_flat_state_keeps_its_names(tmp_path):
    state = make_agent("drpo", **DIMS).state_dict()
    save_state(tmp_path / "state", state, "drpo")
    with safe_open(tmp_path / "state", framework="pt") as file:
        assert set(file.keys()) == set(state)


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"a": {"b": [1, torch.float32]}}, "value of 'a.b.1' .* cannot be kept: it is a dtype"),
        ({"a": np.ones(2)}, "value of 'a' .* it is a ndarray"),
        ({"a": np.float64(2)}, "value of 'a' .* it is a float64"),
        ({"a": {1, 2}}, "value of 'a' .* it is a set"),
        ({"a": lambda: 0}, "value of 'a' .* it is a function"),
        ({"a": {0.5: 1}}, "key 0.5 in 'a' of the state .* of type float"),
        ({None: 1}, "key None of the state cannot be kept"),
        ({"a": torch.eye(2).to_sparse()}, "'a' .* Tensor of torch.float32, torch.sparse_coo"),
        ({"a": torch.ones(1, dtype=torch.complex64)}, "'a' .* Tensor of torch.complex64"),
        ([torch.ones(1)], "The state is a list; a dictionary is needed"),
    ],
)
def test_states_that_cannot_be_kept(state, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        save_state(tmp_path / "state", state, "any")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "description", ["{", '{"tensor": "y"}', '{"set": []}', '{"a": 1, "b": 2}', '{"dict": [1]}']
)
def test_damaged_descriptions(description, tmp_path):
    metadata = {"format": "recsim_drpo.agent/2", "state": description}
    save_file({"x": torch.zeros(1)}, tmp_path / "state", metadata=metadata)
    with pytest.raises(ValueError, match="does not describe its tensors"):
        load_state(tmp_path / "state")


def test_an_instance_that_says_how_it_was_made(site, tmp_path):
    agent = make_agent("outside:Mean", **DIMS, seed=7, rate=0.25)
    history = [{"step": 1.0} | {k: float(v) for k, v in agent.update(make_batch()).items()}]
    save_run(tmp_path / "run", agent, history, TRAINING, {"dataset": "t-v0"})
    config = load_config(tmp_path / "run")
    assert config["agent"] == "outside:Mean"
    assert config["seed"] == 7
    assert config["hyperparameters"] == {"rate": 0.25, "name_of_rate": "x"}
    assert (config["observation_dim"], config["action_dim"]) == (3, 2)
    assert config["device"] == "cpu"
    restored = load_agent(tmp_path / "run")
    assert (restored.steps, restored.seed, restored.hyperparameters["rate"]) == (1, 7, 0.25)
    assert torch.equal(restored.mean, agent.mean)
    assert not (tmp_path / "run" / "learning_curve.png").exists()  # it has no loss to draw


def test_an_instance_with_a_spec(site, tmp_path):
    import outside

    with registry.restored_registry():
        register_agent("mean")(outside.Mean)
        spec = AgentSpec("mean", 3, 2, 5, {"rate": 0.75})
        agent = spec.make()
        save_run(tmp_path / "run", agent, [], TRAINING, {}, spec)
        config = load_config(tmp_path / "run")
        assert (config["agent"], config["seed"]) == ("mean", 5)
        assert config["hyperparameters"] == {"rate": 0.75}
        assert load_agent(tmp_path / "run").hyperparameters["rate"] == 0.75
    with pytest.raises(ValueError, match=r"Unknown agent 'mean'.*Or name one by module:Class"):
        load_agent(tmp_path / "run")
    learner = make_agent("outside:ALGORITHM", **DIMS, seed=9)
    spec = AgentSpec("outside:ALGORITHM", 3, 2, 9)
    save_run(tmp_path / "learner", learner, [], TRAINING, {}, spec)
    assert load_config(tmp_path / "learner")["seed"] == 9
    assert load_config(tmp_path / "learner")["hyperparameters"]["hidden_dim"] == 128
    assert load_agent(tmp_path / "learner").name == "cloning"


def test_a_factory_that_makes_a_learner_keeps_its_own_hyperparameters(tmp_path):
    @register_agent("small-bc")
    def small(*, width, **keywords):
        return make_agent("bc", hidden_dim=width, **keywords)

    spec = AgentSpec("small-bc", 3, 2, 5, {"width": 4})
    agent = spec.make()
    save_run(tmp_path / "given", agent, [], TRAINING, {}, spec)
    assert load_config(tmp_path / "given")["hyperparameters"] == {"width": 4}
    save_run(tmp_path / "asked", agent, [], TRAINING, {})
    assert load_config(tmp_path / "asked")["agent"] == "bc"
    for folder in ("given", "asked"):
        assert_same(agent.state_dict(), load_agent(tmp_path / folder).state_dict())


def test_instances_that_cannot_be_kept(site, tmp_path):
    import outside

    class Local(outside.Mean):
        pass

    made = {**DIMS, "seed": 0, "device": "cpu"}
    script = type("Script", (outside.Mean,), {"__module__": "__main__"})
    anonymous = outside.Mean(**made)
    del anonymous.seed, anonymous.hyperparameters
    liar = outside.Mean(**made)
    liar.hyperparameters = {"speed": 1}
    spec = AgentSpec("outside:Mean", 3, 2, 0, {"rate": torch.ones(1)})
    for agent, given, error, message in (
        (Local(**made), None, ValueError, "Local cannot be imported by that name from elsewhere"),
        (script(**made), None, ValueError, "__main__:Script cannot be imported"),
        (anonymous, None, ValueError, "outside:Mean has no attribute 'seed', 'hyperparameters'"),
        (make_agent("outside:ALGORITHM", **DIMS), None, ValueError, "Unknown agent 'cloning'"),
        (liar, None, ValueError, "hyper-parameter of 'outside:Mean' 'speed'"),
        (outside.Mean(**made), spec, ValueError, "hyper-parameter rate=tensor.* cannot be kept"),
        (outside.Unkept(**made), None, ValueError, "value of 'options.kind' in the state"),
        (outside.actor(**made), None, TypeError, "Actor has no method 'update'"),
    ):
        with pytest.raises(error, match=message):
            save_run(tmp_path / "run", agent, [], TRAINING, {}, given)
        assert [path.name for path in tmp_path.iterdir()] == ["site"]


# The command line, in this process.


@pytest.fixture
def log(minari_root):
    words = ["generate", "plugins/small-v0", "--scenario", "extreme", "--rounds", "800"]
    assert main([*words, "--no-card", *WORLD]) == 0
    return "plugins/small-v0"


def test_train_and_evaluate_by_module_and_name(site, log, tmp_path, capsys):
    out = tmp_path / "runs"
    quick = ["--dataset", log, "--steps", "20", "--log-every", "10"]
    words = ["train", *quick, "--agent", "outside:Mean", "--seeds", "0", "3", "--set", "rate=0.1"]
    assert main([*words, "--out", str(out / "mean")]) == 0
    assert main(["train", *quick, "--agent", "bc", "--out", str(out / "bc")]) == 0
    config = load_config(out / "mean" / "seed-3")
    assert (config["agent"], config["seed"]) == ("outside:Mean", 3)
    assert config["hyperparameters"] == {"rate": 0.1}
    capsys.readouterr()
    assert main(["evaluate", str(out), "--num-users", "200"]) == 0
    printed = capsys.readouterr().out
    for name in ("bc/seed-0", "mean/seed-0", "mean/seed-3"):
        assert f"\n| {(out / name).as_posix()} " in printed


@pytest.mark.parametrize(
    ("agent", "settings", "message"),
    [
        ("outside:Mean", ["ratte=1"], "Did you mean 'rate'"),
        ("outside:Needy", [], "missing a required"),
        ("outside:actor", [], "Actor has no method 'update'"),
        ("outside:Unkept", [], "value of 'options.kind' in the state cannot be kept"),
        ("nowhere:Mean", [], "No module named 'nowhere'"),
        ("meen", [], "Unknown agent 'meen'. Did you mean 'mean'"),
    ],
)
def test_one_clear_line_before_any_training(site, log, tmp_path, capsys, agent, settings, message):
    install(site, "offers", mean="outside:Mean")
    words = ["train", "--dataset", log, "--agent", agent, "--out", str(tmp_path / "runs")]
    assert main([*words, *(["--set", *settings] if settings else [])]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("recsim-drpo: error: ")
    assert message in line
    assert not (tmp_path / "runs").exists()


# The example package.


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    """The example, built and installed into a folder of its own, without a network."""
    folder = tmp_path_factory.mktemp("example")
    # A copy, so that the build's own folders do not land in the checkout.
    shutil.copytree(ROOT / "examples" / "td3_bc", folder / "source")
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    words = [sys.executable, "-m", "pip", "install", *options, "--target", folder / "site"]
    done = subprocess.run([*words, folder / "source"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "site"


@pytest.fixture
def td3_bc(example, monkeypatch):
    monkeypatch.syspath_prepend(str(example))
    import td3_bc

    yield td3_bc
    del sys.modules["td3_bc"]


def test_the_example_installed_is_listed_trained_and_evaluated(example, tmp_path):
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(example), str(tmp_path / "sibling")]),
        "MINARI_DATASETS_PATH": str(tmp_path / "minari"),
        "OMP_NUM_THREADS": "1",
    }

    def run(*words):
        command = [sys.executable, "-m", "recsim_drpo.cli", *map(str, words)]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done

    (tmp_path / "sibling").mkdir()
    install(tmp_path / "sibling", "sibling", sick="sick_module:Agent")
    listed = run("agents")
    lines = {line.split()[0]: line for line in listed.stdout.splitlines()}
    assert set(lines) == {*BUILT_IN, "td3-bc", "d3rlpy:NAME", "sb3:NAME"}
    summary = "TD3+BC: a deterministic policy, twin critics with targets, and cloning."
    assert lines["td3-bc"].split() == ["td3-bc", *summary.split()]
    assert "'sick' (sick_module:Agent) cannot be imported (ModuleNotFoundError" in listed.stderr

    run(
        "generate",
        "example/small-v0",
        "--scenario",
        "medium",
        "--rounds",
        1_000,
        "--no-card",
        *WORLD,
    )
    quick = ["--dataset", "example/small-v0", "--steps", 200, "--batch-size", 64]
    settings = ["--set", "alpha=1.5", "hidden_dim=32"]
    run("train", *quick, "--agent", "td3-bc", *settings, "--out", "runs/td3-bc")
    config = load_config(tmp_path / "runs" / "td3-bc" / "seed-0")
    assert config["agent"] == "td3-bc"
    assert config["hyperparameters"] == {"alpha": 1.5, "hidden_dim": 32}
    run("train", *quick, "--agent", "bc", "--out", "runs/bc")
    run("evaluate", "runs", "--num-users", 200, "--out", "evaluation")
    results = json.loads((tmp_path / "evaluation" / "evaluation.json").read_text())
    names = ["random", "popularity", "logger", "runs/bc/seed-0", "runs/td3-bc/seed-0", "oracle"]
    assert list(results) == names


def forward(network, inputs):
    """A network of the example in numpy, float64."""
    layers = [(one.weight, one.bias) for one in network if hasattr(one, "weight")]
    for number, (weight, bias) in enumerate(layers):
        inputs = inputs @ weight.detach().double().numpy().T + bias.detach().double().numpy()
        inputs = np.maximum(inputs, 0.0) if number < len(layers) - 1 else inputs
    return inputs


@pytest.mark.parametrize("ends", ["all", "some"])
def test_td3_bc_losses_by_hand(td3_bc, ends):
    agent = make_agent(
        "td3-bc", **DIMS, seed=3, hidden_dim=8, discount=0.9, policy_noise=0.5, noise_clip=0.3
    )
    for step in range(4):  # so that targets differ from networks
        agent.update(make_batch(seed=step, terminations=False))
    batch = make_batch(seed=9)
    if ends == "some":
        batch = batch._replace(terminations=torch.tensor([True, False] * 3))
        assert not torch.equal(
            agent.networks["q1"][0].weight.detach(), agent.targets["q1"][0].weight
        )
    noise = torch.randn(6, 2, generator=torch.Generator().manual_seed(5))
    s, a, r, following, done, _ = (
        part.double().numpy() if isinstance(part, torch.Tensor) else part for part in batch
    )
    smoothing = np.clip(0.5 * noise.double().numpy(), -0.3, 0.3)
    assert (np.abs(smoothing) == 0.3).any()
    target = np.clip(np.tanh(forward(agent.targets["policy"], following)) + smoothing, -1, 1)
    pair = np.concatenate([following, target], axis=1)
    value = np.minimum(*(forward(agent.targets[q], pair)[:, 0] for q in ("q1", "q2")))
    goal = r + 0.9 * (1 - done) * value
    pair = np.concatenate([s, a], axis=1)
    expected = sum(
        ((goal - forward(agent.networks[q], pair)[:, 0]) ** 2).mean() for q in ("q1", "q2")
    )
    assert float(agent.critic_loss(batch, noise).detach()) == pytest.approx(expected, rel=1e-5)
    if ends == "all":
        far = batch._replace(next_observations=torch.full((6, 3), math.nan))
        assert float(agent.critic_loss(far, noise).detach()) == pytest.approx(expected, rel=1e-5)

    own = np.tanh(forward(agent.networks["policy"], s))
    q = forward(agent.networks["q1"], np.concatenate([s, own], axis=1))[:, 0]
    expected = -2.5 / np.abs(q).mean() * q.mean() + ((own - a) ** 2).mean()
    assert float(agent.policy_loss(batch).detach()) == pytest.approx(expected, rel=1e-5)


def test_td3_bc_delays_the_policy_and_moves_targets_slowly(td3_bc):
    agent = make_agent("td3-bc", **DIMS, hidden_dim=8, tau=0.25)
    for step in range(1, 7):
        before = agent.state_dict()
        metrics = agent.update(make_batch(seed=step))
        after = agent.state_dict()
        assert ("policy_loss" in metrics) == (step % 2 == 0)
        for key, value in before["targets"].items():
            own = after["networks"][key]
            moved = 0.75 * value + 0.25 * own if step % 2 == 0 else value
            torch.testing.assert_close(after["targets"][key], moved)
            if key.startswith("policy"):
                assert torch.equal(own, before["networks"][key]) == (step % 2 == 1)
            else:
                assert not torch.equal(own, before["networks"][key])


def test_td3_bc_resumes_to_the_bit_through_a_run_folder(td3_bc, tmp_path):
    spec = AgentSpec("td3-bc", 3, 2, 6, {"hidden_dim": 8, "policy_delay": 3})
    agent = spec.make()
    for step in range(5):
        agent.update(make_batch(seed=step, terminations=False))
    save_run(tmp_path / "run", agent, [], TRAINING, {}, spec)
    resumed = load_agent(tmp_path / "run")
    assert_same(agent.state_dict(), resumed.state_dict())
    for step in range(5, 12):
        batch = make_batch(seed=step, terminations=False)
        one, two = agent.update(batch), resumed.update(batch)
        assert {k: float(v) for k, v in one.items()} == {k: float(v) for k, v in two.items()}
    assert_same(agent.state_dict(), resumed.state_dict())
    assert resumed.step == 12


def test_td3_bc_starts_as_its_seed_says_and_disturbs_no_other_draws(td3_bc):
    def first(seed):
        torch.manual_seed(seed + 100)
        expected = torch.rand(3)
        torch.manual_seed(seed + 100)
        agent = make_agent("td3-bc", **DIMS, seed=seed, hidden_dim=8)
        agent.update(make_batch())
        assert torch.equal(torch.rand(3), expected)
        return agent.act(torch.ones(2, 3))

    assert torch.equal(first(0), first(0))
    assert not torch.equal(first(0), first(1))


def test_td3_bc_learns_from_rewards(td3_bc, minari_root, small_kwargs, small_world):
    """On a log that is mostly random it finds what cloning, its limit at α = 0, cannot."""
    dataset = generate_dataset(
        "t-v0",
        scenario="extreme",
        num_rounds=10_000,
        env_kwargs=small_kwargs,
        card=False,
        progress=False,
    )
    transitions = load_transitions(dataset)

    def value(alpha):
        agent = make_agent(
            "td3-bc",
            observation_dim=10,
            action_dim=16,
            alpha=alpha,
            hidden_dim=64,
            learning_rate=3e-3,
        )
        train(agent, transitions, TrainingConfig(steps=400, batch_size=128), progress=False)
        return recsim_drpo.evaluate(agent, small_world, num_users=1_000).normalized

    cloning, learned = value(0.0), value(0.1)
    assert learned.low > 0.5  # items drawn at random are at 0
    assert learned.low > cloning.high + 0.1
