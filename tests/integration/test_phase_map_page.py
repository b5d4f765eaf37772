"""The phase map on the site: the published numbers, and what a reader does with them."""

from __future__ import annotations

import json
import re
import shutil

import numpy as np
import pytest

from recsim_drpo.benchmarks.reproduce.advice.leads import LABELS
from recsim_drpo.benchmarks.reproduce.framework.records import distinct, values
from recsim_drpo.benchmarks.reproduce.results import read_result
from recsim_drpo.reporting.statistics import seed_interval
from tests.chromium import needs_chromium, read
from tests.integration.test_site import ROOT, module_of


@pytest.fixture(scope="module")
def phase_map():
    return module_of("docs/site/phase_map.py")


@pytest.fixture(scope="module")
def published(phase_map):
    return json.loads(phase_map.RESULT.read_text(encoding="utf-8"))


def test_intervals_are_those_of_every_table(phase_map):
    generator = np.random.default_rng(0)
    for count in range(2, 22):
        scores = generator.normal(size=count)
        expected = seed_interval(scores)
        assert phase_map.interval(scores.tolist()) == pytest.approx([*expected][:3], rel=1e-5)
    assert phase_map.interval([1.5]) == (1.5, None, None)
    for count in (0, 22):
        with pytest.raises(ValueError, match=f"{count} seeds"):
            phase_map.interval([0.0] * count)


def test_every_log_has_the_numbers_that_were_published(phase_map, published):
    result = read_result(phase_map.RESULT)
    assert LABELS == phase_map.AXES
    logs = phase_map.logs_of(published)
    points = result["data"]["points"]
    assert [log["at"] for log in logs] == [[point[axis] for axis in LABELS] for point in points]
    names = distinct(result["records"], "agent")
    for point, log in list(zip(points, logs, strict=True))[::7]:
        scores = {n: values(result["records"], condition=point["label"], agent=n) for n in names}
        best = max(scores, key=lambda name: scores[name].mean())
        assert log["agents"][0][0] == best
        assert [agent[1] for agent in log["agents"]] == sorted(
            (agent[1] for agent in log["agents"]), reverse=True
        )
        assert {agent[0] for agent in log["agents"]} == set(names)
        for name, *numbers in log["agents"]:
            expected = [
                *seed_interval(scores[name]),
                *seed_interval(scores[best] - scores[name]),
            ]
            assert numbers == pytest.approx(expected, abs=6e-5)


RECORDS = {
    "conditions": ["here"],
    "variants": [["a", 0, {}], ["b", 0, {}], ["b", 1, {"x": 1}], ["gone", 0, {}], ["c", 0, {}]],
    "seeds": [[0, 1], [1, 2], [3]],
    "columns": ["distance", "ecpm"],
    "rows": [
        [0, 0, 0, None, [1.0, 2.0]],
        [0, 1, 1, None, [1.0, 2.0]],  # one seed is shared with a
        [0, 2, 0, None, [0.5, 1.5]],
        [0, 3, 0, None, [None, None]],  # diverged
        [0, 4, 2, None, [0.25]],
    ],
}


def test_what_is_not_known_is_not_made_up(phase_map):
    place = dict.fromkeys(phase_map.AXES, 1.0)
    (log,) = phase_map.logs_of(
        {"records": RECORDS, "data": {"points": [{"label": "here", **place}]}}
    )
    margin = 12.7062 * np.sqrt(0.5) / np.sqrt(2)
    whole = pytest.approx([1.5, 1.5 - margin, 1.5 + margin], abs=1e-4)
    agents = {name: numbers for name, *numbers in log["agents"]}
    assert list(agents) == ["a", "b", "b #1", "c"]  # of equal ones the best comes first
    assert agents["a"][:3] == whole
    assert agents["b"][:3] == whole
    assert agents["b"][3:] == [1.0, None, None]  # 2 - 1 on the seed that both have
    assert agents["b #1"][3:] == [0.5, 0.5, 0.5]
    assert agents["c"] == [0.25, None, None, 1.25, None, None]
    assert [phase_map.told(agent) for agent in log["agents"][1:]] == [False, True, False]
    row = phase_map.table([log])[-3]
    assert row.startswith("| 1 | 1 | 1 | 1 | a | 1.50 [")
    assert row.endswith("| b, c |")


def test_the_page_is_filled_once(phase_map, published):
    text = (ROOT / "docs" / phase_map.PAGE).read_text(encoding="utf-8")
    page = phase_map.filled(text, published)
    data = re.search(r'id="map-data">(.*?)</script>', page)[1]
    assert "<" not in data
    assert len(json.loads(data)["logs"]) == len(published["data"]["points"])
    assert page.count("\n| ") == len(published["data"]["points"]) + 2
    with pytest.raises(ValueError, match="0 times"):
        phase_map.filled("no mark", published)


READER = """
<script>
setTimeout(() => {
  const out = { wide: document.documentElement.scrollWidth > innerWidth };
  const rows = () => [...document.querySelectorAll("#map-view tbody tr")];
  const seen = () => rows().map((row) => row.querySelector("th span").textContent);
  out.linked = seen();
  for (const [axis, value] of [["noise_share", 0], ["reward_noise", 0.8],
                               ["popularity_bias", 2], ["rounds", 5000]]) {
    document.querySelector(`#map-view input[name=${axis}][value="${value}"]`).click();
  }
  out.chosen = seen();
  out.hash = location.hash;
  out.best = rows().map((row) => row.className === "best");
  out.value = rows()[0].cells[1].textContent;
  out.bars = rows().map((row) => row.querySelector(".fill").getBoundingClientRect().width);
  out.summary = document.querySelector("#map-view .summary").textContent;
  const pre = document.createElement("pre");
  pre.id = "outcome";
  pre.textContent = JSON.stringify(out);
  document.body.append(pre);
}, 1000);
</script>
"""
PAGE = """<!doctype html><meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<link rel="stylesheet" href="site.css"><style>body {{ font-size: 125% }}</style>
<article>{shown}</article><script src="phase_map.js"></script>"""


@needs_chromium
@pytest.mark.parametrize("width", [1300, 500])
def test_a_reader_chooses_a_log(width, phase_map, published, tmp_path):
    logs = phase_map.logs_of(published)
    for name in ("site.css", "phase_map.js"):
        shutil.copy(ROOT / "docs/site" / name, tmp_path)
    page = tmp_path / "page.html"
    shown = "\n".join(phase_map.shown(logs))
    page.write_text(PAGE.format(shown=shown) + READER, encoding="utf-8")
    first = "#noise_share=0.95&rounds=320000&popularity_bias=7"  # of the last there is none
    out, console = read(page, tmp_path / "profile", f"--window-size={width},900", fragment=first)
    assert console == ""

    def agents_at(*at):
        (log,) = (log for log in logs if log["at"] == list(at))
        return log["agents"]

    start = logs[0]["at"]
    assert out["linked"] == [a[0] for a in agents_at(0.95, start[1], start[2], 320_000)]
    agents = agents_at(0, 0.8, 2.0, 5_000)
    assert out["chosen"] == [agent[0] for agent in agents]
    assert out["best"] == [True] + [False] * (len(agents) - 1)
    assert out["hash"] == "#noise_share=0&reward_noise=0.8&popularity_bias=2&rounds=5000"
    assert out["value"] == f"{agents[0][1]:.2f} [{agents[0][2]:.2f}, {agents[0][3]:.2f}]"
    shares = np.array(out["bars"]) / out["bars"][0]
    assert shares == pytest.approx([max(0, a[1]) / agents[0][1] for a in agents], abs=0.02)
    assert out["summary"].startswith(f"Best on this log: {agents[0][0]}, {agents[0][1]:.2f}")
    assert not out["wide"]
