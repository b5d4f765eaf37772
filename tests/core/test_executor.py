"""Tasks here, one after the other or over processes; what an engine refuses."""

from __future__ import annotations

import math
import os
import signal
from functools import partial
from pathlib import Path

import pytest

from recsim_drpo.core.executor import Engine


def squares(shared: int, count: int):
    for number in range(count):
        yield shared, number**2


def whose(shared: list[int]):
    shared.append(0)
    yield os.getpid(), len(shared)


def fails(shared: int):
    yield "first"
    raise ZeroDivisionError(f"by {shared}")


def dies(shared: int):
    os.kill(os.getpid(), signal.SIGKILL)
    yield


@pytest.mark.parametrize("processes", [1, 2])
def test_every_value_of_every_task_comes_back_once(processes):
    tasks = [partial(squares, count=count) for count in (3, 0, 1, 2)]
    found = list(Engine(processes=processes).results(7, tasks))
    assert sorted(found) == sorted((7, n**2) for count in (3, 0, 1, 2) for n in range(count))
    assert list(Engine(processes=processes).results(7, [])) == []


def test_values_come_before_their_task_is_done(tmp_path):
    results = Engine(processes=2).results(tmp_path, [_waits_for_the_driver] * 2)
    assert next(results) == "first"
    (tmp_path / "seen").touch()
    assert sorted(results) == ["first", "second", "second"]


def test_tasks_work_in_other_processes_which_have_the_argument_each():
    found = list(Engine(processes=2).results([], [whose] * 6))
    pids = {pid for pid, _ in found}
    assert os.getpid() not in pids
    assert len(pids) <= 2
    assert sum(1 for _, length in found if length == 1) == len(pids)  # sent once to each


@pytest.mark.parametrize("processes", [1, 2])
def test_what_a_task_raises_comes_as_it_is(processes):
    with pytest.raises(ZeroDivisionError, match=r"^by 3$"):
        list(Engine(processes=processes).results(3, [fails, fails]))


def test_a_killed_process_is_told_with_what_to_do():
    with pytest.raises(RuntimeError, match="goes on from what was finished"):
        list(Engine(processes=2).results(3, [dies, dies]))


def _waits_for_the_driver(shared: Path):
    yield "first"
    while not (shared / "seen").exists():
        pass
    yield "second"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "dask"}, "Known: local, ray"),
        ({"processes": 0}, "processes=0 is not an integer from 1 to 1024"),
        ({"processes": 2_000}, "processes=2000"),
        ({"address": "10.0.0.1:6379"}, "--engine ray"),
        ({"gpus_per_task": 1}, "--engine ray"),
        ({"name": "ray", "gpus_per_task": 1.5}, "a whole number up to 64"),
        ({"name": "ray", "gpus_per_task": -1}, "gpus_per_task=-1"),
        ({"name": "ray", "gpus_per_task": math.nan}, "gpus_per_task=nan"),
        ({"name": "ray", "gpus_per_task": 65}, "gpus_per_task=65"),
    ],
)
def test_what_an_engine_would_not_use_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Engine(**arguments)


@pytest.mark.parametrize("gpus", [0, 0.25, 1, 2, 64])
def test_gpus_are_shares_of_one_or_whole(gpus):
    assert Engine("ray", gpus_per_task=gpus).gpus_per_task == gpus
