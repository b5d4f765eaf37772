from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from recsim_drpo import cli, make_world, simulate_transitions
from recsim_drpo.benchmarks.calibrate import admissible
from recsim_drpo.benchmarks.reproduce import runner
from recsim_drpo.benchmarks.reproduce.experiments import table2, worlds
from recsim_drpo.benchmarks.reproduce.framework import offline
from recsim_drpo.benchmarks.reproduce.framework.conditions import (
    EXPERT_ONLY,
    Condition,
    OtherWorld,
    expert_degraded,
    noise_injected,
    other_worlds,
    scenario,
)
from recsim_drpo.benchmarks.reproduce.framework.estimates import (
    brief,
    difference,
    interval,
    mean_of,
    signed,
)
from recsim_drpo.benchmarks.reproduce.framework.offline import RewardModel
from recsim_drpo.benchmarks.reproduce.framework.records import best_variant, chosen_offline, values
from recsim_drpo.benchmarks.reproduce.framework.settings import Settings
from recsim_drpo.benchmarks.reproduce.framework.store import Store, differences
from recsim_drpo.benchmarks.reproduce.framework.study import Study
from recsim_drpo.benchmarks.reproduce.framework.verdicts import Verdict, by_sign, earns_more
from recsim_drpo.reporting.statistics import Estimate, seed_interval
from recsim_drpo.simulator.reference_policies import reference_policy
from recsim_drpo.training.config import TrainingConfig

TRAINING = TrainingConfig(steps=20, batch_size=32, log_every=10, evaluate_every=10)


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


def test_mixtures_by_hand():
    base = scenario("medium")
    assert base.weights == {"random": 0.3, "popularity": 0.6, "expert": 0.1}
    noisy = noise_injected(base, 0.8).weights
    assert noisy == pytest.approx({"random": 0.06 + 0.8, "popularity": 0.12, "expert": 0.02})
    degraded = expert_degraded(base, 0.5, 1.0)
    assert degraded.weights == pytest.approx({"random": 0.35, "popularity": 0.6, "expert": 0.05})
    assert degraded.world == {"reward_noise": 1.0}
    assert expert_degraded(EXPERT_ONLY, 0.1, 0.0).weights == pytest.approx(
        {"random": 0.1, "popularity": 0.0, "expert": 0.9}
    )
    assert noise_injected(base, 0.0).weights == pytest.approx(base.weights)
    with pytest.raises(ValueError, match=r"ratio=1\.5"):
        noise_injected(base, 1.5)


@pytest.mark.slow
def test_other_worlds_meet_the_facts_and_differ():
    worlds = other_worlds(3)
    assert len({json.dumps(one.world, sort_keys=True) for one in worlds}) == 3
    for one in worlds:
        assert admissible(one.facts)
        assert one.facts["optimum_ecpm"] == pytest.approx(2.0, abs=0.02)
        assert one.facts["medium_ecpm"] == pytest.approx(1.0, abs=0.01)
    assert other_worlds(3) == worlds


def test_a_condition_logs_what_it_says(small_kwargs):
    condition = small("x", small_kwargs)
    log = condition.log(4)
    same = simulate_transitions(
        scenario={"expert": 1.0}, num_rounds=600, seed=4, env_kwargs=dict(small_kwargs)
    )
    assert torch.equal(log.rewards, same.as_batch().rewards)
    assert set(log.infos) == {"item_id", "propensity"}


def test_a_reward_model_prefers_better_policies(small_kwargs):
    world = make_world(**small_kwargs)
    log = Condition(
        "x", {"random": 0.5, "expert": 0.5}, world=dict(small_kwargs), num_rounds=4_000
    ).log(0)
    model = RewardModel(log, 0)
    worth = [
        model.value(reference_policy(name, world), world)
        for name in ("random", "popularity", "oracle")
    ]
    assert worth == sorted(worth)
    assert RewardModel(log, 0).value(reference_policy("oracle", world), world) == worth[-1]


def test_a_study_comes_back_in_order(small_kwargs, tmp_path, monkeypatch):
    monkeypatch.setattr(offline, "_STEPS", 20)
    study = study_of(small_kwargs, offline=True)
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
    kept = {path: path.read_bytes() for path in (tmp_path / "stopped" / "records").iterdir()}
    assert_alike(study.run(tmp_path / "stopped", progress=False), whole)
    assert all(path.read_bytes() == text for path, text in kept.items())
    assert len(kept) == 3
    assert not set(done) & set(repeated)
    assert len(done) + len(repeated) == 8
    assert not [p for p in (tmp_path / "stopped").rglob("*") if "partial" in p.name]


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
    assert list(differences({"a": {"b": 1, "c": 2}}, {"a": {"b": 1}, "d": 3})) == [
        "a.c: 2, now not there",
        "d: not there, now 3",
    ]


def record(agent, seed, ecpm, variant=0, validation=0.0, offline=0.0):
    return {
        "condition": "c",
        "agent": agent,
        "variant": variant,
        "seed": seed,
        "overrides": {},
        "diverged_at": None,
        "test": {"ecpm": ecpm},
        "validation": validation,
        "offline": offline,
    }


def test_variants_are_chosen_on_validation_users_or_offline_never_on_test_users():
    records = [
        record("a", seed, ecpm, variant, validation, offline)
        for variant, validation, rows in (
            (0, 1.0, [(0, 9.0, 0.2), (1, 9.0, 0.9)]),
            (1, 2.0, [(0, 1.0, 0.8), (1, 2.0, 0.1)]),
        )
        for seed, ecpm, offline in rows
    ]
    assert best_variant(records, "c", "a") == 1
    assert values(records, agent="a", variant=1).tolist() == [1.0, 2.0]
    assert chosen_offline(records, "c", "a").tolist() == [1.0, 9.0]
    with pytest.raises(ValueError, match="4 records with seeds"):
        values(records, agent="a")
    with pytest.raises(ValueError, match="0 records"):
        values(records, agent="b", variant=0)


def test_few_seeds_have_wide_intervals_and_many_bootstrapped_ones():
    few, many = np.array([1.0, 2.0, 4.0]), np.random.default_rng(0).normal(size=20)
    assert interval(few) == seed_interval(few)
    assert difference(few, few[::-1]).value == pytest.approx(0.0)
    assert interval(many) != seed_interval(many)
    assert interval(many).value == pytest.approx(many.mean())


@pytest.mark.parametrize(
    ("estimate", "verdict"),
    [
        (Estimate(1.0, 0.5, 1.5), "holds"),
        (Estimate(-1.0, -1.5, -0.5), "does not hold"),
        (Estimate(0.1, -0.5, 0.5), "undecided"),
        (Estimate(0.1, float("nan"), float("nan")), "undecided"),
    ],
)
def test_verdicts_go_by_the_interval(estimate, verdict):
    assert by_sign(estimate, "c", "s", "", "", "cmd").verdict == verdict


def test_a_single_seed_is_shown_without_an_interval():
    alone = interval(np.array([1.234]))
    assert (brief(alone), signed(alone)) == ("1.23", "+1.23")
    said = by_sign(alone, "c", "s", "", "", "cmd")
    assert said.because == "the difference is +1.23, of a single replicate, which has no interval"
    assert brief(Estimate(1.234, 1.0, 2.0)) == "1.23 [1.00, 2.00]"


def test_holding_scores_against_others_is_paired():
    ours, theirs = np.array([1.0, 2.0, 3.0]), np.array([0.9, 1.9, 2.85])
    found = earns_more(ours, theirs, "c", "s", "", "cmd")
    assert found.verdict == "holds"
    assert found.ours == f"{mean_of(ours)} against {mean_of(theirs)}"
    assert earns_more(theirs, ours, "c", "s", "", "cmd").verdict == "does not hold"


def test_a_verdict_is_one_of_four():
    with pytest.raises(ValueError, match="Did you mean 'holds'"):
        Verdict("c", "s", "", "", "hold", "", "")


@pytest.fixture
def tiny(monkeypatch, small_kwargs):
    """Every experiment's studies on a tiny world, with a few updates."""
    real = Settings.study

    def study(self, name, conditions, agents, **counts):
        from dataclasses import replace

        shrunk = [replace(c, world={**c.world, **small_kwargs}, num_rounds=400) for c in conditions]
        made = real(self, name, shrunk, agents, **counts)
        return replace(
            made,
            conditions=shrunk,
            training=TRAINING,
            num_test_users=100,
            num_validation_users=50,
            agents={n: [{**v, "hidden_dim": 4} for v in vs] for n, vs in made.agents.items()},
        )

    monkeypatch.setattr(Settings, "study", study)
    world = OtherWorld(3, {"delta": 0.3}, {}, 400, {})
    monkeypatch.setattr(worlds, "other_worlds", lambda count: (world,))
    monkeypatch.setattr(offline, "_STEPS", 20)


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("name", ["table1", "worlds", "table2", "table6", "figure3"])
def test_an_experiment_leaves_tables_pictures_and_verdicts(name, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["reproduce", name, "--quick", "--processes", "1"]) == 0
    printed = capsys.readouterr().out
    assert f"# {name} (quick)" in printed
    folder = tmp_path / "reproduction-quick" / name
    result = json.loads((folder / "result.json").read_text())
    assert result["quick"] is True
    assert result["experiment"] == name
    assert result["plans"][0]["training"]["steps"] == 20
    assert {"revision", "versions", "device", "wall_time_s"} <= result.keys()
    assert result["verdicts"]
    for verdict in result["verdicts"]:
        assert f"reproduce {name}" in verdict["command"]
    text = (folder / "tables.md").read_text()
    assert "Only the full run is evidence" in text
    for table in result["tables"]:
        assert table["title"] in text
        assert all(len(row) == len(table["header"]) for row in table["rows"])
    pictures = {path.suffix for path in folder.iterdir() if name in path.name and path.is_file()}
    assert pictures == {".png", ".svg"}
    assert runner.as_markdown(result) == text
    if name == "worlds":
        assert [point["label"] for point in result["data"]["points"]] == [
            plan["label"] for plan in result["plans"][0]["conditions"]
        ]
        for point, plan in zip(
            result["data"]["points"], result["plans"][0]["conditions"], strict=True
        ):
            assert point["log"]["rounds"] == plan["num_rounds"]


def test_table_2_names_its_rows_rightly():
    """The variants that the rows point to are the mechanisms that they are called by."""
    variants = {row: table2.AGENTS[agent][k] for row, (agent, k) in table2.ROWS.items()}
    assert variants["filter alone"] == {
        "baseline": "mean",
        "adaptive": False,
        "initial_kappa": 0.5,
        "min_kappa": 0.5,
    }
    assert variants["soft base alone"] == {}
    assert variants["both, fixed"] == {"adaptive": False, "initial_kappa": 0.5, "min_kappa": 0.5}
    assert variants["both, adaptive"] == {}
    assert table2.ROWS["soft base alone"][0] == "asymre"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["tabel1"], "Did you mean 'table1'"),
        (["table1", "--processes", "0"], "processes=0"),
        (["table1", "--seeds", "0"], "seeds=0"),
        (["table1", "--device", "cuda:77"], "device='cuda:77'"),
    ],
)
def test_mistakes_are_found_before_any_work(arguments, message, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["reproduce", *arguments]) == 2
    assert message in capsys.readouterr().err
    assert list(Path(tmp_path).iterdir()) == []
