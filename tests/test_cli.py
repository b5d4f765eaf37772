from __future__ import annotations

import json
import subprocess
import sys

import minari
import numpy as np
import pytest

from recsim_drpo import agent_names
from recsim_drpo.cli import main
from recsim_drpo.runs import load_config

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
        run("train", "--dataset", dataset, "--agent", "bc", "--out", out, "--tensorboard", *QUICK)
        == 0
    )
    events = EventAccumulator(str(tmp_path / "runs" / "bc" / "tensorboard" / "seed-0"))
    events.Reload()
    assert [event.step for event in events.Scalars("loss")] == [10, 20]


def test_agents_lists_every_agent(capsys):
    assert run("agents") == 0
    lines = capsys.readouterr().out.strip().splitlines()
    assert [line.split()[0] for line in lines] == list(agent_names())
    assert len(lines) == 12
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
    assert "different environments" in capsys.readouterr().err


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
    assert run("evaluate", out / "runs" / "drpo-seed0", "--num-users", 100) == 0
    # Again, over the former one; what others put beside it stays.
    assert run("demo", "--out", out, *quick) == 0
    assert json.loads((out / "results.json").read_text())["agents"] == results["agents"]
    assert [path.name for path in tmp_path.iterdir()] == ["demo"]


def test_help_is_there_for_every_command():
    for command in ((), ("generate",), ("train",), ("evaluate",), ("demo",), ("agents",)):
        done = subprocess.run(
            [sys.executable, "-m", "recsim_drpo.cli", *command, "--help"],
            capture_output=True,
            text=True,
            check=True,
        )
        assert "recsim-drpo" in done.stdout
        if not command:
            break
