from __future__ import annotations

import pytest
import torch

from recsim_drpo import (
    make_agent,
    register_agent,
)
from recsim_drpo.agents import AgentSpec, registry
from recsim_drpo.runs.folder import load_agent, load_config, save_run
from tests.agents.conftest import (
    DIMS,
    TRAINING,
    assert_same,
    make_batch,
)

pytestmark = pytest.mark.usefixtures("clean_registry")


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
