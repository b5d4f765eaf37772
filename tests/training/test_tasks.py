"""Sweeps computed by an engine against the same sweeps computed here, to the bit."""

from __future__ import annotations

import pickle
from contextlib import contextmanager
from functools import partial

import numpy as np
import pytest
import torch

from recsim_drpo import Evaluator
from recsim_drpo.core.executor import Engine
from recsim_drpo.training.config import TrainingConfig
from recsim_drpo.training.sweep import train_many
from recsim_drpo.training.tasks import OnEngine

CONFIG = TrainingConfig(steps=30, batch_size=32, log_every=10, evaluate_every=15)
AGENTS = {
    "drpo": [{"hidden_dim": 8}, {"hidden_dim": 8, "target_ratio": 0.2, "batch_size": 16}],
    "tests.training.test_tasks:Outside": [{}],
}


class Elsewhere(Engine):
    """As other processes would: pickles go there and come back, the last task first if it may."""

    @contextmanager
    def opened(self):
        yield

    def results(self, shared, tasks, *, in_order=False):
        for task in tasks if in_order else reversed(tasks):
            shared, task = pickle.loads(pickle.dumps((shared, task)))
            yield from map(pickle.loads, map(pickle.dumps, task(shared)))


HERE, ELSEWHERE = Engine(), Elsewhere()


class Outside:
    """An agent from outside: the mean of logged actions."""

    def __init__(self, *, observation_dim, action_dim, seed, device):
        self.mean, self.device = torch.full((action_dim,), float(seed), device=device), device

    def update(self, batch):
        self.mean = self.mean.lerp(batch.actions.mean(0), 0.1)
        return {"distance": (batch.actions - self.mean).square().mean()}

    def act(self, observations):
        return self.mean.expand(len(observations), -1)

    def state_dict(self):
        return {"mean": self.mean}

    def load_state_dict(self, state):
        self.mean = state["mean"].to(self.device)


class Kept:
    """Checkpoints in memory; saves so many and then stops."""

    every = 10

    def __init__(self, most: float = float("inf")) -> None:
        self.states, self.most = {}, most

    def load(self, name):
        return self.states.get(name)

    def save(self, name, state):
        if len(self.states) >= self.most:
            raise InterruptedError
        self.states[name] = state


def outcomes(runs):
    return [(t.run, t.dims, t.options, t.history, t.diverged_at) for t in runs]


def check_same(found, expected):
    assert outcomes(found) == outcomes(expected)
    for one, other in zip(found, expected, strict=True):
        assert type(one.agent) is type(other.agent)
        mine, theirs = one.agent.state_dict(), other.agent.state_dict()
        assert mine.keys() == theirs.keys()
        observations = torch.linspace(-1, 1, 30).reshape(3, 10)
        actions = [torch.as_tensor(t.agent.act(observations)) for t in (one, other)]
        assert torch.equal(*actions)
        for name, value in theirs.items():
            if isinstance(value, torch.Tensor):
                assert torch.equal(mine[name], value), name
                assert mine[name].untyped_storage().nbytes() <= value.untyped_storage().nbytes()


@pytest.fixture(scope="module")
def sweep(logs):
    """Trains agents that are ours and from outside, two seeds each, two at once."""
    return partial(train_many, AGENTS, logs, CONFIG, seeds=[0, 1], fleet_size=2, progress=False)


@pytest.fixture(scope="module")
def here(sweep):
    """What it comes to here, with the rows by run."""
    rows = []
    found = sweep(evaluator=evaluator(), on_log=lambda run, row: rows.append((run, row)))
    return found, rows


def evaluator():
    from recsim_drpo import make_world
    from tests.conftest import SMALL_WORLD

    return Evaluator(make_world(**SMALL_WORLD), 50, split="validation")


def by_run(rows):
    return sorted(((run.agent, str(run.overrides), run.seed), *row.items()) for run, row in rows)


@pytest.mark.parametrize(
    "engine",
    [HERE, ELSEWHERE, pytest.param(Engine(processes=2), marks=pytest.mark.slow)],
    ids=["here", "pickles", "processes"],
)
def test_whoever_computes_the_numbers_are_the_same(sweep, here, engine):
    rows, done = [], []
    found = sweep(
        evaluator=evaluator(),
        on_log=lambda run, row: rows.append((run, row)),
        on_done=done.append,
        compute=OnEngine(engine),
    )
    check_same(found, here[0])
    assert by_run(rows) == by_run(here[1])
    assert len(done) == len(found) == 6


def test_of_what_was_kept_when_it_stopped_it_goes_on_to_the_same_end(sweep, here):
    kept = Kept(most=2)
    with pytest.raises(InterruptedError):
        sweep(evaluator=evaluator(), checkpoints=kept, compute=OnEngine(HERE))
    assert len(kept.states) == 2
    kept.most = float("inf")
    again = []
    found = sweep(
        evaluator=evaluator(),
        checkpoints=kept,
        on_log=lambda run, row: again.append(row["step"]),
        compute=OnEngine(ELSEWHERE),
    )
    check_same(found, here[0])
    assert len(again) < len(here[1])  # what was kept was not trained anew


def test_a_log_that_workers_read_is_not_sent_to_them(logs, tmp_path):
    class NotSent(type(logs[0])):
        def __reduce__(self):
            raise AssertionError("the log was sent")

    np.save(tmp_path / "rewards.npy", logs[0].rewards.numpy())
    log = object.__new__(NotSent)
    log.__dict__ = logs[0].__dict__
    run = partial(train_many, {"bc": [{"hidden_dim": 4}]}, log, CONFIG, progress=False)
    found = run(seeds=[0, 1], fleet_size=1, compute=OnEngine(ELSEWHERE, partial(read, logs[0])))
    check_same(found, run(seeds=[0, 1], fleet_size=1))


@contextmanager
def read(log, device):
    assert device == torch.device("cpu")
    yield log


def test_what_a_worker_raises_ends_it(logs):
    with pytest.raises(ZeroDivisionError, match=r"^here$"):
        train_many({"bc": [{}]}, logs, CONFIG, progress=False, compute=OnEngine(HERE, fails))


def fails(device):
    raise ZeroDivisionError("here")


@pytest.mark.parametrize(("gpus", "sizes"), [(0, [8, 2]), (0.5, [10])])
def test_a_fleet_is_cut_into_parts_as_large_as_a_device_takes(logs, gpus, sizes):
    """Seeds of a fleet, at most 8 on a CPU, 512 on a GPU, or as many as are asked for."""
    compute = Cut(Engine("ray", gpus_per_task=gpus))
    run = partial(train_many, {"bc": [{"hidden_dim": 4}]}, logs[0], CONFIG, seeds=range(10))
    with pytest.raises(PartsError) as caught:
        run(compute=compute)
    assert [len(part.runs()) for part in caught.value.args[0]] == sizes
    with pytest.raises(PartsError) as caught:
        run(compute=compute, fleet_size=4)
    assert [part.seeds for part in caught.value.args[0]] == [(0, 1, 2, 3), (4, 5, 6, 7), (8, 9)]


class PartsError(Exception):
    """The parts that there are to be trained."""


class Cut(OnEngine):
    """Tells the parts, and trains none."""

    def __call__(self, parts, logs, shape, callbacks):
        raise PartsError(parts)


def test_each_task_has_its_own_gpus():
    assert OnEngine(Engine("ray", gpus_per_task=0.5)).device == "cuda"
    assert OnEngine(Engine("ray")).device is None
