"""What commands refuse of engines, before any folder is made; tests/core/test_ray_engine.py is of a
cluster."""

from __future__ import annotations

import socket
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from recsim_drpo.runs.checkpoints import load_state
from tests.cli.conftest import WORLD
from tests.datasets.test_storage import content


@pytest.fixture
def words_of_import(tmp_path):
    """An import of two files."""
    for name in ("a", "b"):
        (tmp_path / f"{name}.csv").write_text("item_id,reward,propensity,x\n1,0,1,2\n")
    np.save(tmp_path / "items.npy", np.eye(2, dtype=np.float32))
    logs = [tmp_path / "a.csv", tmp_path / "b.csv"]
    return ["import", "own/log-v0", *logs, "--numbers", "x", "--items", tmp_path / "items.npy"]


@pytest.fixture(params=["train", "generate", "import"])
def words(request, dataset, words_of_import, tmp_path):
    """A command that takes an engine."""
    train = [
        "train",
        "--dataset",
        dataset,
        "--agent",
        "bc",
        "--steps",
        2,
        "--out",
        tmp_path / "out",
    ]
    return {
        "train": train,
        "generate": ["generate", "own/log-v0", "--rounds", 20_000, "--shards", 2, *WORLD],
        "import": words_of_import,
    }[request.param]


@pytest.fixture
def refused(run, words, tmp_path, minari_root, capsys):
    """The error of the command with further words, which leaves nothing behind."""

    def refuse(*more):
        before = sorted(minari_root.rglob("*"))
        assert run(*words, *more) == 2
        assert not (tmp_path / "out").exists()
        assert sorted(minari_root.rglob("*")) == before
        return capsys.readouterr().err

    return refuse


@pytest.fixture
def fake_ray(monkeypatch):
    """A ray that is installed and has not begun."""
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(is_initialized=lambda: False))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)


def flat(value):
    return value.tolist() if isinstance(value, torch.Tensor) else value


def files_of(out):
    """Of run folders what does not depend on the order of a header's entries, by name."""
    found = {name: data for name, data in content(out).items() if not name.endswith("safetensors")}
    for path in out.rglob("*.safetensors"):
        state = load_state(path)
        found[path.relative_to(out).as_posix()] = {name: flat(state[name]) for name in state}
    return found


def test_an_engine_that_is_not_installed(refused, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    assert "The engine ray is not installed" in (text := refused("--engine", "ray"))
    assert "pip install 'recsim-drpo[ray]'" in text


@pytest.mark.usefixtures("fake_ray")
def test_an_address_at_which_nothing_answers(refused):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))  # and does not listen
        address = f"127.0.0.1:{free.getsockname()[1]}"
        text = refused("--engine", "ray", "--address", address)
    assert f"No Ray answers at '{address}' within 10 seconds" in text
    assert "ray start --head" in text


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("--engine dask", "Known: local, ray"),
        ("--address 10.0.0.1:6379", "address='10.0.0.1:6379' is for the engine ray"),
        ("--engine ray --address 10.0.0.1", "neither auto nor HOST:PORT"),
        ("--engine ray --address ray://a:1", "ray job submit"),
    ],
)
@pytest.mark.usefixtures("fake_ray")
def test_what_an_engine_cannot_use(refused, more, message):
    assert message in refused(*more.split())


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("--engine ray --threads 2", "--threads 2 is for this machine"),
        ("--engine ray --stream", "--stream reads the log from this machine's disk"),
        ("--storage foo://x", "is no folder that pyarrow knows"),
        ("--storage /nowhere", "in the storage '/nowhere': its recsim-drpo.json is missing"),
        ("--engine ray --gpus-per-task 0.5", "add --device cuda"),
        ("--gpus-per-task 0.5", "gpus_per_task=0.5 is for the engine ray"),
        ("--engine ray --device cuda:1", "sees its own GPUs alone"),
    ],
)
@pytest.mark.parametrize("words", ["train"], indirect=True)
@pytest.mark.usefixtures("fake_ray")
def test_what_a_training_elsewhere_cannot_do(refused, more, message):
    assert message in refused(*more.split())


def test_datasets_of_a_storage_from_their_import_to_a_training(run, dataset, tmp_path, minari_root):
    """Shards and a training on them, which leave nothing here, as those that do."""
    pytest.importorskip("pyarrow")
    place = ["--storage", tmp_path / "s"]
    shards = ["generate", "ns/log-v0", "--rounds", 20_000, "--shards", 2, "--no-card", *WORLD]
    train = ["train", "--dataset", "ns/log-1-of-2-v0", "ns/log-2-of-2-v0", "--agent", "bc"]
    train += ["--steps", 5, "--seeds", 0, 1]
    assert run(*shards, *place) == 0
    assert not (minari_root / "ns").exists()
    assert run(*train, *place, "--out", tmp_path / "stored") == 0
    assert run(*train, *place, "--stream", "--out", tmp_path / "streamed") == 0
    assert not (minari_root / "ns").exists()
    assert run(*shards) == 0
    assert run(*train, "--out", tmp_path / "local") == 0
    assert files_of(tmp_path / "stored") == files_of(tmp_path / "local")
    assert len(files_of(tmp_path / "streamed")) == len(files_of(tmp_path / "local"))


def test_an_import_into_a_storage_is_the_one_here(run, words_of_import, tmp_path, minari_root):
    pytest.importorskip("pyarrow")
    assert run(*words_of_import, "--storage", tmp_path / "s") == 0
    assert not minari_root.exists()
    assert run(*words_of_import, "--storage", tmp_path / "s") == 2
    assert run(*words_of_import) == 0
    stored = tmp_path / "s" / "own" / "log-v0"
    (stored / "recsim-drpo.json").unlink()
    assert content(stored) == content(minari_root / "own" / "log-v0")
    for option in ("--append", "--replace"):
        assert run("import", "own/log-v0", tmp_path / "a.csv", option, "--storage", "x") == 2
