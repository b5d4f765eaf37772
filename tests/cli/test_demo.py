from __future__ import annotations

import json
import time
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from types import SimpleNamespace

import minari
import numpy as np
import pytest

from recsim_drpo.cli import demo_report, main

WORLD = ["--world", "num_items=300", "embedding_dim=16", "num_topics=5"]


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    """What a quick demo printed and left, how its pictures are labelled, and its CPU time."""
    labels = {}

    def noting(draw):
        def drawn(path, *rest):
            labels[path] = rest[-1]
            return draw(path, *rest)

        return drawn

    with pytest.MonkeyPatch.context() as patch, redirect_stdout(StringIO()) as told:
        patch.delenv("MINARI_DATASETS_PATH", raising=False)
        patch.chdir(tmp_path_factory.mktemp("quick"))
        for name in ("estimates", "learning_curves"):
            patch.setattr(demo_report.plots, name, noting(getattr(demo_report.plots, name)))
        started = time.process_time()
        assert main(["demo", "--quick"]) == 0
        seconds = time.process_time() - started
        (out,) = Path.cwd().iterdir()
    results = json.loads((out / "results.json").read_text())
    return SimpleNamespace(
        out=out, printed=told.getvalue(), results=results, labels=labels, seconds=seconds
    )


def test_demo_end_to_end(quick, run, capsys, monkeypatch):
    out, results = quick.out, quick.results
    assert set(results["references"]) == {"random", "popularity", "logger", "oracle"}
    agents = ("bc", "awr", "asymre", "adaptive-bc", "two-tower", "drpo")
    assert {name: len(each) for name, each in results["agents"].items()} == dict.fromkeys(agents, 2)
    table = (out / "results.md").read_text()
    assert table in quick.printed
    for name in ("random", "popularity", "logger", *agents, "oracle"):
        assert f"\n| {name} " in table
    ecpm = {
        name: np.array([one["ecpm"]["value"] for one in each])
        for name, each in results["agents"].items()
    }
    assert f"| drpo        | {ecpm['drpo'].mean():.2f} |" in table
    of_pairs = table.partition("| drpo minus")[2]
    for name in agents[:-1]:
        difference = ecpm["drpo"] - ecpm[name]
        # Student's t of one degree of freedom, at 97.5 %: of two seeds.
        margin = 12.7062 * difference.std(ddof=1) / np.sqrt(2)
        low, high = difference.mean() - margin, difference.mean() + margin
        row = next(line for line in of_pairs.splitlines() if line.startswith(f"| {name} "))
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        assert cells[1:] == [f"{difference.mean():+.2f}", f"{low:+.2f} to {high:+.2f}"]
    for name in ("results.png", "learning_curves.png", "dataset/item_map.png", "dataset/README.md"):
        assert (out / name).stat().st_size > 1_000
    assert f"export MINARI_DATASETS_PATH={out / 'minari'}" in quick.printed
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(out / "minari"))
    assert len(minari.list_local_datasets()) == 2
    readme = (out / "runs" / "drpo" / "seed-0" / "README.md").read_text()
    assert "partial" not in readme
    assert run("evaluate", out / "runs", "--num-users", 1_000) == 0
    logger = results["references"]["logger"]["ecpm"]["value"]
    assert f"{logger:.3f}" in capsys.readouterr().out


@pytest.mark.slow
def test_demo_keeps_what_others_put_into_its_folder(run, tmp_path, capsys):
    out = tmp_path / "demo"
    quick = ["--rounds", 300, "--steps", 5, "--seeds", 4, *WORLD]
    assert run("demo", "--out", out, *quick) == 0
    printed = capsys.readouterr().out
    assert "nan" not in printed
    assert "1 seed |" in printed
    assert "covers 0" not in printed  # there is no interval
    results = json.loads((out / "results.json").read_text())
    # Again, over the former one; what others put beside it stays.
    assert run("demo", "--out", out, *quick) == 0
    assert json.loads((out / "results.json").read_text())["agents"] == results["agents"]
    assert [path.name for path in tmp_path.iterdir()] == ["demo"]
    precious = out / "minari" / "mine" / "precious-v0"
    precious.mkdir(parents=True)
    assert run("demo", "--out", out, *quick) == 2
    assert "not of its making" in capsys.readouterr().err
    assert precious.exists()


def test_a_quick_demo_takes_seconds_and_says_that_it_is_no_evidence(quick):
    assert quick.seconds < 40  # of CPU time; without what importing takes
    assert quick.out.name == "demo-quick"  # beside a demo in full, not over it
    assert "\n\nA QUICK RUN, NO EVIDENCE" in (quick.out / "results.md").read_text()
    size = {name: quick.results[name] for name in ("quick", "num_rounds", "steps", "seeds")}
    assert size == {"quick": True, "num_rounds": 4_000, "steps": 200, "seeds": [0, 1]}
    own = {path.name: label for path, label in quick.labels.items() if "runs" not in path.parts}
    assert own == {
        "results.png": "eCPM on test users, 95 % interval (a quick run, no evidence)",
        "learning_curves.png": "eCPM on validation users (a quick run, no evidence)",
    }


def test_what_is_given_goes_before_what_quick_would_choose(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = ["--rounds", 300, "--steps", 5, "--seeds", 7, "--world", "num_items=20"]
    assert run("demo", "--quick", "--out", "other", *given) == 0
    results = json.loads((tmp_path / "other" / "results.json").read_text())
    assert [results[name] for name in ("num_rounds", "steps", "seeds")] == [300, 5, [7]]
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "other" / "minari"))
    (dataset,) = minari.list_local_datasets()
    world = minari.load_dataset(dataset).env_spec.kwargs
    assert (world["num_items"], world["embedding_dim"]) == (20, 16)


def test_a_demo_in_full_is_not_marked():
    setting = demo_report.Setting("extreme", 100_000, 3_000, (0, 1, 2))
    assert "EVIDENCE" not in demo_report._text(setting, "", {})
