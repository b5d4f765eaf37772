from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from recsim_drpo import Fleet
from recsim_drpo.agents import Batch
from recsim_drpo.agents.registry import ALGORITHMS
from recsim_drpo.cli import main
from recsim_drpo.datasets.import_log import import_log
from recsim_drpo.datasets.importing.columns import Columns
from recsim_drpo.ope import held_out
from recsim_drpo.ope.held_out import LogEvaluator, load_and_hold_out
from recsim_drpo.runs.folder import load_config

pytest.importorskip("pyarrow")

ITEMS = torch.eye(3)
QUICK = ["--steps", "20", "--log-every", "10", "--evaluate-every", "10"]


def rounds(**infos):
    items = torch.tensor([0, 1, 2, 0, 0])
    rewards = torch.tensor([1.0, 0.0, 1.0, 0.0, 1.0])
    observations = torch.arange(5.0).unsqueeze(1)
    done = torch.ones(5, dtype=torch.bool)
    infos = {"item_id": items} | infos
    return Batch(observations, ITEMS[items], rewards, observations, done, infos)


class Always:
    def __init__(self, action):
        self.action = torch.as_tensor(action)

    def act(self, observations):
        return self.action.expand(len(observations), -1)


def test_value_is_snips_over_the_rounds_that_match():
    propensity = torch.tensor([0.5, 0.5, 0.5, 0.25, 0.1], dtype=torch.float64)
    found = LogEvaluator(rounds(propensity=propensity), ITEMS)(Always([2.0, 0.1, 0.0]))
    # Item 0 was logged in rounds 0, 3 and 4, of weight 2, 4 and 10.
    assert found.value.value == pytest.approx((2 + 10) / 16)
    assert found.effective == pytest.approx(16**2 / (4 + 16 + 100))
    assert (found.matches, found.reward) == (3, 2.0)
    assert (found.num_rounds, found.nonfinite_share) == (5, 0.0)
    assert found.headline() == {
        "held_out_value": pytest.approx(0.75),
        "held_out_matches": 3.0,
        "nonfinite_share": 0.0,
    }


def test_there_is_no_value_where_the_log_says_nothing():
    unknown = LogEvaluator(rounds(), ITEMS)(Always([1.0, 0.0, 0.0]))
    assert unknown.matches == 3
    assert math.isnan(unknown.value.value)
    assert "held_out_value" not in unknown.headline()
    batch = rounds(propensity=torch.full((5,), 0.5, dtype=torch.float64))
    batch.infos["item_id"][1] = 0
    never = LogEvaluator(batch, ITEMS)(Always([0.0, 1.0, 0.0]))
    assert never.headline() == {"held_out_matches": 0.0, "nonfinite_share": 0.0}
    broken = LogEvaluator(batch, ITEMS)(Always([math.nan, 1.0, 0.0]))
    assert (broken.matches, broken.nonfinite_share) == (0, 1.0)


def test_what_does_not_act_or_fit_is_refused():
    evaluator = LogEvaluator(rounds(), ITEMS)
    with pytest.raises(TypeError, match="no method 'act'"):
        evaluator(object())
    with pytest.raises(ValueError, match=r"shape \(5, 2\) for 5 rounds; .* takes \(5, 3\)"):
        evaluator(Always([1.0, 0.0]))


def test_a_fleet_is_measured_as_its_learners_are():
    fleet = Fleet(ALGORITHMS["bc"], seeds=[0, 1, 2], observation_dim=1, action_dim=3)
    propensity = torch.full((5,), 0.5, dtype=torch.float64)
    evaluator = LogEvaluator(rounds(propensity=propensity), ITEMS)
    alone = [evaluator(fleet.learner(k)).headline() for k in range(3)]
    assert [one.headline() for one in evaluator.many(fleet)] == alone


@pytest.fixture
def log(tmp_path) -> Path:
    generator = np.random.default_rng(0)
    lines = ["item_id,reward,propensity,x"]
    lines += [f"{generator.integers(3)},{k % 2},0.333,{k}" for k in range(200)]
    (tmp_path / "log.csv").write_text("\n".join(lines) + "\n")
    np.save(tmp_path / "items.npy", ITEMS.numpy())
    return tmp_path / "log.csv"


def imported(log, **fields):
    return import_log(
        "own/log-v0",
        log,
        log.with_name("items.npy"),
        Columns(numbers=["x"], transforms={"x": "none"}, **fields),
        progress=False,
    )


def test_the_last_rounds_are_held_out(minari_root, log):
    dataset = imported(log)
    first, evaluator = load_and_hold_out(dataset, 0.25, infos=["propensity"])
    assert first.observations()[:, 0].tolist() == list(range(150))
    assert list(first.infos) == ["propensity"]
    assert evaluator(Always([1.0, 0.0, 0.0])).num_rounds == 50
    whole, nothing = load_and_hold_out(dataset, 0.0)
    assert (len(whole), nothing) == (200, None)
    for share, message in ((0.001, "none to hold out"), (0.999, "none to learn from")):
        with pytest.raises(ValueError, match=message):
            load_and_hold_out(dataset, share)
    with pytest.raises(ValueError, match=r"held_out=1.0 is not a number in \[0, 1\)"):
        load_and_hold_out(dataset, 1.0)


def history(folder):
    with (folder / "seed-0/history.csv").open() as file:
        return list(csv.DictReader(file))


def run(*arguments):
    return main([str(argument) for argument in arguments])


def test_import_and_train_by_command(minari_root, log, tmp_path, capsys):
    items, out = log.with_name("items.npy"), tmp_path / "runs"
    assert run("import", "own/log-v0", log, "--items", items, "--numbers", "x") == 0
    assert "imported" in (printed := capsys.readouterr().out)
    assert "200 rounds in" in printed
    train = ["train", "--dataset", "own/log-v0", "--agent", "drpo", "--out", out / "drpo"]
    assert run(*train, *QUICK, "--held-out", "0.2") == 0
    assert "held_out_matches" in capsys.readouterr().out
    last = history(out / "drpo")[-1]
    assert 0 < float(last["held_out_matches"]) <= 40
    assert 0 <= float(last["held_out_value"]) <= 1
    assert load_config(out / "drpo" / "seed-0")["source"]["held_out"] == 0.2
    assert run(*train[:-1], out / "all", *QUICK, "--held-out", "0") == 0
    assert "held_out_matches" not in history(out / "all")[-1]
    assert run(*train[:-1], out / "none", *QUICK, "--held-out", "1") == 2
    assert run("evaluate", out / "drpo") == 2
    assert "of no environment of ours. What is known" in capsys.readouterr().err


def test_training_without_propensities_claims_no_value(minari_root, log, tmp_path):
    imported(log, propensity=None)
    train = ["train", "--dataset", "own/log-v0", "--agent", "bc", "--out", tmp_path / "bc"]
    assert run(*train, *QUICK) == 0
    last = history(tmp_path / "bc")[-1]
    assert "held_out_matches" in last
    assert "held_out_value" not in last


def test_held_out_is_for_imported_logs(minari_root, tmp_path, capsys):
    world = ["--world", "num_items=300", "embedding_dim=16", "num_topics=5"]
    assert run("generate", "own/made-v0", "--rounds", 100, "--no-card", *world) == 0
    train = ["train", "--dataset", "own/made-v0", "--agent", "bc", "--out", tmp_path / "bc"]
    assert run(*train, "--held-out", "0.1") == 2
    assert "--held-out is for imported logs" in capsys.readouterr().err
    assert not (tmp_path / "bc").exists()


def test_items_are_found_by_the_decoder_that_is_named(monkeypatch):
    class FindsTheLast:
        def search(self, queries, k):
            return torch.zeros(len(queries), k), torch.full((len(queries), k), len(ITEMS) - 1)

    def make(name, vectors):
        assert name == "faiss:Flat"
        assert vectors is ITEMS
        return FindsTheLast()

    monkeypatch.setattr(held_out, "make_decoder", make)
    evaluator = LogEvaluator(rounds(), ITEMS, decoder="faiss:Flat")
    assert evaluator(Always([1.0, 0.0, 0.0])).matches == 1  # the round that shows item 2
