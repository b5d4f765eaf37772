from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from recsim_drpo import make_agent, register_agent
from recsim_drpo.datasets.generate import simulate_transitions
from recsim_drpo.training.config import TrainingConfig
from recsim_drpo.training.sweep import train_many
from recsim_drpo.tuning.candidates import Candidates
from recsim_drpo.tuning.criteria import Problem
from recsim_drpo.tuning.outcome import FIRST_FRESH, Outcome, as_text, confirmed
from recsim_drpo.tuning.search import Search, SearchConfig, Task, opened_storage
from recsim_drpo.tuning.space import Choices, Range

pytest.importorskip("optuna", exc_type=ImportError)

TRAINING = TrainingConfig(steps=20, batch_size=16)
SPACE = {"learning_rate": Range(1e-4, 1e-1, log=True)}
FIXED = {"hidden_dim": 8}


@pytest.fixture(scope="module")
def log(small_kwargs):
    return simulate_transitions(
        scenario="extreme", num_rounds=400, seed=0, env_kwargs=dict(small_kwargs)
    )


def size_of(policy):
    """A value that grows with how far a policy moved: of the larger learning rate, in short."""
    return float(policy.act(torch.ones(1, policy.observation_dim)).norm())


def task_of(log, criterion=size_of, agent="bc", space=SPACE, **others):
    criteria = {"true-reward": criterion, "offline": lambda policy: -criterion(policy)}
    problem = Problem(log, "true-reward", criteria, lambda policy: 1.0, "nobody")
    return Task(agent, space, FIXED, TRAINING, problem, **others)


def run(task, config, place):
    search = Search.opened(task, config, opened_storage(place))
    search.recover()
    assert sum(search.try_some(search.left())) >= 0
    return search


def trials_of(search):
    return [
        (trial.number, trial.state.name, trial.params, trial.value)
        for trial in search.study.get_trials()
    ]


@pytest.mark.parametrize("agent", ["bc", "iql", "drpo"])
def test_a_fleet_that_loses_members_trains_the_others_as_before(log, agent):
    values = [{"hidden_dim": 8, "learning_rate": rate} for rate in (1e-3, 1e-2, 3e-2)]
    whole = Candidates.of(agent, values, [0, 1], log, TRAINING, "eager")
    cut = Candidates.of(agent, values, [0, 1], log, TRAINING, "eager")
    whole.advance(0, 20)
    cut.advance(0, 8)
    cut.keep([0, 2])
    cut.advance(8, 13)
    cut.keep([1])
    cut.advance(13, 20)
    for one, other in zip(whole.policies(2), cut.policies(0), strict=True):
        states = one.state_dict(), other.state_dict()
        assert states[0].keys() == states[1].keys()
        for name, tensor in states[0].items():
            torch.testing.assert_close(states[1][name], tensor, rtol=1e-5, atol=1e-6)


def test_trials_are_trained_as_train_many_does(log, tmp_path):
    seen = []
    search = run(
        task_of(log, lambda policy: seen.append(policy) or size_of(policy)),
        SearchConfig(trials=2, pruner="none", together=2),
        tmp_path / "trials",
    )
    trials = search.study.get_trials()
    variants = [{**FIXED, **trial.params} for trial in trials]
    expected = train_many({"bc": variants}, log, TRAINING, progress=False)
    for trial, trained in zip(trials, expected, strict=True):
        assert trial.value == pytest.approx(size_of(trained.agent), rel=1e-5)
        assert trial.user_attrs["updates"] == 20
        assert trial.user_attrs["offline"] == pytest.approx(-trial.value)


def test_what_a_pruner_gives_up_is_not_trained_further(log, tmp_path):
    config = SearchConfig(trials=16, together=8, rungs=4, seeds=2, sampler="random")
    search = run(task_of(log), config, tmp_path / "trials")
    counts = search.counts()
    assert counts["PRUNED"] >= 1
    assert sum(counts.values()) == 16
    of = {trial.number: trial for trial in search.study.get_trials()}
    for trial in of.values():
        rungs = len(trial.intermediate_values)
        whole = trial.state.name == "COMPLETE"
        assert trial.user_attrs["updates"] == 2 * (20 if whole else 5 * rungs)
    assert search.updates() == sum(trial.user_attrs["updates"] for trial in of.values()) < 640


def test_a_search_that_is_stopped_goes_on_with_what_it_had_begun(log, tmp_path):
    config = SearchConfig(trials=6, together=3, pruner="none", sampler="random")
    calls = []

    def failing(policy):
        calls.append(policy)
        if len(calls) == 6:
            raise KeyboardInterrupt
        return size_of(policy)

    with pytest.raises(KeyboardInterrupt):
        run(task_of(log, failing), config, tmp_path / "stopped")
    whole = run(task_of(log), config, tmp_path / "whole")
    stopped = run(task_of(log), config, tmp_path / "stopped")
    complete = [
        sorted((t.params["learning_rate"], t.value) for t in search.completed())
        for search in (whole, stopped)
    ]
    assert len(complete[0]) == len(complete[1]) == 6
    # What was begun and not told is tried again, by the same values.
    lost = {t.params["learning_rate"] for t in stopped.study.get_trials() if t.value is None}
    assert lost
    assert lost <= {rate for rate, _ in complete[1]}


def test_a_search_that_was_killed_goes_on(log, tmp_path):
    config = SearchConfig(trials=3, together=2, pruner="none")
    search = Search.opened(task_of(log), config, opened_storage(tmp_path / "trials"))
    distributions = {name: values.distribution() for name, values in SPACE.items()}
    begun = search.study.ask(distributions)  # and the process is gone
    assert search.left() == 2
    search = run(task_of(log), config, tmp_path / "trials")
    assert search.counts() == {"COMPLETE": 3, "FAIL": 1}
    rates = [t.params["learning_rate"] for t in search.completed()]
    assert begun.params["learning_rate"] in rates
    assert search.left() == 0


def test_values_that_are_no_numbers_are_failures_and_not_tried_forever(log, tmp_path):
    search = run(task_of(log, lambda policy: math.nan), SearchConfig(trials=4), tmp_path / "trials")
    assert search.counts() == {"FAIL": 4}
    with pytest.raises(ValueError, match="No trial came to its end"):
        search.completed()


def test_a_budget_ends_the_search(log, tmp_path):
    config = SearchConfig(trials=100, budget=130, together=3, pruner="none")
    search = run(task_of(log), config, tmp_path / "trials")
    # Fleets of 3 x 20 updates begin at 0, 60 and 120.
    assert search.updates() == 180
    assert search.is_spent()


def test_trials_of_different_shapes_train_apart(log, tmp_path):
    space = {"hidden_dim": Choices((4, 8)), "batch_size": Choices((8, 16)), **SPACE}
    config = SearchConfig(trials=8, together=8, sampler="random")
    search = run(replace(task_of(log, space=space), fixed={}), config, tmp_path / "trials")
    shapes = {(t.params["hidden_dim"], t.params["batch_size"]) for t in search.study.get_trials()}
    assert len(shapes) > 1
    assert sum(search.counts().values()) == 8


def test_another_search_is_refused(log, tmp_path):
    run(task_of(log), SearchConfig(trials=1), tmp_path / "trials")
    other = replace(task_of(log), fixed={"hidden_dim": 16})
    with pytest.raises(ValueError, match=r"another search: fixed was .*8.* and is now .*16"):
        run(other, SearchConfig(trials=2), tmp_path / "trials")
    # More trials are the same search.
    search = run(task_of(log), SearchConfig(trials=2, together=1), tmp_path / "trials")
    assert len(search.study.get_trials()) == 2


def test_a_storage_that_cannot_be_had_is_refused_in_one_line(tmp_path):
    with pytest.raises(ValueError, match="cannot be had") as refusal:
        opened_storage("nosuch://place")
    assert "\n" not in str(refusal.value)


@pytest.mark.usefixtures("clean_registry")
def test_agents_from_outside_are_tried_one_by_one(log, tmp_path):
    @register_agent("alone")
    def alone(*, scale: float = 1.0, **shape):
        return make_agent("bc", hidden_dim=8, learning_rate=scale, **shape)

    task = replace(task_of(log, agent="alone", space={"scale": Range(1e-4, 1e-2)}), fixed={})
    search = run(task, SearchConfig(trials=6, together=6, rungs=2), tmp_path / "trials")
    assert sum(search.counts().values()) == 6
    trial = search.completed()[0]
    expected = train_many({"alone": [trial.params]}, log, TRAINING, progress=False)
    assert trial.value == pytest.approx(size_of(expected[0].agent), rel=1e-6)


def test_the_winner_is_told_on_fresh_seeds_and_the_gap_of_the_criteria(log, tmp_path):
    search = run(task_of(log), SearchConfig(trials=5, pruner="none"), tmp_path / "trials")
    problem = replace(search.task.problem, final=size_of)
    search = replace(search, task=replace(search.task, problem=problem))
    kept = []
    outcome = confirmed(search, 2, keep=kept.append, progress=False)
    best = max(search.study.get_trials(), key=lambda trial: trial.value)
    assert outcome.winner == {**FIXED, **best.params}
    assert outcome.seeds == (FIRST_FRESH, FIRST_FRESH + 1)
    variants = [outcome.winner, FIXED]
    runs = train_many({"bc": variants}, log, TRAINING, seeds=outcome.seeds, progress=False)
    measured = [size_of(trained.agent) for trained in runs]
    assert outcome.values == {"winner": tuple(measured[:2]), "defaults": tuple(measured[2:])}
    assert outcome.difference.value == pytest.approx(np.mean(measured[:2]) - np.mean(measured[2:]))
    assert [trained.run.seed for trained in kept] == list(outcome.seeds)
    # The offline criterion is minus the true one here: it would choose the worst.
    values = [trial.value for trial in search.study.get_trials()]
    assert outcome.gap.rank_correlation == pytest.approx(-1.0)
    assert outcome.gap.best == max(values)
    assert outcome.gap.chosen_offline == min(values)
    text = as_text(outcome)
    assert str(outcome.difference) in text
    assert f"a gap of {max(values) - min(values):.3f}" in text
    assert f"`--set hidden_dim=8 learning_rate={best.params['learning_rate']!r}`" in text


def test_the_winner_is_told_as_options_that_give_its_very_values():
    winner = {"sigma": "state", "flag": True, "rate": 1 / 3, "batch_size": 64}
    outcome = Outcome(None, winner, (), {}, None)
    assert outcome.options == "--set sigma=state flag=true rate=0.3333333333333333 --batch-size 64"
    assert replace(outcome, winner={"batch_size": 64}).options == "--batch-size 64"
