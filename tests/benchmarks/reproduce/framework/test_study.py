"""Studies: trained in fleets, over processes, resumably."""

from __future__ import annotations

import json

import pytest

from recsim_drpo.benchmarks.reproduce.framework.conditions import (
    Condition,
    scenario,
)
from recsim_drpo.benchmarks.reproduce.framework.offline import RewardModelConfig
from recsim_drpo.benchmarks.reproduce.framework.records import revisions_of
from recsim_drpo.benchmarks.reproduce.framework.settings import Scale, Settings
from recsim_drpo.benchmarks.reproduce.framework.store import Store
from recsim_drpo.benchmarks.reproduce.framework.study import Study
from recsim_drpo.training.config import TrainingConfig

TRAINING = TrainingConfig(steps=20, batch_size=32, log_every=10, evaluate_every=10)
SHORT = RewardModelConfig(num_rounds=200, steps=20)


def small(label, kwargs, **weights):
    return Condition(label, weights or {"expert": 1.0}, world=dict(kwargs), num_rounds=600)


def study_of(kwargs, **changes):
    fields = {
        "name": "try",
        "conditions": [small("one", kwargs), small("two", kwargs, random=0.5, expert=0.5)],
        "agents": {"bc": [{"hidden_dim": 4}], "drpo": [{"hidden_dim": 4}, {"hidden_dim": 8}]},
        "seeds": (0, 1, 2),
        "training": TRAINING,
        "num_test_users": 200,
        "num_validation_users": 100,
        "seeds_at_once": 2,
        **changes,
    }
    return Study(**fields)


def test_a_study_comes_back_in_order(small_kwargs, tmp_path):
    study = study_of(small_kwargs, offline=True, reward_model=SHORT)
    records = study.run(tmp_path, progress=False)
    keys = [(r["condition"], r["agent"], r["variant"], r["seed"]) for r in records]
    assert keys == [
        (condition, agent, variant, seed)
        for condition in ("one", "two")
        for agent, count in (("bc", 1), ("drpo", 2))
        for variant in range(count)
        for seed in (0, 1, 2)
    ]
    for record in records:
        assert [step for step, _ in record["curve"]] == [0, 10, 20]
        assert record["validation"] == record["curve"][-1][1]
        assert record["test"]["ecpm"] == pytest.approx(5 * record["test"]["reward"])
        assert isinstance(record["offline"], float)
        assert record["overrides"] == dict(study.agents[record["agent"]][record["variant"]])
    json.dumps(records, allow_nan=False)


def assert_alike(found, expected):
    """The same runs, and the same numbers but for the rounding of another product of matrices."""
    for one, two in zip(found, expected, strict=True):
        for key in ("condition", "agent", "variant", "overrides", "seed", "diverged_at"):
            assert one[key] == two[key]
        assert one["test"]["distance"] == pytest.approx(two["test"]["distance"], rel=1e-3)
        assert one["test"]["reward"] == pytest.approx(two["test"]["reward"], abs=0.02)


def test_a_stopped_study_goes_on_without_changing_a_number(small_kwargs, tmp_path, monkeypatch):
    study = study_of(small_kwargs)
    whole = study.run(tmp_path / "whole", progress=False)

    class StopError(Exception):
        pass

    put, done = Store.put, []

    def stop(self, key, piece):
        if len(done) == 3:
            raise StopError
        done.append(key)
        put(self, key, piece)

    monkeypatch.setattr(Store, "put", stop)
    with pytest.raises(StopError):
        study.run(tmp_path / "stopped", progress=False)
    repeated = []

    def note(self, key, piece):
        repeated.append(key)
        put(self, key, piece)

    monkeypatch.setattr(Store, "put", note)
    monkeypatch.setattr("recsim_drpo.benchmarks.reproduce.framework.study.revision", lambda: "new")
    kept = {path: path.read_bytes() for path in (tmp_path / "stopped" / "records").iterdir()}
    found = study.run(tmp_path / "stopped", progress=False)
    assert_alike(found, whole)
    first, *_ = whole
    assert revisions_of(whole) == first["revision"] != "new"
    assert revisions_of(found) == f"{first['revision']}, new"
    assert all(path.read_bytes() == text for path, text in kept.items())
    assert len(kept) == 3
    assert not set(done) & set(repeated)
    assert len(done) + len(repeated) == 8
    assert not [p for p in (tmp_path / "stopped").rglob("*") if "partial" in p.name]


@pytest.mark.slow
def test_processes_change_nothing(small_kwargs, tmp_path):
    study = study_of(small_kwargs, agents={"bc": [{"hidden_dim": 4}]}, seeds=(0, 1))
    alone = study.run(tmp_path / "alone", progress=False)
    assert_alike(study.run(tmp_path / "many", processes=2, progress=False), alone)


def test_seeds_can_be_added_without_repeating_a_run(small_kwargs, tmp_path):
    few, all_four = (
        study_of(small_kwargs, agents={"bc": [{"hidden_dim": 4}]}, seeds=tuple(range(count)))
        for count in (2, 4)
    )
    first = few.run(tmp_path, progress=False)
    kept = {path: path.read_bytes() for path in (tmp_path / "records").iterdir()}
    assert len(kept) == 2
    found = all_four.run(tmp_path, progress=False)
    assert [r for r in found if r["seed"] < 2] == first
    assert sorted(r["seed"] for r in found) == [0, 0, 1, 1, 2, 2, 3, 3]
    assert all(path.read_bytes() == text for path, text in kept.items())
    assert len(list((tmp_path / "records").iterdir())) == 4
    assert few.run(tmp_path, progress=False) == first


def test_results_of_another_configuration_are_refused_with_the_difference(small_kwargs, tmp_path):
    study_of(small_kwargs, conditions=[small("one", small_kwargs)]).run(tmp_path, progress=False)
    other = study_of(
        small_kwargs,
        conditions=[small("one", {**small_kwargs, "delta": 0.5})],
        training=TrainingConfig(steps=30, batch_size=32, log_every=10, evaluate_every=10),
    )
    with pytest.raises(ValueError, match="another configuration") as caught:
        other.run(tmp_path, progress=False)
    assert "training.steps: 20, now 30" in str(caught.value)
    assert "conditions" in str(caught.value)


def test_settings_say_how_large_a_study_is(tmp_path):
    conditions = [scenario("medium"), scenario("extreme", num_rounds=300)]
    agents = {"bc": [{}]}
    full = Study.of(Settings(False, tmp_path), "x", conditions, agents, full=3, quick=2)
    assert full == Study("x", conditions, agents, (0, 1, 2), full_seeds=3)
    quick = Study.of(Settings(True, tmp_path), "x", conditions, agents, full=3, quick=2)
    assert quick.seeds == (0, 1)
    assert [condition.num_rounds for condition in quick.conditions] == [20_000, 300]
    assert (quick.training.steps, quick.training.evaluate_every) == (500, 250)
    assert quick.full_seeds == 3
    few = Settings(True, tmp_path, num_seeds=1, execution="eager")
    ends = Study.of(few, "x", conditions, agents, full=3, quick=2, steps=9, curves=False)
    assert (ends.seeds, ends.execution) == ((0,), "eager")
    assert (ends.training.steps, ends.training.evaluate_every) == (500, 500)
    scale = Scale(max_rounds=9, steps=8, evaluate_every=4, world={"num_items": 30})
    tiny = Study.of(
        Settings(False, tmp_path, scale=scale), "x", conditions, agents, full=3, quick=2
    )
    assert [condition.num_rounds for condition in tiny.conditions] == [9, 9]
    assert tiny.conditions[0].world == {"num_items": 30}
    assert (tiny.training.steps, tiny.training.evaluate_every) == (8, 4)


def test_a_plan_says_how_the_reward_model_is_fitted_only_where_that_is_its_own(small_kwargs):
    """Folders of studies from before have no such key, and go on."""
    assert "reward_model" not in study_of(small_kwargs).plan()
    plan = study_of(small_kwargs, reward_model=SHORT).plan()
    assert plan["reward_model"] == {"num_rounds": 200, "steps": 20}
