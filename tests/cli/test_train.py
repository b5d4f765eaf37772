from __future__ import annotations

import json
from contextlib import contextmanager

import pytest
import torch

from recsim_drpo.core import files
from recsim_drpo.training import sweep

WORLD = ["--world", "num_items=300", "embedding_dim=16", "num_topics=5"]
QUICK = ["--steps", "20", "--log-every", "10", "--evaluate-every", "10"]


def test_tensorboard(run, dataset, tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    out = tmp_path / "runs" / "bc"
    assert (
        run(
            *("train", "--dataset", dataset, "--agent", "bc", "--out", out),
            *("--tracker", "tensorboard"),
            *QUICK,
        )
        == 0
    )
    events = EventAccumulator(str(tmp_path / "runs" / "bc" / "tensorboard" / "seed-0"))
    events.Reload()
    assert [event.step for event in events.Scalars("loss")] == [10, 20]


def test_an_option_given_twice_adds_and_a_name_given_twice_is_refused(
    run, minari_root, tmp_path, capsys
):
    assert run("generate", "t-v0", "--rounds", 500, "--no-card", *WORLD) == 0
    train = ["train", "--dataset", "t-v0", "--agent", "drpo", "--steps", 5]
    out = tmp_path / "runs"
    assert (
        run(
            *train,
            "--out",
            out,
            "--set",
            "target_ratio=0.3",
            "--set",
            "hidden_dim=8",
            "--seeds",
            1,
            "--seeds",
            2,
            "--precision",
            "bf16",
        )
        == 0
    )
    config = json.loads((out / "seed-2" / "config.json").read_text())
    assert config["hyperparameters"]["target_ratio"] == 0.3
    assert config["hyperparameters"]["hidden_dim"] == 8
    assert config["training"]["precision"] == "bf16"
    assert not (out / "seed-0").exists()
    assert run(*train, "--out", tmp_path / "x", "--set", "hidden_dim=8", "hidden_dim=9") == 2
    assert "'hidden_dim' is given twice" in capsys.readouterr().err
    (tmp_path / "file").touch()
    assert run(*train, "--out", tmp_path / "file" / "x") == 2
    assert "is a file" in capsys.readouterr().err


def test_of_two_that_train_into_one_folder_one_is_told_so_before_it_trains(
    run, dataset, tmp_path, monkeypatch, capsys
):
    out, claimed = tmp_path / "out", files.claimed
    words = ["train", "--dataset", dataset, "--agent", "bc", "--steps", 2, "--out", out]
    with claimed(out / "seed-0"):
        assert run(*words) == 2
    assert "Another process is making" in capsys.readouterr().err

    @contextmanager
    def after_the_other(*folders):
        with claimed(*folders):
            folders[0].mkdir(parents=True)  # it was done since this one first looked
            yield

    monkeypatch.setattr(files, "claimed", after_the_other)
    assert run(*words) == 2
    assert "is there already" in capsys.readouterr().err
    assert list((out / "seed-0").iterdir()) == []


def test_threads_are_as_asked_and_one_by_default(run, dataset, monkeypatch, tmp_path):
    seen = []
    monkeypatch.setattr(sweep, "train_many", lambda *_, **__: seen.append(torch.get_num_threads()))
    before = torch.get_num_threads()
    words = ["train", "--dataset", dataset, "--agent", "bc", "--steps", 2, "--out"]
    assert run(*words, tmp_path / "one") == 0
    assert run(*words, tmp_path / "three", "--threads", 3) == 0
    assert run(*words, tmp_path / "none", "--threads", 0) == 2
    assert seen == [1, 3]
    assert torch.get_num_threads() == before


def test_several_datasets_are_one_log(run, minari_root, tmp_path, capsys):
    small = ["--scenario", "extreme", "--no-card", *WORLD]
    assert run("generate", "all-v0", "--rounds", 21_000, *small) == 0
    assert run("generate", "all-v0", "--rounds", 21_000, "--shards", 2, *small) == 0
    shards = ["all-1-of-2-v0", "all-2-of-2-v0"]
    for out, names in (("one", ["all-v0"]), ("two", shards)):
        words = ["train", "--dataset", *names, "--agent", "bc", "--out", tmp_path / out]
        assert run(*words, *QUICK) == 0
    one, two = (tmp_path / out / "seed-0" for out in ("one", "two"))
    assert (one / "history.csv").read_bytes() == (two / "history.csv").read_bytes()
    source = json.loads((two / "config.json").read_text())["source"]
    assert (source["dataset"], source["datasets"]) == (shards[0], shards)
    assert "`all-1-of-2-v0`, `all-2-of-2-v0`" in (two / "README.md").read_text()
    assert run("evaluate", two, "--num-users", 200) == 0
    capsys.readouterr()
    assert run("ope", two, "--dataset", shards[1]) == 0
    assert "learnt from this very log" in capsys.readouterr().out
    assert run("generate", "other-v0", "--rounds", 100, "--no-card", *WORLD[:-1]) == 0
    words = ["train", "--dataset", shards[0], "other-v0", "--agent", "bc", "--out", tmp_path / "x"]
    assert run(*words) == 2
    assert "'all-1-of-2-v0' and 'other-v0' are of different worlds" in capsys.readouterr().err
