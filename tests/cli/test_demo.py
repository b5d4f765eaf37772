from __future__ import annotations

import json

import minari
import numpy as np

WORLD = ["--world", "num_items=300", "embedding_dim=16", "num_topics=5"]


def test_demo_end_to_end(run, tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("MINARI_DATASETS_PATH", raising=False)
    out = tmp_path / "demo"
    quick = ["--rounds", 1_000, "--steps", 20, "--seeds", 0, 1, *WORLD]
    assert run("demo", "--out", out, *quick) == 0
    printed = capsys.readouterr().out
    results = json.loads((out / "results.json").read_text())
    assert set(results["references"]) == {"random", "popularity", "logger", "oracle"}
    agents = ("bc", "awr", "asymre", "adaptive-bc", "drpo")
    assert {name: len(each) for name, each in results["agents"].items()} == dict.fromkeys(agents, 2)
    table = (out / "results.md").read_text()
    assert table in printed
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
    assert f"export MINARI_DATASETS_PATH={out / 'minari'}" in printed
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(out / "minari"))
    assert len(minari.list_local_datasets()) == 2
    readme = (out / "runs" / "drpo" / "seed-0" / "README.md").read_text()
    assert "partial" not in readme
    capsys.readouterr()
    assert run("evaluate", out / "runs", "--num-users", 10_000) == 0
    logger = results["references"]["logger"]["ecpm"]["value"]
    assert f"{logger:.3f}" in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["demo"]


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
