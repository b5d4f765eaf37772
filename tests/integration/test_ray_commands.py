"""Commands on a real Ray cluster of two nodes, whose workers, nodes and drivers are killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from recsim_drpo.cli import main
from recsim_drpo.core.executor import Engine
from recsim_drpo.datasets.generate_shards import generate_shards
from recsim_drpo.datasets.staging import minari_root as datasets_in
from tests.cli.conftest import WORLD
from tests.cli.test_engine import files_of
from tests.core.test_workers import wait_until
from tests.datasets.test_storage import content

ray = pytest.importorskip("ray", reason="the extra ray is not installed")
from tests.core.test_ray_engine import at, cluster as cluster, together  # noqa: E402  # has Ray too

pytestmark = [pytest.mark.slow, pytest.mark.peer, pytest.mark.filterwarnings("ignore")]

AGENT = "tests.integration.test_ray_commands:Watched"


def note(place: Path) -> None:
    """Say where this is computed, and wait for a file."""
    if not ray.is_initialized():
        return
    (place / f"{os.getpid()}.at").write_text(ray.get_runtime_context().get_node_id())
    wait_until((place / "go").exists)


class Watched:
    """An agent from outside that says where it learns, and waits there once it has learnt a bit."""

    def __init__(self, *, observation_dim, action_dim, seed, device, place="."):
        self.mean, self.device, self.place = torch.full((action_dim,), float(seed)), device, place
        self.steps = 0

    def update(self, batch):
        self.steps += 1
        if self.steps == 15:
            note(Path(self.place))
        self.mean = self.mean.lerp(batch.actions.mean(0), 0.1)
        return {"distance": (batch.actions - self.mean).square().mean()}

    def act(self, observations):
        return self.mean.expand(len(observations), -1)

    def state_dict(self):
        return {"mean": self.mean, "steps": self.steps}

    def load_state_dict(self, state):
        self.mean, self.steps = state["mean"], state["steps"]


class Failing(Watched):
    """An agent from outside that cannot learn."""

    def update(self, batch):
        raise ValueError("no such thing.")


@pytest.fixture
def nodes(cluster):
    """Two nodes of one CPU each."""
    found = [cluster.add_node(num_cpus=1) for _ in range(2)]
    cluster.wait_for_nodes()
    return found


def lose(cluster, nodes, place: Path) -> None:
    """Kill the worker on the one node, and let the other node leave, once both are at work."""
    wait_until(lambda: len(at(place)) == 2 and all(at(place).values()))
    assert len(set(at(place).values())) == 2
    (first,) = [pid for pid, node in at(place).items() if node != nodes[1].node_id]
    os.kill(first, signal.SIGKILL)
    cluster.remove_node(nodes[1])
    wait_until(lambda: len(at(place)) >= 3)
    (place / "go").touch()


def run(*words) -> int:
    return main([str(word) for word in words])


@pytest.fixture
def log(minari_root):
    assert run("generate", "ns/log-v0", "--rounds", 2_000, "--no-card", *WORLD) == 0
    return "ns/log-v0"


def train(log, place, *more):
    words = ["train", "--dataset", log, "--steps", 20, "--seeds", 0, 1, 2, *more]
    return [*words, "--agent", AGENT, "--set", f"place={place}"]


@pytest.mark.parametrize("stored", [False, True], ids=["sent", "storage"])
def test_a_training_that_loses_a_worker_and_a_node(cluster, nodes, log, tmp_path, stored):
    words = train(log, tmp_path)
    assert run(*words, "--out", tmp_path / "local") == 0
    where = ["--engine", "ray", "--address", cluster.address]
    if stored:
        from recsim_drpo.datasets.storage import put_dataset

        put_dataset(log, str(tmp_path / "s"))
        where += ["--storage", tmp_path / "s"]
    elsewhere = lambda: run(*words, *where, "--out", tmp_path / "ray")  # noqa: E731
    assert together(elsewhere, lambda: lose(cluster, nodes, tmp_path)) == 0
    assert files_of(tmp_path / "ray") == files_of(tmp_path / "local")


def test_a_training_whose_driver_is_killed_goes_on_from_its_checkpoints(
    cluster, nodes, log, tmp_path
):
    words = train(log, tmp_path, "--checkpoint-every", 10)
    assert run(*words, "--out", tmp_path / "local") == 0
    out, where = tmp_path / "ray", ["--engine", "ray", "--address", cluster.address]
    driver = subprocess.Popen(
        [sys.executable, "-m", "recsim_drpo.cli", *map(str, [*words, *where, "--out", out])],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
    )
    wait_until(lambda: len(list(out.glob("unfinished/*.safetensors"))) == 2)
    driver.kill()
    driver.wait(60)
    (tmp_path / "go").touch()
    assert run("train", "--resume", out, *where) == 0
    assert files_of(out) == files_of(tmp_path / "local")


def test_a_training_whose_task_fails_says_so_in_one_line(cluster, nodes, log, tmp_path, capfd):
    words = [
        "train",
        "--dataset",
        log,
        "--steps",
        20,
        "--agent",
        AGENT.replace("Watched", "Failing"),
    ]
    where = ["--engine", "ray", "--address", cluster.address, "--out", tmp_path / "out"]
    capfd.readouterr()
    assert run(*words, *where) == 2
    assert capfd.readouterr().err == "recsim-drpo: error: no such thing.\n"
    assert not (tmp_path / "out").exists()


def test_fleets_of_seeds_are_those_trained_here(cluster, nodes, log, tmp_path):
    words = ["train", "--dataset", log, "--agent", "drpo", "--seeds", *range(4), "--steps", 20]
    words += ["--fleet-size", 2]
    assert run(*words, "--out", tmp_path / "local") == 0
    where = ["--engine", "ray", "--address", cluster.address]
    assert run(*words, *where, "--out", tmp_path / "ray") == 0
    assert files_of(tmp_path / "ray") == files_of(tmp_path / "local")


class Waiting(Engine):
    """An engine whose tasks wait, once they have given their first value."""

    place: Path

    def results(self, shared, tasks, *, in_order=False):
        tasks = [Waits(task, self.place) for task in tasks]
        return super().results(shared, tasks, in_order=in_order)


class Waits:
    """A task that says where it is computed after its first value, and waits there."""

    def __init__(self, task, place):
        self.task, self.place = task, place

    def __call__(self, shared):
        for number, value in enumerate(self.task(shared)):
            yield value
            if number == 0:
                note(self.place)


@pytest.fixture
def waiting(cluster, tmp_path):
    engine = Waiting("ray", address=cluster.address)
    object.__setattr__(engine, "place", tmp_path)
    return engine


def test_shards_that_lose_a_worker_and_a_node(cluster, nodes, waiting, tmp_path, small_kwargs):
    options = {"num_rounds": 30_000, "env_kwargs": dict(small_kwargs), "card": True}
    with datasets_in(tmp_path / "local"):
        assert len(list(generate_shards("ns/log-v0", 3, **options))) == 3
    with datasets_in(tmp_path / "ray"):
        made = together(
            lambda: list(generate_shards("ns/log-v0", 3, engine=waiting, **options)),
            lambda: lose(cluster, nodes, tmp_path),
        )
    assert sorted(rounds for _, rounds in made) == [10_000] * 3
    assert content(tmp_path / "ray") == content(tmp_path / "local")


def test_an_import_that_loses_a_worker_and_a_node(cluster, nodes, waiting, tmp_path, monkeypatch):
    generator = np.random.default_rng(0)
    for number in range(5):
        rows = [
            f"{item},{item % 2},0.5,{x:.6f},c{item % 7}"
            for item, x in zip(
                generator.integers(0, 9, 3_000), generator.normal(size=3_000), strict=True
            )
        ]
        header = "item_id,reward,propensity,x,kind\n"
        (tmp_path / f"part-{number}.csv").write_text(header + "\n".join(rows) + "\n")
    np.save(tmp_path / "items.npy", np.eye(8, dtype=np.float32))
    words = ["import", "own/log-v0", tmp_path / "part-*.csv", "--items", tmp_path / "items.npy"]
    words += ["--numbers", "x", "--categories", "kind", "--max-refused", 1]
    with datasets_in(tmp_path / "local"):
        assert run(*words) == 0
    monkeypatch.setattr("recsim_drpo.cli.import_log.engine_of", lambda *_: waiting)
    with datasets_in(tmp_path / "ray"):
        assert together(lambda: run(*words), lambda: lose(cluster, nodes, tmp_path)) == 0
    assert content(tmp_path / "ray") == content(tmp_path / "local")
