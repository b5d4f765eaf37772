"""A suite whose users have sessions: what is earned is a session's return."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from recsim_drpo import evaluate, load_transitions, make_sessions
from recsim_drpo.benchmarks.reproduce.framework.compact import compacted, expanded
from recsim_drpo.benchmarks.reproduce.framework.conditions import Condition
from recsim_drpo.benchmarks.reproduce.framework.study import Study
from recsim_drpo.benchmarks.suites import make, tables
from recsim_drpo.benchmarks.suites.reference_logs import ReferenceLog
from recsim_drpo.benchmarks.suites.result import read
from recsim_drpo.benchmarks.suites.run import Entry, run, verify
from recsim_drpo.benchmarks.suites.suite import load_suite
from recsim_drpo.envs.registration import SESSION_ENV_ID
from recsim_drpo.training.config import TrainingConfig
from recsim_drpo.training.sweep import train_many
from tests.benchmarks.suites.small import suite_text

WORLD = {"num_items": 200, "embedding_dim": 16, "num_topics": 5, "max_steps": 6}
MIXED = {"random": 0.5, "popularity": 0.4, "expert": 0.1}
CONDITIONS = [
    Condition("short", MIXED, WORLD, {}, 2_400, env=SESSION_ENV_ID),
    Condition("bored", MIXED, {**WORLD, "leave_boredom": 0.9}, {}, 2_100, env=SESSION_ENV_ID),
]
SEEDS = [0, 1]
TRAINING = TrainingConfig(steps=20, batch_size=32, evaluate_every=10)
USERS = {"num_test_users": 200, "num_validation_users": 40}
FLOOR, CEILING = 0.25, 1.5


STUDY = Study("small", CONDITIONS, {"bc": [{}], "drpo-q": [{}]}, SEEDS, TRAINING, **USERS)


@pytest.fixture(scope="module")
def references(tmp_path_factory):
    return STUDY.run(tmp_path_factory.mktemp("references"), progress=False)


@pytest.fixture(scope="module")
def content(references):
    metric = {"name": "return", "label": "return", "floor": FLOOR, "ceiling": CEILING}
    metric["scale"] = "0 is nothing"
    return suite_text("small-sessions-1", STUDY, references, metric=metric)


@pytest.fixture
def file(content, tmp_path):
    path = tmp_path / "small-sessions-1.json"
    path.write_text(content)
    return path


@pytest.fixture
def suite(file):
    return load_suite(str(file))


def test_a_record_of_sessions_is_what_an_evaluation_says(references):
    """An agent trained by hand on the same log, and measured on the same users, earns the same."""
    condition = CONDITIONS[1]
    log = condition.log(1)
    (trained,) = train_many(
        {"bc": [{}]}, {1: log}, TRAINING, seeds=[1], execution="eager", progress=False
    )
    found = evaluate(trained.agent, make_sessions(**condition.world), num_users=200)
    (record,) = (
        r for r in references if (r["condition"], r["agent"], r["seed"]) == ("bored", "bc", 1)
    )
    assert record["test"]["return"] == pytest.approx(found.session_return.value, abs=1e-4)
    assert record["test"]["session_length"] == pytest.approx(found.session_length.value, abs=1e-2)
    assert [step for step, _ in record["curve"]] == [0, 10, 20]
    assert record["validation"] == record["curve"][-1][1]
    assert "ecpm" not in record["test"]


def test_compact_records_of_sessions_come_back_with_their_curves(references):
    again = expanded(json.loads(json.dumps(compacted(references, curves=True))))
    for one, then in zip(again, references, strict=True):
        assert one["test"]["return"] == pytest.approx(then["test"]["return"], rel=1e-5)
        assert "reward" not in one["test"]
        assert np.array(one["curve"]) == pytest.approx(np.array(then["curve"]), rel=1e-5)
    assert all("curve" not in one for one in expanded(compacted(references)))


def test_returns_lie_on_the_scale_of_the_suite(suite, references):
    record = references[0]
    share = (record["test"]["return"] - FLOOR) / (CEILING - FLOOR)
    assert suite.metric.normalized(record) == pytest.approx(share)
    assert suite.metric.normalized({"test": {"return": FLOOR}}) == 0.0
    assert suite.metric.normalized({"test": {"return": CEILING}}) == 1.0


def test_an_agent_that_is_a_reference_is_level_with_it(suite, tmp_path):
    run(suite, Entry("bc"), tmp_path / "pieces", progress=False).write(tmp_path / "results.json")
    found = read(tmp_path / "results.json")
    scores = tables.scores_of(suite, found)
    assert set(scores.earned) == {"bc", "bc (reference)", "drpo-q"}
    np.testing.assert_allclose(scores.earned["bc"], scores.earned["bc (reference)"], atol=1e-4)
    text = tables.as_text(suite, found)
    assert "| agent " in text
    assert "difference of return" in text
    assert "0 is nothing" in text
    assert "eCPM" not in text
    said = verify(suite, found, tmp_path / "again")
    assert said[0] == "4 runs on 2 logs, none missing."
    assert ": return " in said[1]
    better = [
        {**r, "test": {**r["test"], "return": r["test"]["return"] + 0.1}} for r in found.records
    ]
    with pytest.raises(ValueError, match=r"made again differs by 0\.1"):
        verify(suite, replace(found, records=better), tmp_path / "other")


@pytest.mark.slow
def test_a_log_of_sessions_is_made_and_verified(suite, minari_root):
    log = ReferenceLog(suite, 2, 1)
    log.make(card=False, progress=False)
    assert log.verify()
    assert len(load_transitions(log.name)) >= 2_100
    other = replace(suite, logs={"bored": {1: suite.logs["short"][1]}})
    with pytest.raises(ValueError, match="'bored' of seed 1 is not that of"):
        replace(log, suite=other).verify()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"name": "ecpm"}, "is not what its environments pay"),
        ({"floor": 2.0}, "floor is not below"),
        ({"ceiling": float("nan")}, "ceiling"),
    ],
)
def test_a_metric_that_is_none_of_its_environments_is_refused(file, changes, says):
    content = json.loads(file.read_text())
    content["metric"] |= changes
    file.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=f"no suite: .*{says}"):
        load_suite(str(file))


def test_the_suite_that_is_out_has_the_published_returns():
    """To the digits that are kept, and on the scale of the policies that know the world."""
    suite = load_suite("zipf-sessions-1")
    report = json.loads((make.PUBLISHED.parent / "sessions.json").read_text())
    for record in suite.references:
        kept = report[f"agents-{record['condition']}"]
        place = kept["seeds"].index(record["seed"])
        expected = kept["returns"][record["agent"]][place]
        assert suite.metric.of(record) == pytest.approx(expected, rel=1e-5)
    known = report["references"]["policies"]
    for name, share in (("random", 0.0), ("far-sighted", 1.0)):
        value = known[name]["session_return"]["value"]
        assert suite.metric.normalized({"test": {"return": value}}) == pytest.approx(share)
    assert suite.references_tuned_by == "nothing"
    assert suite.references_command.endswith("--execution compile, 83f8039")


def test_conditions_of_sessions_take_their_fields_and_no_others():
    assert CONDITIONS[0].as_dict()["env"] == SESSION_ENV_ID
    assert "env" not in Condition("rounds", MIXED).as_dict()
    with pytest.raises(TypeError, match="max_steps"):
        Condition("rounds", MIXED, {"max_steps": 6})
    with pytest.raises(ValueError, match="leave_boredom=2"):
        replace(CONDITIONS[0], world={"leave_boredom": 2.0})
    with pytest.raises(ValueError, match="unclipped=True"):
        replace(CONDITIONS[0], unclipped=True)
    with pytest.raises(ValueError, match="Unknown environment"):
        replace(CONDITIONS[0], env="RecSimZipf-v9")


def test_a_choice_by_held_out_rounds_is_refused_in_sessions(tmp_path):
    study = Study("x", CONDITIONS, {"bc": [{}]}, SEEDS, TRAINING, offline=True, **USERS)
    with pytest.raises(ValueError, match="'short' has sessions"):
        study.run(tmp_path, progress=False)
