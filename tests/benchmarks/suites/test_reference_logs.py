from __future__ import annotations

from dataclasses import replace

import h5py
import numpy as np
import pytest

from recsim_drpo import load_transitions
from recsim_drpo.benchmarks.reproduce.framework.conditions import Condition
from recsim_drpo.benchmarks.suites import reference_logs
from recsim_drpo.benchmarks.suites.reference_logs import ReferenceLog, reference_log
from recsim_drpo.benchmarks.suites.suite import first_facts, load_suite, names
from recsim_drpo.cli import main

WORLD = {"num_items": 200, "embedding_dim": 16, "num_topics": 5, "reward_noise": 0.8}
CONDITIONS = tuple(
    Condition(label, {"random": share, "expert": 1.0 - share}, WORLD, {}, rounds)
    for label, share, rounds in (("clear", 0.2, 2_100), ("noisy", 0.9, 2_500))
)


@pytest.fixture
def suite(monkeypatch):
    """A suite of two small logs, under the name of one that is out."""
    small = replace(
        load_suite("zipf-map-1"),
        conditions=CONDITIONS,
        seeds=(0, 1),
        logs={c.label: {s: first_facts(c, s) for s in (0, 1)} for c in CONDITIONS},
    )
    monkeypatch.setattr(reference_logs, "load_suite", lambda name: small)
    return small


def test_every_log_has_a_name_by_which_it_is_found():
    logs = list(reference_logs.reference_logs())
    suites = [load_suite(name) for name in names()]
    assert len({log.name for log in logs}) == sum(len(s.labels) * len(s.seeds) for s in suites)
    for log in (logs[0], logs[-1]):
        found = reference_log(log.name)
        assert (found.condition, found.seed) == (log.condition, log.seed)


def test_a_made_log_is_what_the_suite_is_run_on(suite, minari_root, capsys):
    name = "zipf-map-1/log-2-seed-1-v0"
    assert main(["datasets", "make", name]) == 0
    said = capsys.readouterr().out
    assert "2,500 rounds" in said
    assert f"{name} is the suite's log, to the byte." in said
    made, drawn = load_transitions(name, infos=["item_id", "propensity"]), CONDITIONS[1].log(1)
    for column in ("item_id", "propensity"):
        np.testing.assert_array_equal(made.infos[column], drawn.infos[column])
    np.testing.assert_array_equal(made.rewards, drawn.rewards)
    assert main(["datasets", "make", name]) == 2  # it is there


def rewards_of(root, name):
    (path,) = (root / name).glob("**/main_data.hdf5")
    return h5py.File(path, "r+")


def test_another_log_is_refused(suite, minari_root):
    log = ReferenceLog(suite, 1, 0)
    log.make(card=False, progress=False)
    assert log.verify()
    # The same dataset, held against the other seed: another log.
    other = replace(suite, logs={"clear": {0: suite.logs["clear"][1]}})
    with pytest.raises(ValueError, match="'clear' of seed 0 is not that of zipf-map-1"):
        replace(log, suite=other).verify()
    longer = replace(CONDITIONS[0], num_rounds=2_200)
    with pytest.raises(ValueError, match="has 2,100 rounds; the suite's log 2,200"):
        replace(log, suite=replace(suite, conditions=(longer,))).verify()


def test_what_is_beyond_the_checksum_is_checked_too(suite, minari_root):
    log = ReferenceLog(suite, 1, 0)
    log.make(card=False, progress=False)
    with rewards_of(minari_root, log.name) as file:
        last = file[max(file, key=lambda name: int(name.removeprefix("episode_")))]["rewards"]
        last[-1] = np.nextafter(last[-1], np.float32(0.5))
    assert not log.verify()  # one bit: other bytes, the same statistics
    with rewards_of(minari_root, log.name) as file:
        last = file[max(file, key=lambda name: int(name.removeprefix("episode_")))]["rewards"]
        last[-100:] = 1.0 - last[-100:]
    with pytest.raises(ValueError, match="not what its recipe draws"):
        log.verify()


def test_unclipped_rewards_are_no_dataset(suite, minari_root):
    unclipped = replace(suite, conditions=(replace(CONDITIONS[0], unclipped=True),))
    with pytest.raises(ValueError, match="not clipped"):
        ReferenceLog(unclipped, 1, 0).make()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["make"], "is not list, make NAME or verify NAME"),
        (["make", "zipf-map-1"], "is no name of a reference log"),
        (["make", "zipf-map-1/log-13-seed-0-v0"], "zipf-map-1 has logs 1 to 12"),
        (["make", "zipf-map-9/log-1-seed-0-v0"], "zipf-map-9"),
        (["verify", "zipf-map-1/log-1-seed-0-v0"], "zipf-map-1/log-1-seed-0-v0"),
    ],
)
def test_what_is_asked_wrongly_is_one_line(words, says, minari_root, capsys):
    assert main(["datasets", *words]) == 2
    said = capsys.readouterr().err
    assert says in said
    assert said.count("\n") == 1


def test_the_list_has_every_log(capsys):
    assert main(["datasets"]) == 0
    printed = capsys.readouterr().out
    for name in names():
        for number, condition in enumerate(load_suite(name).conditions, 1):
            assert f"{name}/log-{number}-seed-SEED-v0" in printed
            assert condition.label in printed
