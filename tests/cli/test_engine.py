"""What commands refuse of engines, before any folder is made; tests/core/test_ray_engine.py is of a
cluster."""

from __future__ import annotations

import socket
import sys
from types import SimpleNamespace

import pytest


@pytest.fixture(params=["train"])
def words(request, dataset, tmp_path):
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
    return {"train": train}[request.param]


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
        ("--engine ray --gpus-per-task 0.5", "add --device cuda"),
        ("--gpus-per-task 0.5", "gpus_per_task=0.5 is for the engine ray"),
        ("--engine ray --device cuda:1", "sees its own GPUs alone"),
    ],
)
@pytest.mark.parametrize("words", ["train"], indirect=True)
@pytest.mark.usefixtures("fake_ray")
def test_what_a_training_elsewhere_cannot_do(refused, more, message):
    assert message in refused(*more.split())
