"""What a choice by the log alone loses."""

from __future__ import annotations

import pytest

from recsim_drpo.benchmarks.reproduce.advice.choices import choices_table
from tests.benchmarks.reproduce.advice.test_locate import point

EARNED = {
    # rounds of the log: what two-tower regression, DRPO, DRPO-Boltzmann and IQL earn there
    1_000: (0.5, 1.0, 0.9, 1.2),
    2_000: (0.6, 1.1, 1.0, 1.1),
    50_000: (1.6, 1.2, 1.3, 0.8),
    90_000: (1.7, 1.3, 1.2, 0.9),
}
AGENTS = ("two-tower", "drpo", "drpo-boltzmann", "iql")


def logs_of(earned):
    """A result of one seed whose logs differ in their number of rounds alone."""
    records, points = [], []
    for number, (rounds, values) in enumerate(earned.items()):
        label = f"log {number}"
        one = point(float(number), 0.3, [0.0], rounds=float(rounds)) | {"label": label}
        one["leads"]["regression"] = [values[0] - values[1]]
        points.append(one)
        records += [
            {"condition": label, "agent": agent, "variant": 0, "seed": 0, "test": {"ecpm": value}}
            for agent, value in zip(AGENTS, values, strict=True)
        ]
    return {"records": records, "data": {"points": points}}


def test_the_rule_is_judged_on_logs_that_it_was_not_fitted_on():
    table = choices_table(logs_of(EARNED))
    assert table.title == "By the log alone: two-tower regression where rounds > 2.6e+04"
    # Every rule fitted without one log tells that log rightly: losses are 0.2, 0 (IQL, DRPO best),
    # 0, 0; with DRPO-Boltzmann in its place 0.3, 0.1, 0, 0.
    (_, *drpo), (_, *boltzmann) = table.rows
    assert drpo == ["drpo", "1.35", "0.050", "0.20", "3 of 4"]
    assert boltzmann == ["drpo-boltzmann", "1.30", "0.100", "0.30", "2 of 4"]


def test_in_other_worlds_the_rule_is_that_of_the_whole_map():
    worlds = logs_of({3_000: (1.0, 0.8, 0.9, 0.2), 60_000: (1.5, 1.0, 1.1, 0.3)})
    table = choices_table(logs_of(EARNED), worlds)
    elsewhere = [row for row in table.rows if row[0] == "other worlds"]
    # It takes the other method on the first log, and loses 0.2 or 0.1 there.
    assert elsewhere == [
        ["other worlds", "drpo", "1.15", "0.100", "0.20", "1 of 2"],
        ["other worlds", "drpo-boltzmann", "1.20", "0.050", "0.10", "1 of 2"],
    ]


@pytest.mark.parametrize("elsewhere", [True, False])
def test_without_two_tower_regression_there_is_no_choice(elsewhere):
    whole, without = logs_of(EARNED), logs_of(EARNED)
    for one in without["data"]["points"]:
        del one["leads"]["regression"]
    found = choices_table(whole, without) if elsewhere else choices_table(without)
    assert found is None
