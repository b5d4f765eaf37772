"""Sessions by command: logged, learnt from and evaluated."""

from __future__ import annotations

import json

from recsim_drpo.cli import main

ENV = "RecSimZipfSession-v0"
SMALL = {"num_items": 300, "embedding_dim": 16, "num_topics": 5}


def run(*arguments):
    return main([str(argument) for argument in arguments])


def test_generate_train_evaluate_by_command(minari_root, tmp_path, capsys):
    world = [f"{name}={value}" for name, value in SMALL.items()]
    common = ["--rounds", 400, "--no-card", "--world", *world, "max_steps=8"]
    assert run("generate", "cli/sessions-v0", "--env", ENV, *common) == 0
    runs = tmp_path / "runs"
    training = ["--steps", 20, "--log-every", 10, "--evaluate-every", 10]
    assert (
        run("train", "--dataset", "cli/sessions-v0", "--agent", "iql", "--out", runs, *training)
        == 0
    )
    assert "return" in (runs / "seed-0" / "history.csv").read_text().splitlines()[0].split(",")
    capsys.readouterr()
    out = tmp_path / "evaluation"
    assert run("evaluate", runs, "--num-users", 100, "--out", out) == 0
    printed = capsys.readouterr().out
    results = json.loads((out / "evaluation.json").read_text())
    mine = (runs / "seed-0").as_posix()
    assert list(results) == ["random", "popularity", "logger", mine, "myopic", "far-sighted"]
    for result in results.values():
        assert f"{result['session_return']['value']:.3f}" in printed
        assert result["session_length"]["value"] <= 8
    assert (out / "evaluation.png").stat().st_size > 1000
