"""Runs of earlier results stand for those of a study: what is the same, and nothing else."""

from __future__ import annotations

import json
import shutil

import pytest

from recsim_drpo import cli
from recsim_drpo.benchmarks.reproduce import publish, runner
from recsim_drpo.benchmarks.reproduce.experiments.phase_map import LogStudy
from recsim_drpo.benchmarks.reproduce.framework import settings, takeover
from recsim_drpo.benchmarks.reproduce.framework.compact import compacted
from recsim_drpo.benchmarks.reproduce.framework.conditions import Condition
from recsim_drpo.benchmarks.reproduce.framework.offline import RewardModelConfig
from recsim_drpo.benchmarks.reproduce.framework.online import OnlineStudy
from recsim_drpo.benchmarks.reproduce.framework.study import Study
from recsim_drpo.benchmarks.reproduce.results import read_result
from recsim_drpo.training.config import TrainingConfig
from tests.benchmarks.reproduce.small import TINY, tiny

SMALL = {"hidden_dim": 4}
WIDE = {"hidden_dim": 8}
FIELDS = {
    "name": "try",
    "seeds": (0, 1),
    "training": TrainingConfig(steps=20, batch_size=32, log_every=10, evaluate_every=10),
    "num_test_users": 200,
    "num_validation_users": 100,
    "seeds_at_once": 2,
}


def condition(label, kwargs, **weights):
    return Condition(label, weights or {"expert": 1.0}, world=dict(kwargs), num_rounds=300)


def study_of(kwargs, kind=Study, **changes):
    fields = {"conditions": [condition("one", kwargs)], "agents": {"bc": [SMALL]}}
    return kind(**FIELDS | fields | changes)


def published(study, records, folder, **changes):
    """A published result of these runs, read again from its file."""
    result = {
        "experiment": study.name,
        "quick": False,
        "plans": [study.plan()],
        "revision": "abc1234",
        "versions": {"torch": "1"},
        "device": "1 thread",
        "wall_time_s": 1.0,
        "verdicts": [],
        "tables": [],
        "data": {},
        "records": records,
        **changes,
    }
    path = folder / "earlier.json"
    path.write_text(publish.as_text(publish.reduced(result, [])))
    return read_result(path)


def without_marks(records):
    return json.dumps([{k: v for k, v in r.items() if k != takeover.MARK} for r in records])


def test_an_extended_study_is_the_study_run_whole(small_kwargs, tmp_path):
    """Seeds, agents, variants and conditions are added; nothing that was there is trained."""
    few = study_of(small_kwargs, agents={"bc": [SMALL], "drpo": [SMALL]})
    whole = study_of(
        small_kwargs,
        conditions=[condition("new", small_kwargs, random=1.0), condition("one", small_kwargs)],
        agents={"asymre": [SMALL], "drpo": [WIDE, SMALL], "bc": [SMALL]},
        seeds=(0, 1, 2),
    )
    records = whole.run(tmp_path / "whole", progress=False)
    there = [
        {**record, "variant": 0}
        for record in records
        if record["condition"] == "one"
        and record["seed"] < 2
        and record["agent"] in few.agents
        and record["overrides"] == SMALL
    ]
    assert len(there) == 4
    earlier = published(few, there, tmp_path)

    found = whole.run(tmp_path / "extended", progress=False, earlier=[earlier])
    taken = [record for record in found if takeover.MARK in record]
    # BC's piece has been trained again, to compare, and is kept as it is now.
    assert [(r["agent"], r["variant"], r["seed"]) for r in taken] == [
        ("drpo", 1, 0),
        ("drpo", 1, 1),
    ]
    assert {r[takeover.MARK] for r in taken} == {"try, revision abc1234"}
    trained = {path.stem for path in (tmp_path / "extended" / "records").iterdir()}
    assert {key for key in trained if "001-one" in key} == {
        "001-one-asymre-seeds-0to1",
        "001-one-asymre-seeds-2",
        "001-one-bc-seeds-0to1",
        "001-one-bc-seeds-2",
        "001-one-drpo-seeds-0to1-variants-0",
        "001-one-drpo-seeds-2",
    }
    assert len(found) == len(records) == 2 * 4 * 3
    for one, other in zip(found, records, strict=True):
        names = ("condition", "agent", "variant", "overrides", "seed")
        assert [one[name] for name in names] == [other[name] for name in names]
        assert one["test"]["ecpm"] == pytest.approx(other["test"]["ecpm"], abs=0.1)

    # With the new pieces as the whole study left them, not one byte is another.
    shutil.copytree(tmp_path / "whole", tmp_path / "same")
    (tmp_path / "same/records/001-one-drpo-seeds-0to1.json").unlink()
    (tmp_path / "same/records/001-one-bc-seeds-0to1.json").unlink()
    both = published(whole, [r for r in records if r["seed"] < 2], tmp_path)
    again = whole.run(tmp_path / "same", progress=False, earlier=[both])
    assert sum(takeover.MARK in record for record in again) == 4 + 2
    assert json.dumps(compacted(again)) == json.dumps(compacted(records))


def numbers(kwargs, tmp_path, folder="first", **changes):
    study = study_of(kwargs, **changes)
    return published(study, study.run(tmp_path / folder, progress=False), tmp_path)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"training": TrainingConfig(steps=21, batch_size=32, evaluate_every=10)},
            "training.steps: 20, now 21",
        ),
        (
            {"training": TrainingConfig(steps=20, batch_size=33, log_every=10, evaluate_every=10)},
            "training.batch_size: 32, now 33",
        ),
        ({"num_test_users": 201}, "num_test_users: 200, now 201"),
        ({"num_validation_users": 101}, "num_validation_users: 100, now 101"),
        ({"execution": "eager"}, "execution: 'auto', now 'eager'"),
        ({"offline": True}, "offline: False, now True"),
    ],
)
def test_what_all_numbers_depend_on_is_not_taken_over_when_it_changed(
    changes, said, small_kwargs, tmp_path
):
    earlier = published(study_of(small_kwargs), [], tmp_path)
    with pytest.raises(ValueError, match="can be taken over") as caught:
        study_of(small_kwargs, **changes).run(tmp_path / "new", earlier=[earlier])
    assert said in str(caught.value)
    assert not (tmp_path / "new").exists()


def test_what_is_only_looked_at_more_often_is_taken_over(small_kwargs, tmp_path):
    short = RewardModelConfig(num_rounds=100, steps=5)
    agents = {"bc": [SMALL], "drpo": [SMALL]}
    rich = study_of(small_kwargs, offline=True, reward_model=short, agents=agents)
    earlier = published(rich, rich.run(tmp_path / "first", progress=False), tmp_path)
    ends = TrainingConfig(steps=20, batch_size=32, log_every=20, evaluate_every=20)
    plain = study_of(small_kwargs, training=ends, agents=agents)
    found = plain.run(tmp_path / "new", progress=False, earlier=[earlier])
    assert sum(takeover.MARK in record for record in found) == 2
    assert all(record["offline"] is None for record in found)
    with pytest.raises(ValueError, match=r"reward_model.steps: 5, now 9"):
        study_of(
            small_kwargs,
            offline=True,
            reward_model=RewardModelConfig(num_rounds=100, steps=9),
            agents=agents,
        ).run(tmp_path / "third", earlier=[earlier])


def test_other_conditions_and_variants_are_trained(small_kwargs, tmp_path):
    earlier = numbers(small_kwargs, tmp_path)
    for number, changes in enumerate(
        (
            {"conditions": [condition("one", {**small_kwargs, "delta": 0.3})]},
            {"conditions": [condition("one", small_kwargs, random=0.5, expert=0.5)]},
            {"agents": {"bc": [{"hidden_dim": 5}]}},
            {"agents": {"bc": [{"hidden_dim": 4, "learning_rate": 3e-3}]}},
            {"agents": {"asymre": [SMALL]}},
            {"seeds": (2, 3)},
            {"name": "another"},
        )
    ):
        study = study_of(small_kwargs, **changes)
        records = study.run(tmp_path / str(number), progress=False, earlier=[earlier])
        assert len(records) == 2
        assert not any(takeover.MARK in record for record in records)
    kin = study_of(small_kwargs, name="another", kin=("try",), seeds=(0, 1, 2))
    found = kin.run(tmp_path / "kin", progress=False, earlier=[earlier])
    assert len(found) == 3


def test_plans_of_former_files_have_four_digits_and_later_ones_all(small_kwargs, tmp_path):
    exact = condition("one", {**small_kwargs, "delta": 0.31234567})
    kept = study_of(small_kwargs, conditions=[exact]).plan()["conditions"][0]
    former = json.loads(json.dumps(kept))
    former["world"]["delta"] = 0.3123
    near = json.loads(json.dumps(kept))
    near["world"]["delta"] = 0.31234568
    assert takeover._among(kept, [kept])
    assert takeover._among(former, [kept])
    assert not takeover._among(near, [kept])
    assert not takeover._among(kept, [former])
    plan = published(study_of(small_kwargs, conditions=[exact]), [], tmp_path)["plans"][0]
    assert plan["conditions"][0]["world"]["delta"] == 0.31234567


def test_numbers_that_are_others_now_are_refused(small_kwargs, tmp_path):
    study = study_of(small_kwargs)
    records = study.run(tmp_path / "first", progress=False)
    for record in records:
        record["test"]["ecpm"] += 0.2
    earlier = published(study, records, tmp_path)
    with pytest.raises(ValueError, match=r"bc, .*differs by 0\.\d+ eCPM, more than 0\.05"):
        study.run(tmp_path / "new", progress=False, earlier=[earlier])


def test_what_a_study_needs_of_a_log_is_read_off_the_points_of_the_result(small_kwargs, tmp_path):
    study = study_of(small_kwargs, LogStudy, agents={"bc": [SMALL], "drpo": [SMALL]})
    records = study.run(tmp_path / "first", progress=False)
    earlier = published(study, records, tmp_path)
    assert "log" not in earlier["records"][0]
    with pytest.raises(ValueError, match="records lack what this experiment needs"):
        study.run(tmp_path / "new", progress=False, earlier=[earlier])
    earlier["data"] = {"points": [{"label": "one", "log": {"rounds": 300.0}}]}
    found = study.run(tmp_path / "new", progress=False, earlier=[earlier])
    kept = [record for record in found if takeover.MARK in record]
    assert [record["agent"] for record in kept] == ["drpo", "drpo"]
    assert all(record["log"] == {"rounds": 300.0} for record in kept)
    assert all("skewness" in r["log"] for r in found if r["agent"] == "bc")  # trained to compare


def test_what_cannot_be_made_again_is_not_taken_over(small_kwargs, tmp_path):
    study = study_of(small_kwargs, OnlineStudy, agents={"drpo": [SMALL]})
    records = study.run(tmp_path / "first", progress=False)
    with pytest.raises(ValueError, match="records lack what this experiment needs"):
        study.run(tmp_path / "new", progress=False, earlier=[published(study, records, tmp_path)])
    whole = {**published(study, [], tmp_path), "records": records}
    assert without_marks(study.run(tmp_path / "first", earlier=[whole])) == json.dumps(records)


def test_the_command_takes_over_a_result_and_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(settings, "QUICK", TINY)
    runner.reproduce(["table2"], tiny(tmp_path / "first", num_seeds=4))
    arguments = ["reproduce", "table2", "--quick", "--seeds", "6", "--processes", "1"]
    arguments += ["--from", str(tmp_path / "first"), "--out", str(tmp_path / "second")]
    assert cli.main(arguments) == 0
    result = json.loads((tmp_path / "second/table2/result.json").read_text())
    (mark,) = result["taken"]
    assert mark["from"].startswith("table2, revision")
    assert mark["seeds"] == [0, 1, 2, 3]
    assert mark["runs"] == sum(takeover.MARK in record for record in result["records"]) > 0
    assert {record["seed"] for record in result["records"]} == set(range(6))
    trained = [path.stem for path in (tmp_path / "second/table2/table2/records").iterdir()]
    assert sum("seeds-0to3" in key for key in trained) == 1  # to compare
    capsys.readouterr()
    assert cli.main(["reproduce", "table2", "--from", str(tmp_path / "first")]) == 2
    assert f"training.steps: {TINY.steps}, now 5000" in capsys.readouterr().err
