"""Agents that read propensities and draw items, by command: nothing else has to be asked for."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from recsim_drpo.runs.folder import load_agent

QUICK = ["--steps", "8", "--log-every", "4", "--evaluate-every", "8", "--set", "num_negatives=16"]


@pytest.fixture
def imported(run, minari_root, tmp_path):
    """Ids of an imported log with propensities, and of the same without."""
    generator = np.random.default_rng(0)
    lines = ["item_id,reward,propensity,x"]
    lines += [f"{generator.integers(3)},{k % 2},0.333,{k}" for k in range(200)]
    (tmp_path / "log.csv").write_text("\n".join(lines) + "\n")
    np.save(tmp_path / "items.npy", np.eye(3, dtype=np.float32))
    words = [tmp_path / "log.csv", "--items", tmp_path / "items.npy", "--numbers", "x"]
    assert run("import", "own/known-v0", *words) == 0
    assert run("import", "own/unknown-v0", *words, "--no-propensity") == 0
    return "own/known-v0", "own/unknown-v0"


def rows(folder):
    with (folder / "history.csv").open() as file:
        return [{k: v for k, v in row.items() if v} for row in csv.DictReader(file)]


@pytest.mark.parametrize("agent", ["softmax-pg", "topk-off-policy"])
def test_propensities_and_items_are_loaded_as_they_are_needed(run, dataset, tmp_path, agent):
    def trained(name, *words):
        out = tmp_path / name
        train = ["train", "--dataset", dataset, "--agent", agent, "--out", out, *QUICK]
        assert run(*train, "--seeds", "0", "1", *words) == 0
        return [rows(out / f"seed-{seed}") for seed in (0, 1)]

    asked = trained("asked")
    assert trained("named", "--infos", "item_id", "propensity") == asked
    assert trained("streamed", "--stream") == asked
    load_agent(tmp_path / "asked" / "seed-1")


def test_a_log_without_propensities_is_refused_by_the_column(run, imported, tmp_path, capsys):
    known, unknown = imported
    train = ["train", "--agent", "softmax-pg", "--out", tmp_path / "runs", *QUICK, "--dataset"]
    for more in ([], ["--held-out", "0", "--stream"]):
        assert run(*train, unknown, *more) == 2
        (line,) = capsys.readouterr().err.strip().splitlines()
        assert "'softmax-pg' reads the info column 'propensity', which the dataset" in line
        assert not (tmp_path / "runs").exists()
    assert run(*train, known) == 0
    other = tmp_path / "others"
    assert run("train", "--agent", "softmax-bc", "--out", other, *QUICK, "--dataset", unknown) == 0
