"""Trainings that are killed and gone on with, and those that start from a finished run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch

from recsim_drpo.runs import load_agent
from recsim_drpo.runs.checkpoints import load_state
from recsim_drpo.runs.unfinished import FOLDER, Unfinished

WORLD = ["--world", "num_items=300", "embedding_dim=16", "num_topics=5"]
TRAIN = ["--steps", 200, "--log-every", 30, "--evaluate-every", 70, "--checkpoint-every", 11]
TRAIN += ["--batch-size", 32]


def killed(*words, after):
    """Run the command in a process of its own and kill it once a file is there."""
    process = subprocess.Popen(
        [sys.executable, "-m", "recsim_drpo.cli", *map(str, words)],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stderr=subprocess.DEVNULL,
    )
    end = time.monotonic() + 120
    while not any(after()) and process.poll() is None and time.monotonic() < end:
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "it was done before it could be killed"


@pytest.fixture
def interrupted(run, monkeypatch):
    """Runs the command in this process up to its first checkpoint at which a file is there."""

    def start(*words, after=lambda: [True]):
        save = Unfinished.save

        def stop(unfinished, name, state):
            save(unfinished, name, state)
            if any(after()):
                raise KeyboardInterrupt

        with monkeypatch.context() as patched:
            patched.setattr(Unfinished, "save", stop)
            assert run(*words) == 130

    return start


def assert_same_run(one, other):
    """Every file is the same; of checkpoints, all that is in them (their order is not fixed)."""
    names = {path.name for path in one.iterdir()}
    assert names == {path.name for path in other.iterdir()}
    for name in names - {"checkpoint.safetensors"}:
        assert (one / name).read_bytes() == (other / name).read_bytes(), name
    before, after = (load_state(run / "checkpoint.safetensors") for run in (one, other))
    assert list(before) == list(after)
    for name, tensor in before.items():
        assert torch.equal(tensor, after[name]), name


@pytest.fixture
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("agent", "fleet"), [("drpo", []), ("drpo", ["--fleet-size", 2]), ("iql", ["--fleet-size", 1])]
)
def test_a_training_that_was_killed_goes_on_to_the_same_files(
    run, dataset, tmp_path, one_thread, agent, fleet
):
    words = ["train", "--dataset", dataset, "--agent", agent, "--seeds", 0, 1, 2, *fleet, *TRAIN]
    words += ["--set", "hidden_dim=32"]
    through, stopped = tmp_path / "through", tmp_path / "stopped"
    assert run(*words, "--out", through) == 0
    assert not (through / FOLDER).exists()

    killed(*words, "--out", stopped, after=lambda: (stopped / FOLDER).glob("*.safetensors"))
    assert not (stopped / "seed-2").exists()
    assert run("train", "--resume", stopped) == 0
    for seed in (0, 1, 2):
        assert_same_run(through / f"seed-{seed}", stopped / f"seed-{seed}")
    assert not (stopped / FOLDER).exists()


def test_runs_that_were_whole_stay_and_the_rest_is_trained(
    run, interrupted, dataset, tmp_path, one_thread
):
    words = ["train", "--dataset", dataset, "--agent", "bc", "--seeds", 0, 1, "--fleet-size", 1]
    words += [*TRAIN, "--set", "hidden_dim=32"]
    through, stopped = tmp_path / "through", tmp_path / "stopped"
    assert run(*words, "--out", through) == 0
    interrupted(*words, "--out", stopped, after=lambda: stopped.glob("seed-0"))
    assert not (stopped / "seed-1").exists()
    written = (stopped / "seed-0" / "config.json").stat().st_mtime_ns
    assert run("train", "--resume", stopped, "--agent", "bc") == 0
    assert (stopped / "seed-0" / "config.json").stat().st_mtime_ns == written
    for seed in (0, 1):
        assert_same_run(through / f"seed-{seed}", stopped / f"seed-{seed}")


def test_what_cannot_be_gone_on_with_is_refused(run, interrupted, dataset, tmp_path, capsys):
    out = tmp_path / "out"
    words = ["train", "--dataset", dataset, "--agent", "bc", *TRAIN, "--out", out]
    interrupted(*words)
    capsys.readouterr()

    def refused(*words):
        assert run("train", *words) == 2
        return capsys.readouterr().err

    assert "--agent is 'drpo', but the training to go on with has 'bc'" in refused(
        *("--resume", out, "--agent", "drpo")
    )
    assert "--steps is 500, but the training to go on with has 200" in refused(
        *("--resume", out, "--steps", 500)
    )
    assert "leave it out" in refused("--resume", out, "--out", out)
    assert "has a training that is not done: go on with it by --resume" in refused(*words[1:])
    assert "There is no training to go on with" in refused("--resume", tmp_path / "elsewhere")
    assert "checkpoint_every=0" in refused(
        *("--dataset", dataset, "--agent", "bc", "--out", tmp_path / "x"),
        *("--checkpoint-every", 0),
    )
    assert not (tmp_path / "x").exists()

    # The same name, but other rounds; then other dimensions.
    path = out / FOLDER / "training.json"
    description = json.loads(path.read_text())
    for what, value in (("checksum", "0" * 64), ("observation_dim", 7)):
        log = description["log"] | {what: value}
        path.write_text(json.dumps(description | {"log": log}))
        said = refused("--resume", out)
        assert f"is not the one that this training began with: its {what} is" in said
    path.write_text("{}")
    assert "does not describe a training" in refused("--resume", out)
    path.write_text(json.dumps(description | {"plan": description["plan"] | {"magic": 1}}))
    assert "has the option 'magic', which this version does not know" in refused("--resume", out)
    path.write_text(json.dumps(description))
    (checkpoint,) = (out / FOLDER).glob("*.safetensors")
    checkpoint.write_bytes(checkpoint.read_bytes()[:100])
    assert "is not a whole safetensors file" in refused("--resume", out)


def test_a_training_starts_from_the_parameters_of_a_finished_run(run, dataset, tmp_path, capsys):
    first, warm = tmp_path / "first", tmp_path / "warm"
    quick = ["--log-every", 10, "--evaluate-every", 10, "--set", "hidden_dim=8"]
    train = ["train", "--dataset", dataset, "--agent", "drpo"]
    assert run(*train, "--out", first, "--steps", 50, *quick) == 0
    assert run(*train, "--out", warm, "--steps", 10, "--init", first / "seed-0", *quick) == 0
    ends = [
        [float(row.split(",")[names.index("ecpm")]) for row in rows if row]
        for names, *rows in (
            [line.split(",") if k == 0 else line for k, line in enumerate(text.splitlines())]
            for text in ((out / "seed-0" / "history.csv").read_text() for out in (first, warm))
        )
    ]
    assert ends[1][0] == pytest.approx(ends[0][-1])  # where the other ended
    config = json.loads((warm / "seed-0" / "config.json").read_text())
    assert config["source"]["init"]["run"] == str(first / "seed-0")
    assert config["source"]["init"]["dataset"] == dataset
    assert "It started from the parameters of" in (warm / "seed-0" / "README.md").read_text()
    assert int(load_agent(warm / "seed-0").state_dict()["step"]) == 10

    def refused(*words):
        assert run(*words, "--init", first / "seed-0", "--out", tmp_path / "x") == 2
        assert not (tmp_path / "x").exists()
        return capsys.readouterr().err

    assert "has agent='drpo', this training 'bc'" in refused(
        *("train", "--dataset", dataset, "--agent", "bc")
    )
    assert "do not fit this 'drpo' agent" in refused(*train, "--set", "hidden_dim=16")
    assert "do not fit this 'drpo' agent" in refused(
        *(*train, "--set", "hidden_dim=16", "--checkpoint-every", 5)
    )
    other = ["--world", "num_items=300", "embedding_dim=24", "num_topics=5"]
    assert run("generate", "cli/wide-v0", "--rounds", 500, "--no-card", *other) == 0
    capsys.readouterr()
    assert "has action_dim=16, this training 24" in refused(
        *("train", "--dataset", "cli/wide-v0", "--agent", "drpo")
    )
    config["source"]["diverged_at"] = 4
    (first / "seed-0" / "config.json").write_text(json.dumps(config))
    assert "diverged at step 4" in refused(*train)


def test_an_interrupted_training_says_how_to_go_on(run, interrupted, dataset, tmp_path, capsys):
    out = tmp_path / "out"
    words = ["train", "--dataset", dataset, "--agent", "bc", *TRAIN, "--set", "hidden_dim=8"]
    interrupted(*words, "--out", out)
    said = capsys.readouterr().err
    assert f"Go on from the last checkpoint: recsim-drpo train --resume {out}\n" in said
    assert run("train", "--resume", out) == 0
    assert (out / "seed-0" / "config.json").is_file()


@pytest.mark.slow
def test_a_stream_that_is_stopped_and_gone_on_with_ends_as_if_it_had_not(
    run, interrupted, minari_root, tmp_path, capsys, one_thread
):
    sessions = ["--env", "RecSimZipfSession-v0", "--rounds", 1_500, "--no-card", *WORLD]
    assert run("generate", "s-v0", *sessions) == 0
    train = ["train", "--dataset", "s-v0", "--agent", "drpo", "--seeds", 0, 1, *TRAIN]
    train += ["--stream", "--shuffle-radius", 300]
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert run(*train, "--out", whole) == 0
    interrupted(*train, "--out", parts)
    capsys.readouterr()
    assert run("train", "--resume", parts, "--shuffle-radius", 200) == 2
    assert "--shuffle-radius is 200" in capsys.readouterr().err
    assert run("train", "--resume", parts) == 0
    for seed in (0, 1):
        assert_same_run(whole / f"seed-{seed}", parts / f"seed-{seed}")
    source = json.loads((whole / "seed-0" / "config.json").read_text())["source"]
    assert source["shuffle_radius"] == 300
    words = ["train", "--dataset", "s-v0", "--agent", "bc", "--out", tmp_path / "y"]
    assert run(*words, "--shuffle-radius", 300) == 2
    assert "--shuffle-radius is about --stream" in capsys.readouterr().err
