from __future__ import annotations

import json

import pytest
import torch

from recsim_drpo import make_agent
from recsim_drpo.agents.algorithms.stacked import MEMBERS, outputs_of
from recsim_drpo.agents.algorithms.stacking import unit
from recsim_drpo.benchmarks import all_logs
from recsim_drpo.benchmarks.reproduce.framework.conditions import OtherWorld
from tests.benchmarks.reproduce.published import ROOT


def test_all_88_logs_are_there_once_each(monkeypatch):
    worlds = [OtherWorld(k, {"catalogue_seed": k}, {}, 50_000, {}) for k in range(8)]
    monkeypatch.setattr(all_logs, "other_worlds", lambda: worlds)
    logs = all_logs.conditions()
    assert len({log.label for log in logs}) == len(logs) == 72 + 16
    assert [log.label for log in logs] == [log.label for log in all_logs.conditions()]


def test_parts_are_the_three_and_their_means():
    agent = make_agent("stacked", observation_dim=3, action_dim=2, hidden_dim=8)
    weights = torch.tensor([0.0, 3.0, 1.0], dtype=torch.float64)
    agent.load_state_dict({**agent.state_dict(), "state.weights": weights})
    observations = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    acts = {name: part.act(observations) for name, part in all_logs.parts_of(agent, 2)}
    assert tuple(acts) == all_logs.PARTS
    state = agent.state_dict()
    parameters = {k[11:]: v for k, v in state.items() if k.startswith("parameters.")}
    for name, outputs in outputs_of(parameters, observations).items():
        torch.testing.assert_close(acts[name], unit(outputs[:, :2]))
    three = [acts[name] for name in MEMBERS]
    torch.testing.assert_close(acts["equal weights"], sum(three) / 3)
    mean = 0.75 * three[1] + 0.25 * three[2]
    torch.testing.assert_close(acts["weighted mean"], mean, atol=1e-5, rtol=0.0)


def record(seed, ecpm, part):
    return {
        "condition": "a log",
        "seed": seed,
        "test": {"ecpm": ecpm},
        "parts": dict.fromkeys(all_logs.PARTS, part),
    }


def test_losses_are_to_the_best_of_the_seeds_that_both_have():
    found = {"a log": {"drpo": {0: 1.0, 1: 1.2, 2: 9.0}, "iql": {0: 1.3, 1: 1.1, 2: 0.0}}}
    rows = all_logs.losses([record(0, 1.25, 1.0), record(1, 1.2, 0.9)], found)
    assert [(row["best"], row["ecpm"]) for row in rows] == [("iql", pytest.approx(1.2))]
    lost = rows[0]["lost"]
    assert lost["stacked"] == pytest.approx([0.05, -0.1])
    assert lost["regressed"] == pytest.approx([0.3, 0.2])
    assert lost["drpo"] == pytest.approx([0.3, -0.1])
    text = all_logs.report(rows)
    assert " iql 1.20 |" in text
    assert "-0.025" in text  # what stacked loses on average


def test_a_part_alone_can_be_the_best():
    rows = all_logs.losses([record(0, 1.25, 1.4)], {"a log": {"drpo": {0: 1.0}}})
    assert rows[0]["best"] in all_logs.MEMBERS
    assert rows[0]["lost"]["stacked"] == pytest.approx([0.15])
    assert rows[0]["lost"]["drpo"] == pytest.approx([0.4])


def test_losses_are_written_as_numbers_tables_and_a_picture(tmp_path):
    found = {"a log": {"drpo": {0: 1.0, 1: 1.2}, "two-tower": {0: 1.3, 1: 1.1}}}
    records = [record(seed, 1.25, 1.0) | {"shares": {"regressed": 1.0}} for seed in (0, 1)]
    rows = all_logs.losses(records, found)
    all_logs.write(records, rows, tmp_path / "out")
    kept = json.loads((tmp_path / "out" / "all-logs.json").read_text(encoding="utf-8"))
    assert kept["losses"][0]["lost"]["stacked"] == [0.05, -0.15]
    assert [run["ecpm"] for run in kept["runs"]] == [1.25, 1.25]
    assert (tmp_path / "out" / "all-logs.md").read_text(encoding="utf-8") == all_logs.report(rows)
    assert (tmp_path / "out" / "all-logs.svg").exists()


def test_the_page_shows_what_is_published():
    kept = json.loads((ROOT / "benchmarks/results/all-logs.json").read_text(encoding="utf-8"))
    page = (ROOT / "docs/all_logs.md").read_text(encoding="utf-8")
    for table in all_logs.report(kept["losses"]).strip().split("\n\n"):
        assert table in page
    best = all_logs.mean_losses(kept["losses"])["stacked"]
    within = f"{(best <= all_logs.NEAR).sum()} of {len(best)}"
    assert f"within 0.03 on **{within}** logs" in " ".join(page.split())
    assert f"{-best.mean():.2f} eCPM above" in " ".join(page.split())


def test_what_is_published_is_read_by_log_agent_and_seed():
    found = all_logs.rivals(all_logs.PUBLISHED)
    assert len(found) == 88
    assert all({"drpo", "iql", "bc"} <= by.keys() and "stacked" not in by for by in found.values())
    assert all(0.0 < value < 2.5 for by in found.values() for value in by["drpo"].values())
