"""One meaning of "soft", "hard" and of every margin, in all experiments."""

from __future__ import annotations

import numpy as np
import pytest

from recsim_drpo.agents import agent_names
from recsim_drpo.benchmarks.reproduce import runner
from recsim_drpo.benchmarks.reproduce.advice import leads
from recsim_drpo.benchmarks.reproduce.advice.locate import PUBLISHED
from recsim_drpo.benchmarks.reproduce.experiments import (
    table1,
    table1_claims as performance_claims,
    worlds,
)
from recsim_drpo.benchmarks.reproduce.framework import agent_suite, suites

EVERY = [name for name in agent_names() if ":" not in name]


def records(best, conditions=agent_suite.SCENARIOS, seeds=4):
    """Runs of every agent that there is; the agents in ``best`` earn most, in that order."""
    rank = {name: len(EVERY) - k for k, name in enumerate([*best, *(set(EVERY) - set(best))])}
    wobble = np.array([-0.01, 0.01, -0.02, 0.02])
    return [
        {
            "condition": condition,
            "agent": agent,
            "variant": 0,
            "overrides": {},
            "seed": seed,
            "validation": 0.1 * rank[agent],
            "offline": 0.1 * rank[agent],
            "diverged_at": None,
            "test": dict.fromkeys(("reward", "normalized", "distance", "coverage"), 0.5)
            | {"ecpm": 0.1 * rank[agent] + wobble[seed]},
        }
        for condition in conditions
        for agent in EVERY
        for seed in range(seeds)
    ]


def test_every_agent_is_of_one_kind():
    kinds = [set(names) for names in agent_suite.KINDS.values()]
    assert set().union(*kinds) == set(EVERY)
    assert agent_suite.kind_of("two-tower") == "value"
    with pytest.raises(ValueError, match="'unknown' is of no kind"):
        agent_suite.kind_of("unknown")
    assert sum(map(len, kinds)) == len(EVERY)
    assert set(agent_suite.PAPERS_OWN) | set(agent_suite.PAPERS_BASELINES) <= set(EVERY)
    assert set(agent_suite.RIVALS) <= set(agent_suite.PAPERS_BASELINES)


@pytest.mark.parametrize("soft", agent_suite.SOFT)
def test_all_tables_of_a_result_mean_the_same_best_soft_method(soft):
    """Of the records of one run, the leads' table, the points and the verdicts agree."""
    labels = [f"world {k}, {name}" for k in (1, 2) for name in agent_suite.SCENARIOS]
    found = records(["drpo", soft], labels)
    rivals, lead_by = leads.compared(found, labels)
    table = worlds.leads_table(found)
    column = {name: table.header.index(name) for name in ("world", "best soft", "minus it")}
    assert rivals == [soft] * 4
    assert [row[column["best soft"]] for row in table.rows] == rivals
    assert [row[column["world"]] for row in table.rows] == labels
    for row, lead in zip(table.rows, lead_by["soft"], strict=True):
        assert float(row[column["minus it"]].split()[0]) == pytest.approx(lead.mean(), abs=0.006)
    answers = {one.claim: one for one in worlds.verdicts_of(found)}
    beaten = answers["Table 1 in other worlds, extreme: DRPO against the best soft method"]
    assert beaten.ours.startswith("ahead in 2 of 2 worlds")
    ecpm = {
        c: {a: suites.tuned(records([soft]), c, a) for a in EVERY} for c in ("medium", "extreme")
    }
    (necessity,) = (
        one
        for one in performance_claims.verdicts(ecpm, "make it")
        if one.claim == "Section 5.3, necessity"
    )
    assert necessity.ours.startswith(f"{soft} ")


@pytest.mark.parametrize("first", ["two-tower", "drpo", "awr", "bc"])
def test_the_best_of_all_and_of_each_kind_is_told_from_the_records(first):
    table = suites.kinds(records([first]))
    assert [row[0] for row in table.rows] == list(agent_suite.SCENARIOS)
    for row in table.rows:
        cells = dict(zip(table.header, row, strict=True))
        assert cells["best of all"].startswith(f"{first}: ")
        assert cells[agent_suite.kind_of(first)] == cells["best of all"]
        assert set(table.header[2:]) == set(agent_suite.KINDS)
    kind = agent_suite.kind_of(first)
    assert f"The best agent of all is, on 2 logs, of the kind: {kind} 2." in table.note


def test_regression_is_held_against_drpo_where_it_was_trained():
    found = records(["two-tower", "awr", "drpo"], ["world 1, extreme"])
    leads_there = leads.compared(found, ["world 1, extreme"])[1]
    assert leads_there["regression"].mean() == pytest.approx(0.2)
    without = [record for record in found if record["agent"] != "two-tower"]
    assert set(leads.compared(without, ["world 1, extreme"])[1]) == set(leads.CLAIMED)


def test_filters_are_the_best_of_those_that_reject():
    for hard in agent_suite.HARD:
        labels = ["world 1, extreme"]
        found = records([hard, "awr"], labels)
        found_leads = leads.compared(found, labels)[1]
        assert found_leads["hard"].mean() == pytest.approx(0.1)


@pytest.mark.parametrize("name", ["table1", "worlds"])
def test_published_verdicts_follow_from_the_published_records(name):
    """What is judged now is what was published: nobody changed a list or a margin since."""
    (result,) = (one for one in runner.load_results(PUBLISHED) if one["experiment"] == name)
    judge = {"table1": table1.verdicts_of, "worlds": worlds.verdicts_of}[name]
    assert [one.as_dict() for one in judge(result["records"])] == result["verdicts"]


def test_published_tables_of_worlds_agree_with_its_points():
    (result,) = (one for one in runner.load_results(PUBLISHED) if one["experiment"] == "worlds")
    (table,) = (one for one in result["tables"] if one["title"] == "DRPO in other worlds, eCPM")
    column = table["header"].index("best soft")
    points = {point["label"]: point for point in result["data"]["points"]}
    assert {row[0]: row[column] for row in table["rows"]} == {
        label: point["best_soft"] for label, point in points.items()
    }
    lead = table["header"].index("minus it")
    for row in table["rows"]:
        mean = np.mean(points[row[0]]["leads"]["soft"])
        assert float(row[lead].split()[0]) == pytest.approx(mean, abs=0.006)
