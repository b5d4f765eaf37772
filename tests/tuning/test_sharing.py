"""Searches that several machines work on, in a database."""

from __future__ import annotations

import time
from dataclasses import replace
from types import SimpleNamespace

import pytest

from recsim_drpo.datasets.generate import simulate_transitions
from recsim_drpo.training.config import TrainingConfig
from recsim_drpo.tuning import search as search_module, sharing
from recsim_drpo.tuning.criteria import Problem
from recsim_drpo.tuning.search import Search, SearchConfig, Task, opened_storage
from recsim_drpo.tuning.sharing import ALIVE, PATIENCE, Watch, counting
from recsim_drpo.tuning.space import Range

pytest.importorskip("optuna", exc_type=ImportError)

SPACE = {"learning_rate": Range(1e-4, 1e-1, log=True)}
DISTRIBUTIONS = {name: values.distribution() for name, values in SPACE.items()}


@pytest.fixture(scope="module")
def task(small_kwargs):
    log = simulate_transitions(
        scenario="extreme", num_rounds=400, seed=0, env_kwargs=dict(small_kwargs)
    )
    problem = Problem(log, "nothing", {"nothing": lambda policy: 1.0}, lambda policy: 1.0, "nobody")
    return Task("bc", SPACE, {"hidden_dim": 8}, TrainingConfig(steps=2, batch_size=16), problem)


@pytest.fixture
def opened(task, tmp_path, monkeypatch):
    """A machine's own view of one search, of six trials."""
    monkeypatch.setattr(search_module, "_PAUSE", 0.05)

    def opened(seed=0):
        config = SearchConfig(trials=6, together=2, pruner="none", seed=seed)
        return Search.opened(task, config, opened_storage(f"sqlite:///{tmp_path}/trials.db"))

    return opened


def test_machines_may_begin_at_one_moment(opened, monkeypatch):
    """One of them makes the tables then, and the other is told that they are there."""
    from optuna import storages
    from sqlalchemy.exc import IntegrityError

    tried = []
    whole = storages.RDBStorage

    class Late(whole):
        def __init__(self, *arguments):
            tried.append(arguments)
            if len(tried) == 1:
                raise IntegrityError("UNIQUE constraint failed", None, Exception())
            super().__init__(*arguments)

    monkeypatch.setattr(storages, "RDBStorage", Late)
    monkeypatch.setattr(search_module.time, "sleep", tried.append)
    assert opened().left() == 6
    assert tried[1] == 1.0
    assert len(tried) == 3


def test_who_joins_leaves_alone_what_others_are_at(opened):
    first = opened()
    trial = first.study.ask(DISTRIBUTIONS)
    second = opened(1)
    second.recover()
    assert second.counts() == {"RUNNING": 1}
    first.study.tell(trial, 1.0)
    assert second.counts() == {"COMPLETE": 1}


def test_machines_make_as_many_trials_as_were_asked_for_together(opened):
    first, second = opened(), opened(1)
    begun = first.try_some(first.left())
    assert next(begun) == 2
    assert sum(second.try_some(6)) == 4
    assert sum(begun) == 0
    assert first.counts() == second.counts() == {"COMPLETE": 6}


def test_what_a_machine_that_is_gone_was_at_is_tried_again(opened, monkeypatch):
    """Only once its count has stood still for long, and by the same values."""
    monkeypatch.setattr(sharing, "PATIENCE", 0.3)
    lost = opened().study.ask(DISTRIBUTIONS)  # and the machine is gone
    second = opened(1)
    began = time.monotonic()
    assert sum(second.try_some(second.left())) == 6
    assert time.monotonic() - began > 0.3
    assert second.counts() == {"COMPLETE": 6, "FAIL": 1}
    assert lost.params in [trial.params for trial in second.completed()]


def test_who_was_taken_for_gone_tells_nothing_twice(opened):
    first, second = opened(), opened(1)
    trial = first.study.ask(DISTRIBUTIONS)
    running = search_module._Running(first.study, {trial.number: trial})
    second._give_back(second._trials("RUNNING"))
    running.told(trial, 1.0)
    other = search_module._Running(first.study, {trial.number: trial})
    other.give_back()
    assert first.counts() == {"FAIL": 1, "WAITING": 1}


@pytest.mark.parametrize("pruner", ["none", "median"])
def test_a_machine_that_slept_goes_on_with_what_is_still_its_own(pruner, task, tmp_path):
    """While it measures its first trial, the other machine takes that for gone."""
    storage = opened_storage(f"sqlite:///{tmp_path}/trials.db")
    config = SearchConfig(trials=6, together=2, pruner=pruner, rungs=2)
    other = Search.opened(task, config, storage)
    taken = []

    def criterion(policy):
        if not taken:
            taken.extend(other._trials("RUNNING")[:1])
            other._give_back(taken)
        return 1.0

    problem = replace(task.problem, criteria={"nothing": criterion})
    search = Search.opened(replace(task, problem=problem), config, storage)
    assert sum(search.try_some(search.left())) == 6 + 1
    assert search.counts() == {"COMPLETE": 6, "FAIL": 1}
    assert taken[0].params in [trial.params for trial in search.completed()]


def test_a_count_that_stands_still_is_of_a_machine_that_is_gone():
    """By the watcher's own clock, from when it first saw the count."""
    now = [0.0]
    watch = Watch(lambda: now[0])

    def gone(**counts):
        trials = [
            SimpleNamespace(
                number=int(name[1:]), user_attrs={} if count is None else {ALIVE: count}
            )
            for name, count in counts.items()
        ]
        return [trial.number for trial in watch.gone(trials)]

    assert gone(t1=None, t2=5) == []
    now[0] = PATIENCE
    assert gone(t1=None, t2=6, t3=1) == []
    now[0] = PATIENCE + 1
    assert gone(t1=None, t2=6, t3=1) == [1]
    now[0] = 2 * PATIENCE + 1
    assert gone(t2=6, t3=2) == [2]
    assert gone(t1=None) == []  # was away, so it is seen anew


def test_trials_count_up_while_they_are_trained(opened, monkeypatch):
    monkeypatch.setattr(sharing, "INTERVAL", 0.05)
    search = opened()
    trials = [search.study.ask(DISTRIBUTIONS) for _ in range(2)]
    with counting(lambda: trials):
        search.study.tell(trials[0], 1.0)  # a trial that is told ends nothing
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            count = opened().study.get_trials()[1].user_attrs.get(ALIVE, 0)
            if count >= 2:
                break
            time.sleep(0.05)
    assert count >= 2
    ended = opened().study.get_trials()[1].user_attrs[ALIVE]
    time.sleep(0.2)
    assert opened().study.get_trials()[1].user_attrs[ALIVE] == ended


def test_a_search_in_a_database_counts_up_and_one_in_a_file_does_not(
    opened, task, tmp_path, monkeypatch
):
    asked = []
    monkeypatch.setattr(
        search_module, "counting", lambda under_way: asked.append(under_way()) or counting(list)
    )
    search = opened()
    assert sum(search.try_some(6)) == 6
    assert [len(trials) for trials in asked] == [2, 2, 2]
    search = Search.opened(task, SearchConfig(trials=2), opened_storage(tmp_path / "trials"))
    assert sum(search.try_some(2)) == 2
    assert len(asked) == 3
