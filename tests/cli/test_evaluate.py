from __future__ import annotations

import json
import sys

import pytest

from recsim_drpo import LoggingConfig, generate_dataset, load_transitions
from recsim_drpo.runs.folder import load_config

WORLD = ["--world", "num_items=300", "embedding_dim=16", "num_topics=5"]
QUICK = ["--steps", "20", "--log-every", "10", "--evaluate-every", "10"]


def test_generate_train_evaluate(run, dataset, tmp_path, capsys):
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


def test_runs_of_different_worlds_are_not_compared(run, dataset, tmp_path, capsys):
    assert run("generate", "cli/other-v0", "--rounds", 400, "--no-card", *WORLD, "delta=0.5") == 0
    for name in (dataset, "cli/other-v0"):
        out = tmp_path / name.split("/")[1]
        assert run("train", "--dataset", name, "--agent", "bc", "--out", out, *QUICK) == 0
    assert run("evaluate", tmp_path / "small-v0", tmp_path / "other-v0") == 2
    assert "learnt from logs of different env_spec" in capsys.readouterr().err


def test_evaluate_uses_the_logging_agent_of_the_log(run, minari_root, tmp_path, capsys):
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


def test_runs_named_twice_or_of_different_loggers(run, dataset, tmp_path, capsys):
    assert run("generate", "cli/medium-v0", "--rounds", 400, "--no-card", *WORLD) == 0
    for name in (dataset, "cli/medium-v0"):
        out = tmp_path / "runs" / name.split("/")[1]
        assert run("train", "--dataset", name, "--agent", "bc", "--out", out, *QUICK) == 0
    capsys.readouterr()
    assert run("evaluate", tmp_path / "runs" / "small-v0", tmp_path / "runs" / "small-v0") == 2
    assert "named twice" in capsys.readouterr().err
    assert run("evaluate", tmp_path / "runs") == 2
    assert "learnt from logs of different weights" in capsys.readouterr().err


def test_an_evaluation_is_whole_or_not_there(run, dataset, tmp_path, monkeypatch, capsys):
    out = tmp_path / "run"
    assert run("train", "--dataset", dataset, "--agent", "bc", "--out", out, *QUICK) == 0
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert run("evaluate", out, "--num-users", 50, "--out", tmp_path / "plain") == 0
    assert {p.name for p in (tmp_path / "plain").iterdir()} == {"evaluation.md", "evaluation.json"}
    monkeypatch.setattr("recsim_drpo.reporting.plots.estimates", lambda *_: 1 / 0)
    assert run("evaluate", out, "--num-users", 50, "--out", tmp_path / "gone") == 2
    assert not any("gone" in path.name for path in tmp_path.iterdir())
