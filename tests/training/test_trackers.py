from __future__ import annotations

import struct
import subprocess
import sys
import time

import pytest

from recsim_drpo.training.sweep import Run
from recsim_drpo.training.trackers import tracker

RUNS = [Run("bc", seed, {"hidden_dim": 8}) for seed in (0, 3)]
ROWS = [{"step": 10.0, "loss": 2.5, "ecpm": 1.25}, {"step": 20.0, "loss": -0.5}]


def follow(name, folder):
    with tracker(name, folder, {"dataset": "try/small-v0", "steps": 20}) as log:
        for row in ROWS:  # as in a fleet, whose learners move side by side
            for run in RUNS:
                log(run, {**row, "loss": row["loss"] + run.seed})


def wandb_records(path):
    """The records of a run that Weights & Biases kept: LevelDB's log format, after a header."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, place, parts = path.read_bytes(), 7, []
    assert data[:4] == b":W&B"
    while place + 7 <= len(data):
        if 32_768 - place % 32_768 < 7:  # a block's end, too short for a record
            place += 32_768 - place % 32_768
            continue
        size, kind = struct.unpack("<HB", data[place + 4 : place + 7])
        if place + 7 + size > len(data):  # still being written
            return
        parts.append(data[place + 7 : place + 7 + size])
        place += 7 + size
        if kind in (1, 4):  # whole, or the last part
            yield Record.FromString(b"".join(parts))
            parts = []


def complete(path):
    """A run's records once the last is on the disk: the service writes behind its client's back."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        records = list(wandb_records(path))
        if records and records[-1].HasField("exit"):
            return records
        time.sleep(0.05)
    raise AssertionError(f"{path} was never completed")


@pytest.mark.slow
def test_wandb_offline_keeps_every_run(tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    for name in ("WANDB_MODE", "WANDB_API_KEY", "WANDB_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))  # no account there
    follow("wandb", tmp_path / "runs" / "bc")
    kept = {}
    for path in (tmp_path / "runs" / "bc" / "wandb").glob("offline-run-*/*.wandb"):
        records = complete(path)
        (run,) = (record.run for record in records if record.HasField("run"))
        config = {item.key: item.value_json for item in run.config.update}
        rows = [
            {item.key or item.nested_key[0]: float(item.value_json) for item in r.history.item}
            for r in records
            if r.HasField("history")
        ]
        kept[run.display_name] = config, rows
        assert (run.project, run.run_group) == ("recsim_drpo", "bc")
    assert sorted(kept) == ["bc, seed 0", "bc, seed 3"]
    for run in RUNS:
        config, rows = kept[f"bc, seed {run.seed}"]
        assert {k: config[k] for k in ("dataset", "steps", "agent", "seed", "hidden_dim")} == {
            "dataset": '"try/small-v0"',
            "steps": "20",
            "agent": '"bc"',
            "seed": str(run.seed),
            "hidden_dim": "8",
        }
        assert [row["_step"] for row in rows] == [10, 20]
        assert [row["loss"] for row in rows] == [2.5 + run.seed, -0.5 + run.seed]
        assert rows[0]["ecpm"] == 1.25
        assert "ecpm" not in rows[1]


def test_tensorboard_keeps_every_run(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    follow("tensorboard", tmp_path)
    for run in RUNS:
        events = EventAccumulator(str(tmp_path / "tensorboard" / f"seed-{run.seed}"))
        events.Reload()
        losses = [(event.step, event.value) for event in events.Scalars("loss")]
        assert losses == [(10, 2.5 + run.seed), (20, -0.5 + run.seed)]


@pytest.mark.parametrize(
    ("name", "module"), [("wandb", "wandb"), ("tensorboard", "torch.utils.tensorboard")]
)
def test_a_missing_package_names_its_extra(tmp_path, monkeypatch, name, module):
    monkeypatch.setitem(sys.modules, module, None)
    message = rf'pip install "recsim-drpo\[{name}\]"'
    with pytest.raises(ValueError, match=message), tracker(name, tmp_path, {}):
        pass
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_tracker(tmp_path):
    message = "Unknown tracker 'tensorbord'. Did you mean 'tensorboard'"
    with pytest.raises(ValueError, match=message), tracker("tensorbord", tmp_path, {}):
        pass


@pytest.mark.slow
def test_what_commands_import_is_no_optional_package():
    code = (
        "import sys, recsim_drpo.cli, recsim_drpo.datasets.generate, recsim_drpo.serving; "
        "import recsim_drpo.datasets.import_log, recsim_drpo.training.online; "
        "recsim_drpo.serving.export_run, recsim_drpo.serving.load_recommender; "
        "print([n for n in ('wandb', 'tensorboard', 'onnx', 'onnxruntime', 'pyarrow') "
        "if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
