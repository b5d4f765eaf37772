from __future__ import annotations

import json
import sys

import minari
import numpy as np
import pytest

from recsim_drpo import LoggingConfig, agent_names, generate_dataset, load_transitions
from recsim_drpo.cli.app import main
from recsim_drpo.runs.folder import load_config

WORLD = ["--world", "num_items=300", "embedding_dim=16", "num_topics=5"]
QUICK = ["--steps", "20", "--log-every", "10", "--evaluate-every", "10"]


def run(*arguments):
    return main([str(argument) for argument in arguments])


@pytest.fixture
def dataset(minari_root):
    assert (
        run(
            "generate",
            "cli/small-v0",
            "--scenario",
            "extreme",
            "--rounds",
            800,
            "--no-card",
            *WORLD,
        )
        == 0
    )
    return "cli/small-v0"


def test_generate_train_evaluate(dataset, tmp_path, capsys):
    runs = tmp_path / "runs"
    assert (
        run(
            "train",
            "--dataset",
            dataset,
            "--agent",
            "drpo",
            "--seeds",
            0,
            3,
            "--out",
            runs / "drpo",
            "--set",
            "min_kappa=0.1",
            *QUICK,
        )
        == 0
    )
    assert run("train", "--dataset", dataset, "--agent", "bc", "--out", runs / "bc", *QUICK) == 0
    config = load_config(runs / "drpo" / "seed-3")
    assert config["hyperparameters"]["min_kappa"] == 0.1
    assert config["training"]["seed"] == 3
    assert config["source"]["weights"] == {"random": 0.9, "popularity": 0.05, "expert": 0.05}
    capsys.readouterr()
    out = tmp_path / "evaluation"
    assert run("evaluate", runs / "drpo", runs / "bc", "--num-users", 200, "--out", out) == 0
    printed = capsys.readouterr().out
    results = json.loads((out / "evaluation.json").read_text())
    names = [
        "random",
        "popularity",
        "logger",
        *(f"{(runs / n).as_posix()}" for n in ("drpo/seed-0", "drpo/seed-3", "bc/seed-0")),
        "oracle",
    ]
    assert list(results) == names
    for name in names:
        assert f"{results[name]['ecpm']['value']:.3f}" in printed
    assert results["oracle"]["normalized"]["value"] == pytest.approx(1.0)
    assert (out / "evaluation.png").stat().st_size > 1000
    assert (out / "evaluation.md").read_text() in printed


def test_weights_embeddings_and_card(minari_root, tmp_path):
    vectors = np.random.default_rng(0).normal(size=(80, 8)).astype(np.float32)
    np.save(tmp_path / "v.npy", vectors)
    assert (
        run(
            "generate",
            "own-v0",
            "--weights",
            "expert=0.5",
            "random=0.5",
            "--rounds",
            300,
            "--embeddings",
            tmp_path / "v.npy",
            "--normalize",
        )
        == 0
    )
    dataset = minari.load_dataset("own-v0")
    assert dataset.action_space.shape == (8,)
    assert dataset.storage.metadata["weights"]["expert"] == 0.5
    assert (minari_root / "own-v0" / "README.md").exists()


def test_tensorboard(dataset, tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    out = tmp_path / "runs" / "bc"
    assert (
        run(
            *("train", "--dataset", dataset, "--agent", "bc", "--out", out),
            *("--tracker", "tensorboard"),
            *QUICK,
        )
        == 0
    )
    events = EventAccumulator(str(tmp_path / "runs" / "bc" / "tensorboard" / "seed-0"))
    events.Reload()
    assert [event.step for event in events.Scalars("loss")] == [10, 20]


def test_agents_lists_every_agent(capsys):
    assert run("agents") == 0
    lines = capsys.readouterr().out.strip().splitlines()
    names = [line.split()[0] for line in lines]
    assert names == [*agent_names(), "d3rlpy:NAME", "sb3:NAME"]
    assert len(lines) == 13 + 2
    assert all(len(line) > 30 for line in lines)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["generate", "bad", *WORLD], "is not a Minari id"),
        (["generate", "a-v0", "--scenario", "extrem"], "Did you mean 'extreme'"),
        (["generate", "a-v0", "--weights", "expert=2"], "weight of 'expert'=2"),
        (["generate", "a-v0", "--weights", "expert"], "not of the form NAME=VALUE"),
        (["generate", "a-v0", "--rounds", "0"], "num_rounds=0"),
        (["generate", "a-v0", "--world", "dleta=1"], "Did you mean 'delta'"),
        (["generate", "a-v0", "--world", "delta=abc"], "delta='abc'"),
        (["generate", "a-v0", "--embeddings", "nowhere.npy"], "no embeddings file"),
        (["generate", "a-v0", "--device", "cuda:9"], "device='cuda:9'"),
        (["train", "--dataset", "none-v0", "--agent", "bc", "--out", "OUT"], "none-v0"),
        (["train", "--dataset", "DATA", "--agent", "bcc", "--out", "OUT"], "Did you mean 'bc'"),
        (
            ["train", "--dataset", "DATA", "--agent", "bc", "--out", "OUT", "--set", "lr=1"],
            "learning_rate",
        ),
        (
            ["train", "--dataset", "DATA", "--agent", "bc", "--out", "OUT", "--steps", "0"],
            "steps=0",
        ),
        (
            ["train", "--dataset", "DATA", "--agent", "bc", "--out", "OUT", "--seeds", "1", "1"],
            "must be different seeds",
        ),
        (["train", "--dataset", "DATA", "--agent", "bc", "--out", "TAKEN"], "is there already"),
        (["evaluate", "nowhere"], "There is no run in"),
        (["evaluate", "nowhere", "--num-users", "0"], "--num-users=0"),
        (["evaluate", "nowhere", "--out", "OUT"], "There is no run in"),
        (
            ["train", "--dataset", "none-v0", "--agent", "bc", "--out", "OUT"],
            "recsim-drpo generate",
        ),
        (["demo", "--out", "OUT", "--seeds", "0", "0"], "must be different seeds"),
        (["generate", "a-v0", "--world", "decoder=abc"], "'decoder' is not part of it"),
        (["generate", "a-v0", "--world", "interest_sharpness=1e300"], "interest_sharpness=1e+300"),
        (["generate", "a-v0", "--world", "delta=1e-25"], "delta=1e-25"),
        (
            ["train", "--dataset", "DATA", "--agent", "bc", "--out", "OUT", "--set", "seed=3"],
            "--set seed=",
        ),
        (["demo", "--out", "HERE"], "is no demo's folder"),
        (["demo", "--out", "OUT", "--steps", "0"], "steps=0"),
        (["demo", "--out", "OUT", "--scenario", "extrem"], "Did you mean 'extreme'"),
        (["demo", "--out", "OUT", "--embeddings", "nowhere.npy"], "no embeddings file"),
    ],
)
def test_one_clear_line_and_nothing_left(dataset, tmp_path, capsys, arguments, message):
    capsys.readouterr()
    out = tmp_path / "out"
    (tmp_path / "taken" / "seed-0").mkdir(parents=True)
    names = {"OUT": out, "HERE": tmp_path, "TAKEN": tmp_path / "taken", "DATA": dataset}
    before = set(tmp_path.iterdir())
    assert run(*(names.get(argument, argument) for argument in arguments)) == 2
    printed = capsys.readouterr().err.strip().splitlines()
    assert len(printed) == 1
    assert printed[0].startswith("recsim-drpo: error: ")
    assert message in printed[0]
    assert set(tmp_path.iterdir()) == before
    assert list(minari.list_local_datasets()) == [dataset]


def test_runs_of_different_worlds_are_not_compared(dataset, tmp_path, capsys):
    assert run("generate", "cli/other-v0", "--rounds", 400, "--no-card", *WORLD, "delta=0.5") == 0
    for name in (dataset, "cli/other-v0"):
        out = tmp_path / name.split("/")[1]
        assert run("train", "--dataset", name, "--agent", "bc", "--out", out, *QUICK) == 0
    assert run("evaluate", tmp_path / "small-v0", tmp_path / "other-v0") == 2
    assert "learnt from logs of different env_spec" in capsys.readouterr().err


def test_demo_end_to_end(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("MINARI_DATASETS_PATH", raising=False)
    out = tmp_path / "demo"
    quick = ["--rounds", 1_000, "--steps", 60, "--seeds", 0, 1, *WORLD]
    assert run("demo", "--out", out, *quick) == 0
    printed = capsys.readouterr().out
    results = json.loads((out / "results.json").read_text())
    assert set(results["references"]) == {"random", "popularity", "logger", "oracle"}
    assert {name: len(each) for name, each in results["agents"].items()} == {"bc": 2, "drpo": 2}
    table = (out / "results.md").read_text()
    assert table in printed
    for name in ("random", "popularity", "logger", "bc", "drpo", "oracle"):
        assert f"\n| {name} " in table
    mean = np.mean([one["ecpm"]["value"] for one in results["agents"]["drpo"]])
    assert f"| drpo       | {mean:.2f} |" in table
    for name in ("results.png", "learning_curves.png", "dataset/item_map.png", "dataset/README.md"):
        assert (out / name).stat().st_size > 1_000
    assert f"export MINARI_DATASETS_PATH={out / 'minari'}" in printed
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(out / "minari"))
    assert len(minari.list_local_datasets()) == 2
    readme = (out / "runs" / "drpo" / "seed-0" / "README.md").read_text()
    assert "partial" not in readme
    capsys.readouterr()
    assert run("evaluate", out / "runs", "--num-users", 10_000) == 0
    logger = results["references"]["logger"]["ecpm"]["value"]
    assert f"{logger:.3f}" in capsys.readouterr().out
    # Again, over the former one; what others put beside it stays.
    assert run("demo", "--out", out, *quick) == 0
    assert json.loads((out / "results.json").read_text())["agents"] == results["agents"]
    assert [path.name for path in tmp_path.iterdir()] == ["demo"]


@pytest.mark.parametrize("command", ["", "generate", "train", "evaluate", "demo", "agents"])
def test_help_is_there_for_every_command(command, capsys):
    with pytest.raises(SystemExit) as stopped:
        run(*command.split(), "--help")
    assert stopped.value.code == 0
    text = capsys.readouterr().out
    assert text.startswith(f"usage: recsim-drpo {command}".rstrip())


def test_evaluate_uses_the_logging_agent_of_the_log(minari_root, tmp_path, capsys):
    """The logger's row is that of the mixture that was logged, its temperatures too."""
    config = LoggingConfig(expert_temperature=10.0)
    kwargs = {"num_items": 300, "embedding_dim": 16, "num_topics": 5}
    dataset = generate_dataset(
        "cli/hot-v0",
        scenario={"expert": 1.0},
        logging_config=config,
        num_rounds=4_000,
        env_kwargs=kwargs,
        card=False,
        progress=False,
    )
    latent = load_transitions(dataset, infos=["latent_reward"]).infos["latent_reward"]
    out = tmp_path / "hot"
    assert run("train", "--dataset", "cli/hot-v0", "--agent", "bc", "--out", out, *QUICK) == 0
    assert run("evaluate", out, "--out", tmp_path / "e") == 0
    results = json.loads((tmp_path / "e" / "evaluation.json").read_text())
    assert results["logger"]["reward"]["value"] == pytest.approx(float(latent.mean()), abs=0.01)


def test_runs_named_twice_or_of_different_loggers(dataset, tmp_path, capsys):
    assert run("generate", "cli/medium-v0", "--rounds", 400, "--no-card", *WORLD) == 0
    for name in (dataset, "cli/medium-v0"):
        out = tmp_path / "runs" / name.split("/")[1]
        assert run("train", "--dataset", name, "--agent", "bc", "--out", out, *QUICK) == 0
    capsys.readouterr()
    assert run("evaluate", tmp_path / "runs" / "small-v0", tmp_path / "runs" / "small-v0") == 2
    assert "named twice" in capsys.readouterr().err
    assert run("evaluate", tmp_path / "runs") == 2
    assert "learnt from logs of different weights" in capsys.readouterr().err


def test_an_evaluation_is_whole_or_not_there(dataset, tmp_path, monkeypatch, capsys):
    out = tmp_path / "run"
    assert run("train", "--dataset", dataset, "--agent", "bc", "--out", out, *QUICK) == 0
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert run("evaluate", out, "--num-users", 50, "--out", tmp_path / "plain") == 0
    assert {p.name for p in (tmp_path / "plain").iterdir()} == {"evaluation.md", "evaluation.json"}
    monkeypatch.setattr("recsim_drpo.cli.app.plots.estimates", lambda *_: 1 / 0)
    assert run("evaluate", out, "--num-users", 50, "--out", tmp_path / "gone") == 2
    assert not any("gone" in path.name for path in tmp_path.iterdir())


def test_demo_keeps_what_others_put_into_its_folder(tmp_path, capsys):
    out = tmp_path / "demo"
    quick = ["--rounds", 300, "--steps", 5, "--seeds", 4, *WORLD]
    assert run("demo", "--out", out, *quick) == 0
    printed = capsys.readouterr().out
    assert "nan" not in printed
    assert "1 seed |" in printed
    precious = out / "minari" / "mine" / "precious-v0"
    precious.mkdir(parents=True)
    assert run("demo", "--out", out, *quick) == 2
    assert "not of its making" in capsys.readouterr().err
    assert precious.exists()


def test_an_option_given_twice_adds_and_a_name_given_twice_is_refused(
    minari_root, tmp_path, capsys
):
    assert run("generate", "t-v0", "--rounds", 500, "--no-card", *WORLD) == 0
    train = ["train", "--dataset", "t-v0", "--agent", "drpo", "--steps", 5]
    out = tmp_path / "runs"
    assert (
        run(
            *train,
            "--out",
            out,
            "--set",
            "target_ratio=0.3",
            "--set",
            "hidden_dim=8",
            "--seeds",
            1,
            "--seeds",
            2,
            "--precision",
            "bf16",
        )
        == 0
    )
    config = json.loads((out / "seed-2" / "config.json").read_text())
    assert config["hyperparameters"]["target_ratio"] == 0.3
    assert config["hyperparameters"]["hidden_dim"] == 8
    assert config["training"]["precision"] == "bf16"
    assert not (out / "seed-0").exists()
    assert run(*train, "--out", tmp_path / "x", "--set", "hidden_dim=8", "hidden_dim=9") == 2
    assert "'hidden_dim' is given twice" in capsys.readouterr().err
    (tmp_path / "file").touch()
    assert run(*train, "--out", tmp_path / "file" / "x") == 2
    assert "is a file" in capsys.readouterr().err
