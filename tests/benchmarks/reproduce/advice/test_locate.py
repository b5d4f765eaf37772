"""Where a log lies on the phase map."""

from __future__ import annotations

import json

import numpy as np
import pytest

from recsim_drpo import generate_dataset, load_transitions
from recsim_drpo.benchmarks.reproduce.advice import leads, locate
from recsim_drpo.benchmarks.reproduce.advice.log_features import FEATURES, log_features
from recsim_drpo.benchmarks.reproduce.advice.rules import best_judged, judge
from recsim_drpo.cli import main


def point(noise, above_mean, soft, **log):
    """A condition whose log differs from the others in one feature."""
    facts = {
        "rounds": 1_000.0,
        "above_mean": above_mean,
        "skewness": 1.0,
        "reward_gini": 0.5,
        "signal_to_noise": 0.1,
        "effective_items": 50.0,
    }
    return {
        "noise_share": noise,
        "reward_noise": 0.2,
        "popularity_bias": 2.0,
        "rounds": 1_000,
        "best_soft": "awr",
        "leads": {"soft": soft, "bc": [1.0, 1.0], "hard": [-0.1, -0.3]},
        "log": facts | log,
    }


POINTS = [
    point(0.0, 0.5, [-0.2, 0.0]),
    point(0.4, 0.4, [-0.3, -0.3]),
    point(0.8, 0.3, [0.2, 0.4]),
    point(0.95, 0.2, [0.5, 0.5]),
]
PUBLISHED = {"experiment": leads.PHASE_MAP, "verdicts": [], "data": {"points": POINTS}}


def cells(table):
    return [dict(zip(table.header, row, strict=True)) for row in table.rows]


def test_the_rules_answer_and_neighbours_come_in_order():
    facts, answers, neighbours = locate.locate(POINTS[1]["log"] | {"above_mean": 0.33}, POINTS, [])
    assert [row["inside"] for row in cells(facts)] == ["yes"] * len(FEATURES)
    assert facts.rows[0] == ["rounds", "1,000", "1,000", "1,000", "yes"]
    assert facts.note == ""
    soft, bc, hard = cells(answers)
    assert soft["by the rule"] == "DRPO where above_mean ≤ 0.35"
    assert soft["here"] == "DRPO"
    # Without the condition of 0.4 the threshold is 0.4, and that one is told wrong.
    assert answers.rows[0][3:] == ["0.075", "0.100", "0.200", "", "", ""]
    assert (bc["here"], bc["by the rule"], bc["map: rule"]) == (
        "DRPO",
        "DRPO always",
        "0.000",
    )
    assert (hard["here"], hard["map: rule"]) == ("the best soft method", "0.000")
    shares = [row[leads.LABELS["noise_share"]] for row in cells(neighbours)]
    assert shares == ["0.8", "0.4", "0.95", "0"]
    assert cells(neighbours)[0]["DRPO minus the best soft method"] == "+0.300"


def test_of_the_rules_the_one_is_taken_that_holds_elsewhere_too():
    """A threshold that the map suggests, and that is wrong everywhere else, is not taken."""
    elsewhere = [point(0.0, above_mean, [-1.0, -1.0]) for above_mean in (0.1, 0.2, 0.3)]
    never, stump, pair = judge(POINTS, list("abcd"), elsewhere, "soft")
    assert never.rule.describe(FEATURES) == "always"  # the map's sum is +0.4
    assert never.elsewhere == pytest.approx([1.0, 1.0, 0.0])
    assert stump.elsewhere == pytest.approx([1.0, 1.0, 0.0])
    assert pair.rule == stump.rule
    elsewhere = [point(0.0, above_mean, [-1.0, -1.0]) for above_mean in (0.6, 0.7)]
    never, stump, _ = found = judge(POINTS, list("abcd"), elsewhere, "soft")
    assert (never.elsewhere[0], stump.elsewhere[0]) == (1.0, 0.0)
    assert (never.chosen, stump.chosen) == ((2, 0), (0, 0))
    assert best_judged(found) is stump
    # On the map alone "always" and the threshold are told apart by conditions left out.
    assert stump.on_the_map[0] == pytest.approx(0.075)
    rows = cells(locate.rules_table(POINTS, elsewhere))
    bold = [row["rule"] for row in rows if row["rule"].startswith("**")]
    assert len(rows) == 3 * len(leads.PAIRS)
    assert bold[0] == "**DRPO where above_mean ≤ 0.35**"
    assert len(bold) == len(leads.PAIRS)
    assert rows[1]["elsewhere it chooses the first"] == "0 of 2, 0 rightly"


def test_a_log_of_another_kind_is_told_to_be_outside():
    # Shares of 0.2 to 0.5 leave room for 0.03 on either side; equal facts leave none.
    assert locate.outside(POINTS[0]["log"] | {"above_mean": 0.52}, POINTS) == []
    assert locate.outside(POINTS[0]["log"] | {"above_mean": 0.16}, POINTS) == ["above_mean"]
    strange = POINTS[0]["log"] | {"rounds": 2_000.0, "skewness": 9.0}
    facts = locate.locate(strange, POINTS, [])[0]
    assert facts.note.startswith("Outside of the map in rounds, skewness:")
    assert [row["inside"] for row in cells(facts)].count("no") == 2


def test_rounds_and_items_are_compared_by_ratio():
    wide = [point(0.0, 0.3, [0.1, 0.1], rounds=float(n)) for n in (1_000, 10_000, 100_000)]
    for k, one in enumerate(wide):
        one["noise_share"] = float(k)
    near = locate.locate(wide[0]["log"] | {"rounds": 40_000.0}, wide, [])[2]
    shares = [row[leads.LABELS["noise_share"]] for row in cells(near)]
    assert shares == ["2", "1", "0"]


def test_the_command_reads_a_dataset(small_kwargs, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    generate_dataset("try/log-v0", num_rounds=500, env_kwargs=small_kwargs, progress=False)
    results = tmp_path / "results"
    results.mkdir()
    (results / "phase-map.json").write_text(json.dumps(PUBLISHED), encoding="utf-8")
    assert main(["locate", "try/log-v0", "--results", str(results)]) == 0
    printed = capsys.readouterr().out
    batch = load_transitions("try/log-v0", infos=["item_id"]).as_batch()
    facts = log_features(np.asarray(batch.rewards), np.asarray(batch.infos["item_id"]))
    assert f"{facts['above_mean']:.4g}" in printed
    assert "What the rules of thumb say" in printed

    other = PUBLISHED | {"experiment": "table1"}
    (results / "phase-map.json").write_text(json.dumps(other), encoding="utf-8")
    assert main(["locate", "try/log-v0", "--results", str(results)]) != 0
    assert "There is no phase-map among the results" in capsys.readouterr().err
