from __future__ import annotations

import json

import minari
import numpy as np

WORLD = ["--world", "num_items=300", "embedding_dim=16", "num_topics=5"]


def test_demo_end_to_end(run, tmp_path, capsys, monkeypatch):
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


def test_demo_keeps_what_others_put_into_its_folder(run, tmp_path, capsys):
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
