from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from recsim_drpo.cli.app import main
from recsim_drpo.datasets.importing.columns import read_columns

pytest.importorskip("pyarrow")

ITEMS = torch.eye(3)


@pytest.fixture
def log(tmp_path) -> Path:
    generator = np.random.default_rng(0)
    lines = ["item_id,reward,propensity,x"]
    lines += [f"{generator.integers(3)},{k % 2},0.333,{k}" for k in range(200)]
    (tmp_path / "log.csv").write_text("\n".join(lines) + "\n")
    np.save(tmp_path / "items.npy", ITEMS.numpy())
    return tmp_path / "log.csv"


def run(*arguments):
    return main([str(argument) for argument in arguments])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--items is needed"),
        (["--items", "ITEMS"], "A context is needed"),
        (["--items", "ITEMS", "--numbers", "y"], "Unknown column of 'log.csv' 'y'"),
        (["--items", "ITEMS", "--numbers", "x", "--reward", "rewrd"], "Did you mean 'reward'"),
        (
            ["--items", "ITEMS", "--numbers", "x", "--propensity", "p", "--no-propensity"],
            "exclude each other",
        ),
        (["--items", "nowhere.npy", "--numbers", "x"], "no embeddings file"),
        (["--items", "ITEMS", "--columns", "nowhere.json"], "nowhere.json"),
        (["--preset", "open-bandi"], "Did you mean 'open-bandit'"),
        (["--preset", "open-bandit", "--numbers", "x"], "leave out --numbers"),
        (["--preset", "open-bandit", "--hash", "x=3"], "leave out --hash."),
        (["--preset", "open-bandit"], "no item context at"),
        (["--preset", "open-bandit", "--time", "x", "--request", "x"], "no item context at"),
        (["--preset", "open-bandit", "--position", "x"], "leave out --position"),
        (["--items", "ITEMS", "--hash", "x"], "--hash 'x' is not COLUMN=VALUE"),
        (["--items", "ITEMS", "--hash", "x=many"], "'many' is no number of dimensions"),
        (["--items", "ITEMS", "--numbers", "x", "--transform", "x=lgo"], "Did you mean 'log'"),
    ],
)
def test_bad_input_of_import_is_one_line(minari_root, log, capsys, arguments, message):
    given = [log.with_name("items.npy") if one == "ITEMS" else one for one in arguments]
    assert run("import", "own/log-v0", log, *given) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("recsim-drpo: error: ")
    assert message in line
    assert not (minari_root / "own").exists()


def test_the_options_about_the_context_measure_anew(minari_root, log, tmp_path):
    """An option goes before the file's, also where the file has another log's measures."""
    items, written = log.with_name("items.npy"), minari_root / "own/log-v0/columns.json"
    command = ["import", "own/log-v0", log, "--items", items, "--numbers", "x"]
    assert run(*command, "--missing", "refuse") == 0
    kept = tmp_path / "kept.json"
    kept.write_text(written.read_text())
    command = ["import", "own/other-v0", log, "--items", items, "--columns", kept]
    assert run(*command, "--transform", "x=log", "--hash", "reward=4", "--reward", "y") == 2
    assert run(*command, "--transform", "x=log") == 0
    other = read_columns(minari_root / "own/other-v0/columns.json")
    assert other["coding"]["numbers"]["x"]["transform"] == "log"
    assert other["missing"] == "refuse"
    assert read_columns(written)["coding"]["numbers"]["x"]["transform"] == "standardise"


def test_columns_come_from_a_file_and_options_go_before_it(minari_root, log, tmp_path):
    file = tmp_path / "columns.json"
    file.write_text('{"numbers": ["x"], "reward": "nothing", "propensity": null}')
    items = log.with_name("items.npy")
    command = ["import", "own/log-v0", log, "--items", items, "--columns", file]
    assert run(*command, "--reward", "reward", "--clip-rewards", "--reward-range", 0, 0.5) == 0
    card = (minari_root / "own/log-v0/README.md").read_text()
    assert "Propensities are not known" in card
    assert "others are clipped" in card


def refused_values(minari_root, name):
    lines = (minari_root / "own/log-v0" / name).read_text().splitlines()
    return [line.rpartition(",")[2] for line in lines[1:]]


def test_no_refused_value_is_a_formula_where_that_is_asked(minari_root, log, capsys):
    items = log.with_name("items.npy")
    log.write_text(log.read_text() + "=2+3,1,0.3,1\n@SUM(A1),1,0.3,1\n0,-7,0.3,1\n")
    command = ["import", "own/log-v0", log, "--items", items, "--numbers", "x"]
    assert run(*command) == 0
    assert refused_values(minari_root, "refused.csv") == ["=2+3", "@SUM(A1)", "-7"]
    assert run(*command, "--replace", "--excel-safe") == 0
    assert refused_values(minari_root, "refused.csv") == ["'=2+3", "'@SUM(A1)", "-7"]
    assert capsys.readouterr().out.endswith(": README.md, refused.csv.\n")
    assert run("import", "own/log-v0", log, "--append", "--excel-safe") == 0
    assert capsys.readouterr().out.endswith(": README.md, refused-2.csv.\n")
    assert refused_values(minari_root, "refused-2.csv") == ["'=2+3", "'@SUM(A1)", "-7"]
    assert run("import", "own/log-v0", log, "--append") == 0
    assert refused_values(minari_root, "refused-3.csv") == ["=2+3", "@SUM(A1)", "-7"]


def test_a_mostly_refused_log_is_one_line_unless_it_is_allowed(minari_root, log, capsys):
    items = log.with_name("items.npy")
    log.write_text(log.read_text().replace(",1,0.333", ",3,0.333"))
    command = ["import", "own/log-v0", log, "--items", items, "--numbers", "x"]
    assert run(*command) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "100 of 200 rows of 'log.csv' cannot be used" in line
    assert "--reward-range 0 3" in line
    assert not (minari_root / "own").exists()
    assert run(*command, "--max-refused", "0.5") == 0
    assert "All 100 rewards are 0" in capsys.readouterr().out
