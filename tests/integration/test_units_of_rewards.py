"""The same log in another currency: the same agent, and values in that currency."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from recsim_drpo.cli import main
from recsim_drpo.datasets.imported import stored_range
from recsim_drpo.datasets.load import open_dataset
from recsim_drpo.ope.evaluator import OffPolicyEvaluator
from recsim_drpo.ope.held_out import load_and_hold_out
from recsim_drpo.ope.logs import read_item_log
from recsim_drpo.runs.folder import load_agent

pytest.importorskip("pyarrow")

NUM_ROUNDS = 300
FACTORS = (1.0, 1e-4, 1e5)


def run(*arguments):
    return main([str(argument) for argument in arguments])


def learnt(folder: Path, name: str, factor: float, shift: float = 0.0, agent: str = "iql") -> Path:
    """The run on a log whose rewards are those of all others, times a factor and shifted."""
    generator = np.random.default_rng(0)
    with (folder / f"{name}.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["item_id", "reward", "propensity", "x"])
        for x in generator.normal(size=NUM_ROUNDS):
            item = int(generator.integers(3))
            reward = generator.integers(8) / 8 * (0.5 + 0.5 * ((x > 0) == (item == 0)))
            writer.writerow([item, repr(float(shift + factor * reward)), 1 / 3, f"{x:.4f}"])
    np.save(folder / "items.npy", np.eye(3, dtype=np.float32))
    ends = "--reward-range", repr(shift), repr(shift + factor)
    items = "--items", folder / "items.npy", "--numbers", "x"
    assert run("import", f"own/{name}-v0", folder / f"{name}.csv", *items, *ends) == 0
    train = ["train", "--dataset", f"own/{name}-v0", "--agent", agent, "--steps", 30]
    assert run(*train, "--log-every", 30, "--out", folder / name) == 0
    return folder / name / "seed-0"


def last_held_out_value(run_folder: Path) -> float:
    with (run_folder / "history.csv").open() as file:
        return float(list(csv.DictReader(file))[-1]["held_out_value"])


def test_a_log_in_any_currency_trains_one_agent_and_is_told_in_its_own(
    minari_root, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    tmp_path = Path()
    runs = {factor: learnt(tmp_path, f"times-{k}", factor) for k, factor in enumerate(FACTORS)}
    states = [load_agent(folder).state_dict() for folder in runs.values()]
    for state in states[1:]:
        for name, value in states[0].items():
            if isinstance(value, torch.Tensor):
                assert torch.equal(value, state[name]), name
    for k, (factor, folder) in enumerate(runs.items()):
        value = last_held_out_value(runs[1.0])
        assert last_held_out_value(folder) == pytest.approx(factor * value, rel=1e-9)
        out = tmp_path / f"ope-{k}"
        assert run("ope", folder, "--dataset", f"own/times-{k}-v0", "--out", out) == 0
    text = [(tmp_path / f"ope-{k}" / "ope.json").read_text() for k in range(3)]
    (first, *others) = (next(iter(json.loads(one).values())) for one in text)
    for factor, other in zip(FACTORS[1:], others, strict=True):
        for end in ("value", "low", "high"):
            expected = factor * first["logged"][end]
            assert other["logged"][end] == pytest.approx(expected, rel=1e-9)
        told = [one for one in first["estimates"] if one["value"] is not None]
        assert len(told) >= 3
        for mine, its in zip(first["estimates"], other["estimates"], strict=True):
            assert (mine["value"] is None) == (its["value"] is None)
            for end, number in (mine["value"] or {}).items():
                assert its["value"][end] == pytest.approx(factor * number, rel=1e-6)
    tables = [(tmp_path / f"ope-{k}" / "ope.md").read_text() for k in range(3)]
    mean = first["logged"]["value"]
    assert f"{mean:.4f}" in tables[0]
    assert f"{1e-4 * mean:.8f}" in tables[1]
    assert f"{1e5 * mean:.0f}" in tables[2]


class Always:
    """A policy that shows the first item."""

    def act(self, observations):
        return torch.eye(3)[0].expand(len(observations), -1)


def test_a_range_that_does_not_start_at_0_is_told_from_there(minari_root, tmp_path):
    learnt(tmp_path, "plain", 1.0, agent="bc")
    learnt(tmp_path, "stars", 4.0, shift=1.0, agent="bc")
    plain, stars = (open_dataset(f"own/{name}-v0") for name in ("plain", "stars"))
    assert stars.storage.metadata["logged_mean_reward"] == pytest.approx(
        1.0 + 4.0 * plain.storage.metadata["logged_mean_reward"]
    )
    found = [load_and_hold_out(dataset)[1](Always()) for dataset in (plain, stars)]
    assert found[1].value.value == pytest.approx(1.0 + 4.0 * found[0].value.value)
    assert found[1].reward == pytest.approx(found[1].matches + 4.0 * found[0].reward)
    one, other = (OffPolicyEvaluator(read_item_log(each))(Always()) for each in (plain, stars))
    assert other.logged.value == pytest.approx(1.0 + 4.0 * one.logged.value)
    for mine, its in zip(one.estimates, other.estimates, strict=True):
        if mine.value is not None:
            assert tuple(its.value) == pytest.approx([1.0 + 4.0 * x for x in mine.value])


def test_a_dataset_from_before_there_were_units_keeps_its_numbers(minari_root, tmp_path):
    learnt(tmp_path, "old", 5.0, agent="bc")
    dataset = open_dataset("own/old-v0")
    assert read_item_log(dataset).unit.high == 5.0
    assert stored_range(dataset) == (0.0, 1.0)
    about = dict(dataset.storage.metadata["import"])
    del about["reward_range"]
    dataset.storage.update_metadata({"import": about})
    assert stored_range(open_dataset("own/old-v0")) == (0.0, 5.0)
    log = read_item_log(open_dataset("own/old-v0"))
    assert (log.unit.low, log.unit.high) == (0.0, 1.0)
    told = OffPolicyEvaluator(log)(Always())
    assert told.logged.value == pytest.approx(float(log.rewards.double().mean()))
