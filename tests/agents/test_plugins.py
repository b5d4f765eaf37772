from __future__ import annotations

import pytest
import torch

from recsim_drpo import (
    agent_names,
    make_agent,
)
from recsim_drpo.agents import AgentSpec
from recsim_drpo.cli import main
from recsim_drpo.runs.folder import load_config
from recsim_drpo.training.config import TrainingConfig
from recsim_drpo.training.loop import train
from tests.agents.conftest import (
    DIMS,
    install,
    make_batch,
    transitions_of,
)

pytestmark = pytest.mark.usefixtures("clean_registry")


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


@pytest.mark.parametrize("name", ["bind", "make_train_step"])
def test_an_agent_from_outside_may_make_its_own_training_step(site, name):
    import outside

    class Stepping(outside.Mean):
        def update(self, batch):
            raise AssertionError("its own step is there")

    def make(self, transitions, batch_size):
        assert batch_size == 4
        return lambda indices: outside.Mean.update(self, transitions.take(indices))

    setattr(Stepping, name, make)
    keywords = {**DIMS, "seed": 0, "device": "cpu"}
    plain, stepping = outside.Mean(**keywords), Stepping(**keywords)
    log = transitions_of(make_batch(16))
    config = TrainingConfig(steps=3, batch_size=4)
    histories = [train(agent, log, config, progress=False) for agent in (plain, stepping)]
    assert histories[0] == histories[1]
    assert torch.equal(plain.mean, stepping.mean)


WORLD = ["--world", "num_items=300", "embedding_dim=16", "num_topics=5"]


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
