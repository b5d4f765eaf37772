"""What becomes of Ray's own failures: told by a stand-in for Ray, which need not be installed."""

from __future__ import annotations

import re
import sys
from types import SimpleNamespace

import pytest

from recsim_drpo.core import ray_engine
from recsim_drpo.core.executor import Engine


class RayError(Exception):
    pass


class RayTaskError(RayError):
    def __init__(self, cause):
        super().__init__(f"a task failed: {cause!r}")
        self.cause = cause


class Node:
    """What is half made where its start fails, as Ray's own node."""

    ended: list[dict[str, bool]]

    def __init__(self, error):
        raise error

    def kill_all_processes(self, **how):
        self.ended.append(how)


class Work:
    def options(self, **_):
        return self

    def remote(self, *_):
        return iter(["a value"])


@pytest.fixture
def ray(monkeypatch):
    """A Ray of one CPU whose tasks yield one value each; it notes how it is ended."""
    fake = SimpleNamespace(
        exceptions=SimpleNamespace(RayError=RayError, RayTaskError=RayTaskError),
        is_initialized=lambda: False,
        init=lambda **_: None,
        nodes=lambda: [{"Resources": {"CPU": 1.0}, "Alive": True}],
        cluster_resources=lambda: {"CPU": 1.0},
        remote=lambda _: Work(),
        put=lambda value: value,
        wait=lambda streams, num_returns: (streams[:1], streams[1:]),
        get=lambda reference: reference,
        cancel=lambda *_, **__: None,
        shutdown=lambda: fake.ended.append("shutdown"),
        ended=[],
    )
    monkeypatch.setitem(sys.modules, "ray", fake)
    monkeypatch.setattr(Node, "ended", [], raising=False)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    return fake


def values(tasks=2):
    return list(Engine("ray").results(None, [lambda _: ["unused"]] * tasks))


def test_the_stand_in_answers_as_ray_does(ray):
    assert values() == ["a value", "a value"]
    assert ray.ended == ["shutdown"]


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (Exception("The current node\ntimed out."), "The current node timed out."),
        (TimeoutError(), "TimeoutError"),
        (OSError("no room"), "no room"),
        (RayError("no GCS"), "no GCS"),
        (AssertionError(), "AssertionError"),
    ],
)
def test_a_start_that_fails_is_told_and_leaves_no_process(ray, error, told):
    ray.init = lambda **_: Node(error)
    with pytest.raises(ValueError, match=re.escape(f"Ray does not start here ({told}): ")):
        values()
    assert Node.ended == [{"check_alive": False, "allow_graceful": False}]
    assert ray.ended == ["shutdown"]


def test_a_start_that_is_interrupted_leaves_no_process(ray):
    ray.init = lambda **_: Node(KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        values()
    assert len(Node.ended) == len(ray.ended) == 1


def test_an_error_of_a_start_outlives_those_of_its_end(ray, monkeypatch):
    def fails(*_, **__):
        raise RuntimeError("there is no such process")

    monkeypatch.setattr(Node, "kill_all_processes", fails)
    ray.init, ray.shutdown = lambda **_: Node(Exception("timed out")), fails
    with pytest.raises(ValueError, match=r"does not start here \(timed out\)"):
        values()


@pytest.mark.parametrize("name", ["nodes", "cluster_resources", "put", "wait", "remote"])
def test_a_ray_that_is_lost_while_it_works_is_told(ray, name):
    def lost(*_, **__):
        raise RayError("the head is gone\nfor ever")

    setattr(ray, name, lost)
    ray.cancel = ray.shutdown = lost  # which then fail as well
    engine = Engine("ray")
    with pytest.raises(RuntimeError, match=r"^Ray failed \(the head is gone for ever\); start the"):
        list(engine.results(None, [lambda _: []], in_order=name == "cluster_resources"))


@pytest.mark.parametrize("cause", [KeyError("x"), ValueError("no such thing.")])
def test_what_a_task_raises_comes_as_it_is(ray, cause):
    def get(_):
        raise RayTaskError(cause)

    ray.get = get
    with pytest.raises(type(cause)) as caught:
        values()
    assert caught.value is cause


@pytest.mark.parametrize("cause", [RayError("its argument is lost"), None])
def test_a_task_that_ray_itself_failed_is_told(ray, cause):
    def get(_):
        raise RayTaskError(cause)

    ray.get = get
    with pytest.raises(
        RuntimeError, match=r"^A task of Ray failed \(a task failed: .*\); start the"
    ):
        values()


def test_a_ray_that_does_not_fit_other_libraries_is_refused(monkeypatch, tmp_path):
    (tmp_path / "ray.py").write_text("raise TypeError('Descriptors cannot be created directly.')")
    monkeypatch.delitem(sys.modules, "ray", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match=r"cannot be imported \(Descriptors cannot"):
        ray_engine.imported()
