"""What ``docs/when_to_filter.md`` tells in prose, held to the published phase map and worlds."""

from __future__ import annotations

import numpy as np
import pytest

from recsim_drpo.benchmarks.reproduce.advice import leads
from recsim_drpo.benchmarks.reproduce.advice.choices import choices_table
from recsim_drpo.benchmarks.reproduce.advice.locate import PUBLISHED
from recsim_drpo.benchmarks.reproduce.results import read_result
from tests.benchmarks.reproduce.published import ROOT


@pytest.fixture(scope="module")
def page():
    return " ".join((ROOT / "docs/when_to_filter.md").read_text(encoding="utf-8").split())


@pytest.fixture(scope="module")
def results():
    return {
        name: read_result(PUBLISHED / f"{name}.json") for name in (leads.PHASE_MAP, leads.WORLDS)
    }


def earned_on(result):
    """The logs' leads of two-tower regression, eCPM by agent, and where the rule names it."""
    points = result["data"]["points"]
    agents, means = leads.means_of(result["records"], [point["label"] for point in points])
    told = [(p["log"]["rounds"], p["log"]["effective_items"]) for p in points]
    named = np.array([rounds > 20_000 and items < 93 for rounds, items in told])
    lead = np.array([np.mean(point["leads"]["regression"]) for point in points])
    return lead, dict(zip(agents, means.T, strict=True)), named


def test_many_rounds_on_few_items_are_for_two_tower_regression(page, results):
    lead, earned, named = earned_on(results["phase-map"])
    best = np.max([v for name, v in earned.items() if name != "two-tower"], axis=0)
    ahead = int((lead[named] > 0).sum())
    firsts = int((earned["two-tower"] > best)[named].sum())
    assert f"are {named.sum()} of the map's logs. Two-tower" in page
    assert (
        f"is ahead of DRPO on {ahead} of them, by {lead[named].mean():.2f} on average and by up to "
        f"{lead.max():.2f}, and best of all nine on {firsts}." in page
    )
    assert len(earned) == 9


def test_few_rounds_or_broad_traffic_are_not(page, results):
    lead, earned, named = earned_on(results["phase-map"])
    other = ~named
    behind = int((lead[other] < 0).sum())
    assert f"are the other {other.sum()}." in page
    assert (
        f"behind DRPO on {behind}, by {-lead[other].mean():.2f} on average, and by "
        f"{-lead.min():.2f} where σ = 0.8" in page
    )
    worst = int((earned["two-tower"] / np.max([*earned.values()], axis=0)).argmin())
    assert f"({earned['two-tower'][worst]:.2f} where BC has {earned['bc'][worst]:.2f})" in page
    best = np.max([*earned.values()], axis=0)[other]
    for name in ("drpo", "adaptive-bc", "drpo-boltzmann"):
        lost = best - earned[name][other]
        assert (round(lost.mean(), 2), lost.max() <= 0.155) == (0.03, True)


def test_elsewhere_it_is_ahead_where_traffic_is_narrow(page, results):
    lead, _, named = earned_on(results["worlds"])
    assert (int((lead > 0).sum()), len(lead)) == (6, 16)
    assert "ahead of DRPO on six of sixteen logs" in page
    labels = [point["label"] for point in results["worlds"]["data"]["points"]]
    assert [label for label, is_named in zip(labels, named, strict=True) if is_named] == [
        "world 1, medium",
        "world 1, extreme",
    ]
    first, second = lead[named]
    assert f"in world 1, the one of narrow traffic, by {first:.2f} and {second:.2f}" in page
    assert labels[int(lead.argmin())] == "world 16, medium"


def test_every_single_method_fails_somewhere(page, results):
    _, earned, _ = earned_on(results["phase-map"])
    best = np.max([*earned.values()], axis=0)
    lost = {name: best - values for name, values in earned.items()}
    assert min(values.mean() for values in lost.values()) >= 0.09
    two, drpo = (earned[name].mean() for name in ("two-tower", "drpo"))
    most = [lost[name].max() for name in ("two-tower", "drpo")]
    assert f"two-tower regression earns {two:.2f}, DRPO {drpo:.2f};" in page
    assert f"by {most[0]:.2f} and {most[1]:.2f}." in page


def test_the_choice_loses_what_the_page_says(page, results):
    table = choices_table(results["phase-map"], results["worlds"])
    by_place = {(row[0].partition(",")[0], row[1]): row[2:] for row in table.rows}
    drpo = by_place["map", "drpo"]
    assert f"It is at most 0.03 on {drpo[3]} logs of the map, and at most {drpo[2]}." in page
    assert {round(float(cells[1]), 2) for (where, _), cells in by_place.items()} == {0.02, 0.03}
    assert all(cells[1] in page for cells in by_place.values())
