"""Experiments by name: what a run leaves, and how it goes on."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from recsim_drpo import cli
from recsim_drpo.benchmarks.reproduce import experiments as experiments_package, runner
from recsim_drpo.benchmarks.reproduce.experiments import (
    figure1,
    figure6,
    worlds as robustness,
)
from recsim_drpo.benchmarks.reproduce.framework import settings
from recsim_drpo.benchmarks.reproduce.framework.conditions import (
    OtherWorld,
)
from recsim_drpo.benchmarks.reproduce.publishing.claims import claims_page
from recsim_drpo.reporting import paper
from tests.benchmarks.reproduce.small import TINY, tiny

FACTS = {
    "figure_6b": list(paper.FIGURE_6B / paper.FIGURE_6B[0]),
    "figure_6b_misfit": 0.5,
} | {
    f"{name}_{key}": value
    for name in ("medium", "extreme")
    for key, value in (("deciles", list(range(9))), ("figure_1_misfit", 1.5), ("zipf", 0.9))
}


def experiments(*worlds):
    """Those that look at other worlds, with given ones in place of those that take a search."""
    return dict(runner.EXPERIMENTS) | {
        part.NAME: replace(part.EXPERIMENT, run=partial(part.run, elsewhere=worlds))
        for part in (figure1, figure6, robustness)
    }


def test_every_module_of_an_experiment_is_run_by_name():
    folder = Path(experiments_package.__file__).parent
    modules = {path.stem for path in folder.glob("*.py")} - {"__init__"}
    named = {name.replace("-", "_") for name in runner.EXPERIMENTS}
    assert named - {"figure2", "theory"} == {n for n in modules if not n.endswith("_claims")}
    assert all(name == known.name for name, known in runner.EXPERIMENTS.items())


@pytest.mark.parametrize(
    "name",
    [
        *("table1", "worlds", "table2", "table6", "figure3"),
        pytest.param("readings", marks=pytest.mark.slow),
    ],
)
def test_an_experiment_leaves_tables_pictures_and_verdicts(name, tmp_path):
    elsewhere = OtherWorld(3, {"delta": 0.3}, {}, 400, {})
    returned = runner.reproduce([name], tiny(tmp_path), experiments(elsewhere))
    folder = tmp_path / name
    result = json.loads((folder / "result.json").read_text())
    assert returned == [result]
    assert result["quick"] is True
    assert result["experiment"] == name
    assert result["plans"][0]["training"]["steps"] == TINY.steps
    assert {"revision", "versions", "device", "wall_time_s"} <= result.keys()
    assert result["verdicts"]
    for verdict in result["verdicts"]:
        assert f"reproduce {name}" in verdict["command"]
    text = (folder / "tables.md").read_text()
    assert "Only the full run is evidence" in text
    for table in result["tables"]:
        assert table["title"] in text
        assert all(len(row) == len(table["header"]) for row in table["rows"])
    pictures = {path.suffix for path in folder.iterdir() if name in path.name and path.is_file()}
    assert pictures == {".png", ".svg"}
    assert isinstance(json.loads((folder / "panels.json").read_text()), list)
    assert runner.as_markdown(result) == text
    if name == "worlds":
        logs = result["plans"][0]["conditions"]
        assert [point["label"] for point in result["data"]["points"]] == [
            log["label"] for log in logs
        ]
        for point, log in zip(result["data"]["points"], logs, strict=True):
            assert point["log"]["rounds"] == log["num_rounds"]


def test_the_command_runs_an_experiment_and_prints_its_tables(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(settings, "QUICK", TINY)
    assert cli.main(["reproduce", "table2", "--quick", "--seeds", "1", "--processes", "1"]) == 0
    printed = capsys.readouterr().out
    assert "# table2 (quick)" in printed
    folder = tmp_path / "reproduction-quick" / "table2"
    tables, claims, _ = (folder / "tables.md").read_text().partition("| claim ")
    assert claims
    assert tables in printed
    result = json.loads((folder / "result.json").read_text())
    assert result["plans"][0]["seeds"] == [0]
    assert result["plans"][0]["training"]["steps"] == TINY.steps
    for verdict in result["verdicts"]:
        assert f"\n{verdict['verdict'].upper()}: {verdict['claim']}\n" in printed
    # What follows it in the README finds what it left.
    pytest.importorskip("plotly")
    assert cli.main(["report"]) == 0
    assert "what is in reproduction-quick/" in capsys.readouterr().out
    assert (tmp_path / "report.html").exists()
    (tmp_path / "reproduction").mkdir()  # one that is there is taken at its word
    assert cli.main(["report"]) == 2
    assert "(--results)" in capsys.readouterr().err


def test_verdicts_fit_a_terminal():
    long = "a word or two " * 40
    verdict = {"claim": "Claim 1", "statement": long, "paper": "", "ours": "0.5", "because": long}
    verdict |= {"verdict": "does not hold", "command": "none"}
    text = runner.as_text(
        {"experiment": "e", "quick": False, "tables": [], "verdicts": [verdict]}, width=60
    )
    lines = text.splitlines()
    assert max(map(len, lines)) <= 60
    assert lines[:4] == [
        "# e",
        "",
        "DOES NOT HOLD: Claim 1",
        "  it says: a word or two a word or two a word or two a word",
    ]
    assert (
        text.count("a word or two")
        + text.count("a word or\n    two")
        + text.count("a word\n    or two")
        + text.count("a\n    word or two")
        == 80
    )
    assert "paper" not in text
    assert "\n  ours: 0.5\n" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["tabel1"], "Did you mean 'table1'"),
        (["table1", "--processes", "0"], "processes=0"),
        (["table1", "--seeds", "0"], "seeds=0"),
        (["table1", "--device", "cuda:77"], "device='cuda:77'"),
        (["table1", "--engine", "rai"], "Did you mean 'ray'"),
        (["table1", "--engine", "ray", "--gpus-per-task", "1"], "add --device cuda"),
        (["table1", "--engine", "ray", "--device", "cuda", "--gpus-per-task", "0"], "take 0.25"),
        (["table1", "--engine", "ray", "--device", "cuda:1"], "take cpu or cuda"),
        (["table1", "--engine", "ray", "--device", "cuda", "--gpus-per-task", "1.5"], "=1.5 is"),
        (["table1", "--engine", "ray", "--address", "a:1", "--processes", "2"], "leave it out"),
        (["table1", "--address", "a:1"], "--engine ray"),
        (["table1", "--engine", "ray"], "pip install 'recsim-drpo[ray]'"),
    ],
)
def test_mistakes_are_found_before_any_work(arguments, message, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "ray", None)  # as if it was not installed
    assert cli.main(["reproduce", *arguments]) == 2
    assert message in capsys.readouterr().err
    assert list(Path(tmp_path).iterdir()) == []


@pytest.mark.parametrize(("name", "pieces", "pictures"), [("figure1", 4, 2), ("figure6", 2, 3)])
def test_a_figure_of_the_world_leaves_everything_and_goes_on(
    name, pieces, pictures, tmp_path, monkeypatch
):
    known = experiments(OtherWorld(1, {}, {}, 100, FACTS))
    result = runner.reproduce([name], tiny(tmp_path), known)[0]
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    assert (result["experiment"], result["quick"]) == (name, True)
    assert len(list((tmp_path / name / name / "records").iterdir())) == pieces
    for kind in ("png", "svg"):
        assert len(list((tmp_path / name).glob(f"*.{kind}"))) == pictures
    text = (tmp_path / name / "tables.md").read_text()
    for table in result["tables"]:
        assert table["title"] in text
        assert all(len(row) == len(table["header"]) for row in table["rows"])
    assert {one["command"] for one in result["verdicts"]} == {f"recsim-drpo reproduce {name}"}
    assert f"{name}: 2 seeds" in claims_page([{**result, "pictures": []}])

    def fail(*arguments):
        raise AssertionError("a finished piece is measured again")

    monkeypatch.setattr({"figure1": figure1, "figure6": figure6}[name], "measure", fail)
    again = known[name].run(tiny(tmp_path / name))
    assert again["verdicts"] == result["verdicts"]
    with pytest.raises(ValueError, match="another configuration"):
        runner.reproduce([name], tiny(tmp_path, num_seeds=3), known)
