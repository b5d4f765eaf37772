"""What commands refuse of engines, before any folder is made; tests/core/test_ray_engine.py is of a
cluster."""

from __future__ import annotations

import shutil
import socket
import sys
from types import SimpleNamespace

import minari
import numpy as np
import pytest
import torch

from recsim_drpo.cli.training_log import FromStorage
from recsim_drpo.cli.training_plan import Plan
from recsim_drpo.datasets.storage import put_dataset
from recsim_drpo.runs.checkpoints import load_state
from recsim_drpo.runs.unfinished import Unfinished
from tests.cli.conftest import WORLD
from tests.datasets.test_storage import content
from tests.training.test_tasks import Elsewhere


@pytest.fixture
def words_of_import(tmp_path):
    """An import of two files."""
    for name in ("a", "b"):
        (tmp_path / f"{name}.csv").write_text("item_id,reward,propensity,x\n1,0,1,2\n")
    np.save(tmp_path / "items.npy", np.eye(2, dtype=np.float32))
    logs = [tmp_path / "a.csv", tmp_path / "b.csv"]
    return ["import", "own/log-v0", *logs, "--numbers", "x", "--items", tmp_path / "items.npy"]


@pytest.fixture(params=["train", "generate", "import", "benchmark", "reproduce"])
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
        "benchmark": ["benchmark", "zipf-1", "--agent", "bc", "--out", tmp_path / "out"],
        "reproduce": ["reproduce", "table2", "--out", tmp_path / "out"],
    }[request.param]


@pytest.fixture
def refused(run, words, tmp_path, minari_root, capsys):
    """The error, one line, of the command with further words, which leaves nothing behind."""

    def refuse(*more):
        before = sorted(minari_root.rglob("*"))
        assert run(*words, *more) == 2
        assert not (tmp_path / "out").exists()
        assert sorted(minari_root.rglob("*")) == before
        text = capsys.readouterr().err
        assert text.startswith("recsim-drpo: error: ")
        assert text.count("\n") == 1
        return text

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
def test_a_ray_that_does_not_start(refused, monkeypatch):
    def init(**_):
        raise Exception("The current node timed out during startup.\nThe GCS is overloaded.")

    ray, ended = sys.modules["ray"], []
    monkeypatch.setattr(ray, "init", init, raising=False)
    monkeypatch.setattr(ray, "shutdown", lambda: ended.append(1), raising=False)
    text = refused("--engine", "ray")
    assert "Ray does not start here (The current node timed out during startup. The GCS" in text
    assert "or take --engine local" in text
    assert ended == [1]


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


@pytest.mark.usefixtures("fake_ray")
def test_shards_of_different_worlds_are_refused_before_ray_is_asked(run, dataset, tmp_path, capsys):
    small = ["--world", "num_items=301", "embedding_dim=16", "num_topics=5", "--no-card"]
    assert run("generate", "cli/other-v0", "--rounds", 500, *small) == 0
    words = [
        "train",
        "--dataset",
        dataset,
        "cli/other-v0",
        "--agent",
        "bc",
        "--out",
        tmp_path / "o",
    ]
    assert run(*words, "--engine", "ray", "--address", "10.255.255.1:6379") == 2
    text = capsys.readouterr().err
    assert "are of different worlds: num_items is 300 in the first and 301 in the second" in text


@pytest.fixture
def trained(run, dataset, tmp_path, monkeypatch):
    """What trains two seeds here, or elsewhere; the run folders."""

    def train(name, *more, elsewhere=True, storage=None):
        words = ["train", "--dataset", dataset, "--agent", "drpo", "--steps", 20, "--seeds", 0, 1]
        words += ["--fleet-size", 1, "--out", tmp_path / name, *more]
        words += [] if storage is None else ["--storage", storage]
        with monkeypatch.context() as patch:
            if elsewhere:
                patch.setattr("recsim_drpo.cli.train.engine_of", lambda *_: Elsewhere("ray"))
            assert run(*words) == 0
        return files_of(tmp_path / name)

    return train


@pytest.fixture(scope="module")
def trained_here():
    """The run folders of trainings here, by the options of their streams."""
    return {}


@pytest.mark.parametrize(
    ("place", "stream"),
    [
        (None, ()),
        ("path", ()),
        ("memory", ()),
        ("path", ("--stream", "--shuffle-radius", 500)),
        ("memory", ("--stream", "--shuffle-radius", 500)),
    ],
)
def test_runs_trained_elsewhere_are_those_trained_here(
    trained, trained_here, dataset, tmp_path, place, stream
):
    if stream not in trained_here:
        trained_here[stream] = trained("here", *stream, elsewhere=False)
    storage = {None: None, "path": str(tmp_path / "s"), "memory": f"fsspec+memory://{tmp_path}"}
    if place is not None:
        pytest.importorskip("pyarrow")
        put_dataset(dataset, storage[place])
    assert trained("elsewhere", *stream, storage=storage[place]) == trained_here[stream]


def test_a_dataset_that_changes_in_the_storage_is_refused(run, dataset, tmp_path, monkeypatch):
    pytest.importorskip("pyarrow")
    put_dataset(dataset, str(tmp_path / "s"))
    plan = Plan(dataset, "bc", storage=str(tmp_path / "s"))
    read = FromStorage.of(plan)
    with read(torch.device("cpu")) as log:
        assert len(log) == 800
    shutil.rmtree(tmp_path / "s")
    minari.delete_dataset(dataset)
    assert run("generate", dataset, "--rounds", 800, "--seed", 1, "--no-card", *WORLD) == 0
    put_dataset(dataset, str(tmp_path / "s"))
    with pytest.raises(ValueError, match="changed in the storage"), read(torch.device("cpu")):
        pass


def test_a_training_elsewhere_that_was_stopped_goes_on(trained, run, tmp_path, monkeypatch):
    here = trained("here", "--checkpoint-every", 10, elsewhere=False)
    keep, kept = Unfinished.save, []

    def stops(self, name, state):
        keep(self, name, state)
        kept.append((name, state["step"]))
        if len(kept) == 3:
            raise KeyboardInterrupt

    words = ["train", "--dataset", "cli/small-v0", "--agent", "drpo", "--steps", 20]
    words += ["--seeds", 0, 1, "--fleet-size", 1, "--checkpoint-every", 10]
    monkeypatch.setattr("recsim_drpo.cli.train.engine_of", lambda *_: Elsewhere("ray"))
    with monkeypatch.context() as patch:
        patch.setattr(Unfinished, "save", stops)
        assert run(*words, "--out", tmp_path / "out") != 0
    assert [step for _, step in kept] == [10, 20, 10]
    assert run("train", "--resume", tmp_path / "out") == 0
    assert files_of(tmp_path / "out") == here


def test_what_a_generation_without_shards_cannot_do(run, minari_root, tmp_path, capsys):
    for more in (["--engine", "ray"], ["--storage", tmp_path / "s"]):
        assert run("generate", "own/log-v0", "--rounds", 500, *WORLD, *more) == 2
        assert "--engine and --storage are of --shards" in capsys.readouterr().err
    assert not minari_root.exists() or not any(minari_root.rglob("*"))
