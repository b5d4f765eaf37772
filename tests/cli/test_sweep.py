from __future__ import annotations

import csv
import json

import pytest

pytest.importorskip("optuna", exc_type=ImportError)

QUICK = ["--steps", 20, "--batch-size", 16, "--together", 2, "--fresh-seeds", 2]


def test_a_sweep_from_the_command_line_and_what_it_leaves(run, dataset, tmp_path, capsys):
    out = tmp_path / "out"
    words = ["sweep", "--dataset", dataset, "--agent", "drpo", "--optimize", "offline"]
    assert run(*words, "--out", out, "--trials", 3, *QUICK) == 0
    printed = capsys.readouterr().out
    assert "Retrained on seeds 1000 to 1001, value by test users" in printed
    result = json.loads((out / "result.json").read_text())
    assert result["plan"]["optimize"] == "offline"
    assert set(result["winner"]) == {"learning_rate", "initial_kappa", "target_ratio"}
    assert len(result["values"]["winner"]) == 2
    assert result["gap"]["trials"] >= 1
    rows = list(csv.DictReader((out / "trials.csv").read_text().splitlines()))
    assert [row["trial"] for row in rows] == ["0", "1", "2"]
    assert {"true-reward", "offline", "updates"} <= rows[0].keys()
    assert {path.name for path in out.iterdir()} >= {"slices.png", "history.png", "report.md"}
    assert run("evaluate", out / "winner", "--num-users", 100) == 0
    assert run(*words, "--out", out, "--trials", 3, *QUICK) == 2
    assert "holds a finished sweep" in capsys.readouterr().err


def test_an_agent_is_given_what_it_reads_of_the_log(run, dataset, tmp_path):
    words = ["sweep", "--dataset", dataset, "--agent", "two-tower-ips", "--optimize", "offline"]
    assert run(*words, "--out", tmp_path / "out", "--trials", 2, *QUICK) == 0


@pytest.mark.slow
def test_several_processes_share_the_trials(run, dataset, tmp_path):
    out = tmp_path / "out"
    words = ["sweep", "--dataset", dataset, "--agent", "bc", "--optimize", "true-reward"]
    assert run(*words, "--out", out, "--trials", 5, "--processes", 2, *QUICK) == 0
    counts = json.loads((out / "result.json").read_text())["trials"]
    assert sum(counts.values()) == 5


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--agent", "bc", "--optimize", "reward"], "Unknown criterion 'reward'"),
        (["--agent", "nobody", "--optimize", "offline"], "nobody"),
        (["--agent", "bc", "--optimize", "offline", "--range", "tau=0:1"], "tau"),
        (["--agent", "bc", "--optimize", "offline", "--sampler", "best"], "Unknown sampler"),
        (["--agent", "bc", "--optimize", "offline", "--trials", "0"], "trials=0"),
        (["--agent", "bc", "--optimize", "offline", "--held-out", "1"], "held_out=1"),
        (["--agent", "d3rlpy:BC", "--optimize", "offline"], "nothing to search"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(run, dataset, tmp_path, capsys, words, says):
    out = tmp_path / "out"
    assert run("sweep", "--dataset", dataset, "--out", out, *words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert says in line
    assert not out.exists()
