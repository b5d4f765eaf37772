"""Studies on a real Ray cluster of two nodes on one machine, whose workers and nodes are killed."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from recsim_drpo.benchmarks.reproduce.framework.study import Study
from recsim_drpo.core import ray_engine
from recsim_drpo.core.executor import Engine
from tests.benchmarks.reproduce.framework.test_study import study_of
from tests.conftest import SMALL_WORLD
from tests.core.test_workers import wait_until

ray = pytest.importorskip("ray", reason="the extra ray is not installed")
cluster_utils = pytest.importorskip("ray.cluster_utils")
pytestmark = [pytest.mark.slow, pytest.mark.peer, pytest.mark.filterwarnings("ignore")]

DRIVER = """
import sys
from pathlib import Path
from recsim_drpo.core.executor import Engine
from tests.core.test_ray_engine import watched
if __name__ == "__main__":
    folder, out, address = sys.argv[1:]
    watched(Path(folder)).run(out, progress=False, engine=Engine("ray", address=address))
"""


@dataclass(frozen=True)
class Watched(Study):
    """A study that says where it trains, and waits there for a file once it has trained something.

    Attributes:
        place: folder of the files.
    """

    place: str = ""

    def train(self, agent: str, *arguments: Any) -> Any:
        """As :meth:`Study.train`, after the wait."""
        if agent == "drpo":
            folder = Path(self.place)
            node = ray.get_runtime_context().get_node_id() if ray.is_initialized() else "here"
            (folder / f"{os.getpid()}.at").write_text(node)
            wait_until((folder / "go").exists)
        return super().train(agent, *arguments)


def watched(place: Path, **changes: Any) -> Watched:
    plain = study_of(SMALL_WORLD, seeds=(0, 1), **changes)
    return Watched(**{**vars(plain), "place": str(place)})


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    """The records of two local processes."""
    folder = tmp_path_factory.mktemp("local")
    (folder / "go").touch()
    return watched(folder).run(folder / "out", processes=2, progress=False)


@pytest.fixture
def cluster():
    """A head without CPUs, to which nodes are added."""
    ray_engine.imported()
    head = {"num_cpus": 0, "include_dashboard": False}
    cluster = cluster_utils.Cluster(initialize_head=True, head_node_args=head)
    yield cluster
    ray.shutdown()
    cluster.shutdown()


def together(work: Callable[[], Any], meanwhile: Callable[[], None]) -> Any:
    """What work returns, during which the other is called, whose error is not lost."""
    errors: list[BaseException] = []

    def guarded() -> None:
        try:
            meanwhile()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=guarded)
    thread.start()
    try:
        return work()
    finally:
        thread.join(120)
        assert not errors, errors


def at(place: Path) -> dict[int, str]:
    """Nodes by the workers that have begun to train what waits."""
    return {int(path.stem): path.read_text() for path in place.glob("*.at")}


def test_killed_workers_and_a_node_that_leaves_change_no_number(cluster, local, tmp_path):
    nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
    cluster.wait_for_nodes()

    def lose() -> None:
        wait_until(lambda: len(at(tmp_path)) == 2 and all(at(tmp_path).values()))
        assert len(set(at(tmp_path).values())) == 2  # one on each node
        leaving = nodes[1]
        (first,) = [pid for pid, node in at(tmp_path).items() if node != leaving.node_id]
        os.kill(first, signal.SIGKILL)
        cluster.remove_node(leaving)
        wait_until(lambda: len(at(tmp_path)) >= 3)
        (tmp_path / "go").touch()

    run = partial(
        watched(tmp_path).run,
        tmp_path / "out",
        progress=False,
        engine=Engine("ray", address=cluster.address),
    )
    assert json.dumps(together(run, lose)) == json.dumps(local)
    assert not ray.is_initialized()


def test_what_a_killed_driver_had_recorded_is_not_computed_anew(cluster, local, tmp_path):
    cluster.add_node(num_cpus=1)
    cluster.add_node(num_cpus=1)
    (tmp_path / "driver.py").write_text(DRIVER)
    out = tmp_path / "out"
    driver = subprocess.Popen(
        [sys.executable, tmp_path / "driver.py", tmp_path, out, cluster.address],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
    )
    wait_until(lambda: len(list(out.glob("records/*-bc-*.json"))) == 2)
    driver.kill()
    driver.wait(60)
    before = {path: (path.read_bytes(), path.stat()) for path in out.glob("records/*.json")}
    assert len(before) == 2
    (tmp_path / "go").touch()
    engine = Engine("ray", address=cluster.address)
    again = watched(tmp_path).run(out, progress=False, engine=engine)
    assert json.dumps(again) == json.dumps(local)
    assert all(path.read_bytes() == kept[0] for path, kept in before.items())
    assert all(path.stat().st_mtime_ns == kept[1].st_mtime_ns for path, kept in before.items())
    assert len(list(out.glob("records/*.json"))) == 4


def test_a_worker_of_another_version_is_refused_by_name(cluster, tmp_path, monkeypatch):
    cluster.add_node(num_cpus=1)
    own = ray_engine.stamp()
    engine = Engine("ray", address=cluster.address)
    for name in ("torch", "recsim_drpo sources"):
        monkeypatch.setattr(ray_engine, "stamp", lambda name=name: own | {name: "0.0"})
        with pytest.raises(ValueError, match=socket.gethostname()) as caught:
            list(engine.results(None, [partial(_numbers, 1)]))
        assert f"has {name} {own[name]}, this process 0.0" in str(caught.value)


def test_what_a_task_raises_comes_as_it_is_and_ends_the_others(cluster, tmp_path):
    cluster.add_node(num_cpus=2)
    engine = Engine("ray", address=cluster.address)
    found = []
    with pytest.raises(ValueError, match=r"^no such thing\.$"):
        found += engine.results(tmp_path, [_fails, _waits])
    assert not ray.is_initialized()


def test_a_task_that_kills_its_worker_again_and_again_is_given_up(cluster, tmp_path, monkeypatch):
    cluster.add_node(num_cpus=1)
    monkeypatch.setattr(ray_engine, "_RETRIES", 1)
    engine = Engine("ray", address=cluster.address)
    with pytest.raises(RuntimeError, match="Ray lost a task 2 times"):
        list(engine.results(tmp_path, [_kills_itself]))
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize(("share", "together_at_most"), [(1.0, 1), (0.5, 2)])
def test_tasks_have_their_share_of_each_gpu_and_see_no_other(
    cluster, tmp_path, share, together_at_most
):
    for _ in range(2):
        cluster.add_node(num_cpus=4, num_gpus=1)  # labels: Ray counts them, whatever there is
    cluster.wait_for_nodes()
    engine = Engine("ray", address=cluster.address, gpus_per_task=share)
    seen = list(engine.results(None, [_sees_gpu] * 8))
    assert {visible for _, visible, _, _ in seen} == {"0"}
    by_node: dict[str, list[tuple[float, float]]] = {}
    for node, _, start, end in seen:
        by_node.setdefault(node, []).append((start, end))
    assert len(by_node) == 2
    most = max(
        sum(a <= start < b for a, b in spans) for spans in by_node.values() for start, _ in spans
    )
    assert most == together_at_most
    with pytest.raises(ValueError, match="no node of the cluster has so many, the most is 1"):
        list(Engine("ray", address=cluster.address, gpus_per_task=2).results(None, [_sees_gpu]))


def test_without_an_address_ray_is_started_here_for_as_long_as_it_is_needed(tmp_path, monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    handler = signal.getsignal(signal.SIGTERM)
    engine = Engine("ray", processes=2)
    found = list(engine.results(10, [partial(_numbers, count) for count in (3, 0, 2)]))
    assert sorted(found) == [10, 10, 11, 11, 12]
    assert not ray.is_initialized()
    assert signal.getsignal(signal.SIGTERM) == handler


@pytest.mark.parametrize(
    ("fault", "told"),
    [("no folder for its files", "Not a directory"), ("no raylet", "timed out during startup")],
)
def test_a_ray_that_does_not_start_here_is_refused_and_leaves_no_process(
    tmp_path, monkeypatch, fault, told
):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    if fault == "no raylet":  # half of it starts, and a plain exception says so after 30 seconds
        monkeypatch.setattr("ray._private.services.RAYLET_EXECUTABLE", "/bin/false")
    else:
        (tmp_path / "file").touch()
        monkeypatch.setenv("RAY_TMPDIR", str(tmp_path / "file"))
    before = _children()
    with pytest.raises(ValueError, match=rf"^Ray does not start here \(.*{told}"):
        list(Engine("ray").results(None, [partial(_numbers, 1)]))
    wait_until(lambda: _children() <= before)
    assert not ray.is_initialized()


def test_an_address_at_which_something_else_answers_is_refused(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        started = time.monotonic()
        with pytest.raises(ValueError, match=f"No Ray answers at '{address}'"):
            list(Engine("ray", address=address).results(None, [_numbers]))
        assert time.monotonic() - started < 60


def _children() -> set[str]:
    """Processes that this one has started and that have not ended."""
    lists = Path("/proc/self/task").glob("*/children")
    return {pid for path in lists for pid in path.read_text().split()}


def _numbers(count: int, first: int | None):
    yield from range(first or 0, (first or 0) + count)


def _fails(shared: Path):
    wait_until((shared / "waits").exists)
    raise ValueError("no such thing.")
    yield


def _waits(shared: Path):
    (shared / "waits").touch()
    time.sleep(600)
    yield


def _kills_itself(shared: Path):
    (shared / str(os.getpid())).touch()
    os.kill(os.getpid(), signal.SIGKILL)
    yield


def _sees_gpu(shared: None):
    start = time.time()
    time.sleep(1.0)
    node = ray.get_runtime_context().get_node_id()
    yield node, os.environ.get("CUDA_VISIBLE_DEVICES"), start, time.time()
