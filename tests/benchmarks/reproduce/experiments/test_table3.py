"""Table 3 and Figure 4."""

from __future__ import annotations

import json

import numpy as np
import pytest

from recsim_drpo.benchmarks.reproduce import runner
from recsim_drpo.benchmarks.reproduce.experiments import (
    table3,
)
from tests.benchmarks.reproduce.small import SEEDS, WOBBLE, record, tiny


def test_table_3_that_was_stopped_goes_on_to_the_same_numbers(tmp_path):
    whole = runner.reproduce(["table3"], tiny(tmp_path))[0]
    pieces = sorted((tmp_path / "table3").rglob("records/*.json"))
    assert len(pieces) == len(table3.AGENTS)
    pieces[1].unlink()
    again = runner.reproduce(["table3"], tiny(tmp_path))[0]
    assert json.dumps(again["records"]) == json.dumps(whole["records"])
    assert len(whole["records"]) == 2 * len(table3.AGENTS)
    assert {verdict["command"] for verdict in whole["verdicts"]} == {table3.COMMAND}
    assert (tmp_path / "table3" / "figure4-admitted.png").exists()
    for run in whole["records"]:
        assert [step for step, _ in run["curve"]] == [0, 2, 4]
        assert [row["step"] for row in run["followed"]] == [2, 4]
        assert ("admitted" in run["followed"][0]) == run["agent"].startswith("drpo")


def test_a_single_seed_of_table_3_decides_nothing(tmp_path):
    result = runner.reproduce(["table3"], tiny(tmp_path, num_seeds=1))[0]
    assert {verdict["verdict"] for verdict in result["verdicts"]} == {"undecided"}


def test_steps_and_drawdowns_by_hand():
    steps = np.array([0.0, 250.0, 500.0])
    ecpm = np.array([[0.2, 1.0, 0.7], [0.1, 0.2, 0.3]])
    assert table3.steps_to(steps, ecpm, np.array([0.63, 0.3])).tolist() == [250.0, 500.0]
    assert table3.steps_to(steps, ecpm, np.array([2.0, 0.0])).tolist() == [np.inf, 0.0]
    assert table3.drawdown(ecpm) == pytest.approx([0.3, 0.0])


def test_the_curriculum_goes_by_the_filters_first_and_last_step():
    records = [
        record(
            "medium",
            "drpo",
            seed,
            1.0,
            followed=[
                {"step": step, "kappa": kappa + WOBBLE[seed] / 10, "admitted": share + WOBBLE[seed]}
                for step, kappa, share in ((500, 0.5, 0.1), (1000, 0.4, 0.9))
            ],
        )
        for seed in range(SEEDS)
    ]
    tightened, curriculum = table3.curriculum_verdicts(records)
    assert tightened.verdict == "does not hold"
    assert curriculum.verdict == "holds"
