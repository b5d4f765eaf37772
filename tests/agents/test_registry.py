from __future__ import annotations

import sys

import pytest

from recsim_drpo import (
    agent_names,
    make_agent,
    register_agent,
)
from recsim_drpo.agents import registry
from recsim_drpo.agents.algorithms.bc import BC
from recsim_drpo.agents.builtin import BUILT_IN
from recsim_drpo.cli.app import main
from recsim_drpo.runs.folder import load_agent, save_run
from tests.agents.conftest import DIMS, TRAINING, install

pytestmark = pytest.mark.usefixtures("clean_registry")


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("drop", {}, "Unknown agent 'drop'. Did you mean 'drpo'"),
        ("drpo", {"initial_kapa": 0.3}, "Did you mean 'initial_kappa'"),
        ("bc", {"initial_kappa": 0.3}, "Unknown hyper-parameter of 'bc'"),
        ("drpo", {"initial_kappa": 0.0}, "initial_kappa=0.0"),
        ("drpo", {"min_kappa": 0.6}, "min_kappa=0.6"),
        ("drpo", {"relax_rate": 0.9}, "relax_rate=0.9"),
        ("drpo", {"tighten_rate": 1.1}, "tighten_rate=1.1"),
        ("drpo", {"target_ratio": float("inf") * 0}, "target_ratio=nan"),
        ("bc", {"learning_rate": -1.0}, "learning_rate=-1.0"),
        ("bc", {"num_hidden_layers": 0}, "num_hidden_layers=0"),
        ("bc", {"sigma": "learn"}, "Did you mean 'learned'"),
        ("apg", {"baseline": "valu"}, "Did you mean 'value'"),
        ("drpo", {"baseline": "man"}, "Did you mean 'mean'"),
        ("drpo-exp", {"beta": 0.0}, "beta=0.0"),
        ("awr", {"beta": -1.0}, "beta=-1.0"),
        ("crr", {"form": "exponential"}, "Unknown form"),
        ("crr", {"num_samples": 0}, "num_samples=0"),
        ("iql", {"tau": 1.0}, "tau=1.0"),
        ("iql", {"polyak": 0.0}, "polyak=0.0"),
        ("iql", {"discount": 1.5}, "discount=1.5"),
        ("bppo", {"epsilon": 1.0}, "epsilon=1.0"),
        ("asymre", {"negative_weight": -0.1}, "negative_weight=-0.1"),
        ("asymre-delta", {"delta_v": float("nan")}, "delta_v=nan"),
        ("bc", {"seed": -3}, "seed=-3"),
        ("bc", {"device": "cuda:77"}, "device='cuda:77'"),
    ],
)
def test_bad_arguments_say_what_is_wrong(name, arguments, message):
    with pytest.raises(ValueError, match=message):
        make_agent(name, observation_dim=3, action_dim=2, **arguments)


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


def test_what_is_registered_can_be_read_and_not_written_and_is_forgotten(site):
    import outside

    with registry.restored_registry():
        register_agent(outside.ALGORITHM)
        register_agent("mean")(outside.Mean)
        assert {"cloning", "mean"} <= set(agent_names())
        assert registry.ALGORITHMS["cloning"] is outside.ALGORITHM
    assert set(agent_names()) == set(registry.ALGORITHMS) == set(BUILT_IN)
    with pytest.raises(TypeError, match="does not support item assignment"):
        registry.ALGORITHMS["cloning"] = outside.ALGORITHM


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


def test_to_list_agents_imports_none(site, capsys):
    (site / "hostile.py").write_text("raise SystemExit('it ran')\n")
    install(site, "offers", mean="outside:Mean", wrong="hostile:Agent", bc="hostile:Agent")
    install(site, "rival", twice="outside:Needy")
    install(site, "third", twice="outside:Mean")
    names = agent_names()
    assert names["mean"] == "from a package: outside:Mean of offers"
    assert names["wrong"] == "from a package: hostile:Agent of offers"
    assert names["bc"] == BC.summary
    assert names["twice"].startswith("no agent, as several packages offer it: outside:Mean of ")
    assert main(["agents"]) == 0
    assert "hostile:Agent of offers" in capsys.readouterr().out
    assert not {"outside", "hostile"} & sys.modules.keys()


def test_an_entry_point_beside_a_decorator_in_its_module(site):
    text = "from recsim_drpo import register_agent\nimport outside\n"
    (site / "decorated.py").write_text(
        text + "Agent = register_agent('mean', summary='mine')(outside.Mean)\n"
    )
    install(site, "offers", mean="decorated:Agent")
    assert make_agent("mean", **DIMS)
    assert agent_names()["mean"] == "mine"


def test_entry_points_that_fail_say_why_when_they_are_asked_for(site):
    (site / "broken.py").write_text("import no_such_library\n")
    install(
        site, "offers", mean="outside:Mean", wrong="broken:Agent", bc="outside:Mean",
        other="outside:ALGORITHM", number="outside:NUMBER", twice="outside:Mean",
    )  # fmt: skip
    install(site, "rival", twice="outside:Needy")
    assert set(agent_names()) == {*BUILT_IN, "mean", "wrong", "other", "number", "twice"}
    assert agent_names()["bc"] == BC.summary
    for name, message in {
        "wrong": r"\(broken:Agent\) cannot be imported \(ModuleNotFoundError: No module named 'no_",
        "number": r"\(outside:NUMBER\) is a int",
        "other": r"\(outside:ALGORITHM\) is an algorithm called 'cloning'",
        "twice": "is offered by several packages: 'outside:Mean', 'outside:Needy'",
    }.items():
        with pytest.raises((ImportError, TypeError, ValueError), match=message):
            make_agent(name, **DIMS)
    with pytest.raises(ImportError, match="No module named 'no_such_library'") as error:
        make_agent("wrong", **DIMS)
    assert isinstance(error.value.__cause__, ModuleNotFoundError)
    with pytest.raises(ValueError, match="offered by several packages"):
        make_agent("twice", **DIMS)
    assert make_agent("bc", **DIMS).name == "bc"
