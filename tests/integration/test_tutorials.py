"""The tutorials, line by line on less: what they say is left behind is there."""

from __future__ import annotations

import csv
import os
from functools import partial
from pathlib import Path

import pytest

from recsim_drpo.benchmarks.reproduce.framework.settings import Scale
from recsim_drpo.benchmarks.suites import run as suites
from recsim_drpo.cli import main
from tests.integration.test_docs import ROOT, command_lines, python_blocks

LESS = {
    "generate": ["--rounds", "2000", "--no-card"],
    "train": ["--steps", "3"],
    "evaluate": ["--num-users", "100"],
}


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch, clean_registry) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    monkeypatch.syspath_prepend(tmp_path)


def lines_of(page: str) -> list[list[str]]:
    return [[*map(os.path.expandvars, words)] for words in command_lines(f"docs/tutorials/{page}")]


def run(words: list[str]) -> None:
    assert main([*words, *LESS.get(words[0], [])]) == 0, words


def test_the_first_run(capsys):
    *lines, quick = [words for words in lines_of("first_run.md") if "medium" not in words]
    assert [words[0] for words in lines] == ["generate", "train", "train", "evaluate"]
    assert quick == ["demo", "--quick"]  # tests/cli/test_demo.py runs it
    for words in lines:
        run(words)
    table = capsys.readouterr().out
    rows = ["random", "oracle", *(f"runs/{a}/seed-{k}" for a in ("bc", "drpo") for k in range(3))]
    assert all(f"| {row} " in table for row in rows)


@pytest.mark.slow
def test_your_agent(monkeypatch, capsys):
    scale = Scale(max_rounds=300, steps=3, num_test_users=50, num_validation_users=20)
    monkeypatch.setattr(suites, "run", partial(suites.run, scale=scale))
    monkeypatch.syspath_prepend(ROOT / "examples/td3_bc")
    (block,) = python_blocks("docs/tutorials/your_agent.md")
    Path("mine.py").write_text(block, encoding="utf-8")
    lines = lines_of("your_agent.md")
    quick = [words for words in lines if "--quick" in words]
    assert len(quick) == 3
    for words in (quick[0], quick[2]):  # its short name needs the package installed
        run([{"td3-bc": "td3_bc:TD3BC"}.get(word, word) for word in words])
    printed = capsys.readouterr().out
    assert printed.count("NO EVIDENCE") == 2
    left = {path.name for path in Path("benchmark-zipf-map-1-tenth-quick").iterdir()}
    assert {"results.json", "report.md", "table.tex"} <= left
    full, verify = (words for words in lines if "--quick" not in words)
    assert full[-2:] == ["--tuned-by", "true-reward"]
    assert verify[1:] == ["verify", "benchmark-zipf-map-1-mine-Agent/results.json"]


def test_your_log(capsys):
    pytest.importorskip("pyarrow")
    (block,) = python_blocks("docs/tutorials/your_log.md")
    exec(compile(block, "your_log.md", "exec"), {"__name__": "documentation"})
    assert [len(Path(f"{m}.csv").read_text().splitlines()) for m in ("may", "june")] == [10_001] * 2
    for words in lines_of("your_log.md"):
        run(words)
    printed = capsys.readouterr().out
    assert "10,000 rounds" in printed
    assert "| who logged " in printed
    top, shown = (
        list(csv.DictReader(Path(f"{name}.csv").read_text().splitlines()))
        for name in ("top", "shown")
    )
    assert [row["rank"] for row in top] == ["1", "2", "3"] * 3
    assert len(shown) == 3
    # Of 20 items the best has 0.9 + 0.1 / 20, another 0.1 / 20.
    propensities = {round(float(row["propensity"]), 4) for row in shown}
    assert propensities <= {0.905, 0.005}


@pytest.mark.slow
def test_a_papers_table():
    pytest.importorskip("plotly")
    quick, _, report, _ = lines_of("paper_table.md")
    run(quick)
    text = Path("reproduction-quick/table2/tables.md").read_text(encoding="utf-8")
    assert "| " in text
    run([word.replace("reproduction", "reproduction-quick") for word in report])
    assert Path("report.html").stat().st_size > 100_000
