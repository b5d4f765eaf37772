"""What is damaged or left over is listed, and removed only when that is asked for."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time

import h5py
import minari
import pytest

from recsim_drpo.core.files import STAGING

HOLD = """
import sys, time
from pathlib import Path
from recsim_drpo.core.files import atomic_dir
with atomic_dir(Path(sys.argv[1])) as partial:
    (partial / "half").write_text("half")
    print(flush=True)
    time.sleep(600)
"""


@pytest.fixture
def staging_process():
    processes = []

    def start(path):
        command = [sys.executable, "-c", HOLD, str(path)]
        processes.append(subprocess.Popen(command, stdout=subprocess.PIPE))
        processes[-1].stdout.readline()
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.communicate()


@pytest.fixture
def examined(run, tmp_path, monkeypatch, capsys):
    """Runs doctor --json in the folder; gives its status, and what it found by path."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))

    def examine(*words):
        capsys.readouterr()
        try:
            status = run("doctor", "--json", *words)
        except SystemExit as ended:
            status = ended.code
        report = json.loads(capsys.readouterr().out)
        found = {os.path.relpath(one["path"], tmp_path): one for one in report["found"]}
        return status, found, report

    return examine


def test_nothing_is_found_where_all_is_well_and_the_installation_is_told(
    run, dataset, examined, capsys
):
    status, found, report = examined()
    assert (status, found) == (0, {})
    assert report["versions"]["minari"] == minari.__version__
    assert report["packages"]["filelock"]
    assert report["torch"]["devices"][0] == "cpu"
    assert run("doctor") == 0
    said = capsys.readouterr().out
    assert f"  minari: {minari.__version__}\n" in said
    assert said.endswith("found: nothing\n")


def test_what_is_found_stays_until_it_is_to_be_removed(
    run, dataset, tmp_path, examined, staging_process, capsys
):
    minari_root = tmp_path / "minari"
    shutil.copytree(minari_root / "cli" / "small-v0", minari_root / "cli" / "cut-v0")
    metadata = minari_root / "cli" / "cut-v0" / "data" / "metadata.json"
    metadata.write_text(metadata.read_text().replace("cli/small-v0", "cli/cut-v0"))
    with h5py.File(minari_root / "cli" / "cut-v0" / "data" / "main_data.hdf5", "a") as file:
        del file["episode_0"]["rewards"]
    train = ["train", "--dataset", dataset, "--agent", "bc", "--steps", 2, "--set", "hidden_dim=8"]
    assert run(*train, "--seeds", 0, 1, "--out", tmp_path / "a" / "runs") == 0
    (tmp_path / "a" / "runs" / "seed-1" / "checkpoint.safetensors").unlink()
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "kernel").write_text("fresh")
    dead, dead_dataset = (
        staging_process(path) for path in (tmp_path / "a" / "dead", minari_root / "dead-v0")
    )
    living = staging_process(tmp_path / "a" / "living")
    for process in (dead, dead_dataset):
        process.kill()
        process.wait()
    before = sorted(tmp_path.rglob("*"))

    status, found, _ = examined()
    assert status == 1
    assert {path: one["kind"] for path, one in found.items()} == {
        "minari/cli/cut-v0": "damaged dataset",
        f"a/{STAGING}/dead.partial": "stale",
        f"minari/{STAGING}/dead-v0.partial": "stale",
        "a/runs/seed-1": "run without a checkpoint",
        "cache": "cache",
    }
    assert "rewards" in found["minari/cli/cut-v0"]["why"]
    locks = ("dead.lock", "dead-v0.lock")  # which nobody holds
    after = [path for path in sorted(tmp_path.rglob("*")) if path.name not in locks]
    assert after == [path for path in before if path.name not in locks]

    with pytest.raises(SystemExit, match="1"):
        run("doctor")
    assert "recsim-drpo doctor --remove removes what is found." in capsys.readouterr().out
    status, found, _ = examined("--remove")
    assert status == 0
    assert {path for path, one in found.items() if not one["removed"]} == {"cache"}  # in use
    assert living.poll() is None
    assert (tmp_path / "a" / STAGING / "living.partial" / "half").exists()
    assert (tmp_path / "a" / "runs" / "seed-0" / "config.json").exists()
    assert list(minari.list_local_datasets()) == [dataset]
    os.utime(tmp_path / "cache" / "kernel", (0, 0))
    assert examined("--remove")[1]["cache"]["removed"]
    assert examined()[:2] == (0, {})


def test_what_former_versions_left_goes_unless_it_may_live(
    tmp_path, minari_root, examined, staging_process
):
    """They wrote beside what they made, and had no locks."""

    def left(name, content=b"half", hours=2.0):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        for one in (path, *path.parents):
            if one.is_relative_to(tmp_path) and one != tmp_path:
                os.utime(one, (time.time() - 3600 * hours,) * 2)
        return path

    dead = subprocess.Popen(["true"])
    dead.wait()
    old = {
        "runs/.seed-0.partial",
        ".ev.partial",
        "a/.o.csv.partial",
        f"a/.r.json.{dead.pid}.partial",
    }
    left("runs/.seed-0.partial/config.json")
    (left(".ev.partial/nothing")).unlink()
    left("a/.o.csv.partial")
    left(f"a/.r.json.{dead.pid}.partial")
    os.utime(tmp_path / ".ev.partial", (0, 0))
    left("b/.seed-1.partial/config.json", hours=0.5)  # one that trains right now
    left(f"b/.r.json.{os.getpid()}.partial")  # of a process that lives
    left("b/seen.partial")
    minari_root.mkdir(exist_ok=True)
    left("b/.partial")
    left("b/.x.partial.txt")
    left("c/.living.partial")  # whose place another takes at this moment
    staging_process(tmp_path / "c" / "living")
    (tmp_path / "c" / ".link.partial").symlink_to(tmp_path / "b")
    before = {path for path in tmp_path.rglob("*") if path.suffix != ".lock"}

    status, found, _ = examined()
    assert status == 1
    assert set(found) == old | {"c/.living.partial"}
    assert {one["kind"] for one in found.values()} == {"stale, of a former version"}
    assert found["runs/.seed-0.partial"]["bytes"] == 4
    assert {path for path in tmp_path.rglob("*") if path.suffix != ".lock"} == before

    status, found, _ = examined("--remove")
    assert status == 1
    assert {path for path, one in found.items() if one["removed"]} == old
    after = {path for path in tmp_path.rglob("*") if path.suffix != ".lock"}
    gone = {os.path.relpath(path, tmp_path) for path in before - after}
    assert gone == old | {"runs/.seed-0.partial/config.json"}
    assert after <= before
    assert (tmp_path / "c" / STAGING / "living.partial" / "half").exists()


def test_a_folder_that_is_not_there(run, tmp_path, minari_root, capsys):
    assert run("doctor", tmp_path / "nowhere") == 2
    assert "There is no folder" in capsys.readouterr().err
