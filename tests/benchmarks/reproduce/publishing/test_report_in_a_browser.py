"""The report as a reader uses it: what its scripts draw, narrow and download."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import numpy as np
import pytest

from recsim_drpo.benchmarks.reproduce.advice.locate import PUBLISHED
from recsim_drpo.benchmarks.reproduce.framework.verdicts import VERDICTS
from recsim_drpo.benchmarks.reproduce.publishing import report
from recsim_drpo.benchmarks.reproduce.runner import load_results
from recsim_drpo.reporting.statistics import seed_interval
from tests.benchmarks.reproduce.publishing.example import (
    CONDITIONS,
    HOSTILE,
    mapped,
    result,
    without_records,
)
from tests.chromium import needs_chromium, opened, read

# What a reader does, done by a script at the end of a copy of the page. Outcomes go into the DOM.
READER = """
<script>
(async () => {
  const out = {};
  const box = document.querySelector(".figures");
  const [test, curves] = box.querySelectorAll(".plot");
  const form = box.querySelector("form");
  const choose = (element, value) => {
    element.value = value;
    element.dispatchEvent(new Event("input", { bubbles: true }));
    element.dispatchEvent(new Event("change", { bubbles: true }));
  };
  const names = (plot) => [...new Set(plot.data.map((trace) => trace.name))];
  const agent = (text) =>
    [...box.querySelectorAll(".legend button")].find((button) => button.textContent.includes(text));
  out.title = document.title;
  out.side_by_side = test.data.find((trace) => trace.name === "bc").x;
  out.drawn = test.querySelectorAll("svg .trace").length;
  choose(form.condition, "medium");
  const mean = (name) => test.data.filter((trace) => trace.name === name)[1];
  out.ecpm = [mean("bc").x[0], mean("bc").error_x.array[0]];
  out.hover = mean("apg").text[0];
  choose(form.metric, "reward");
  out.reward = mean("bc").x[0];
  choose(form.metric, "distance");
  out.distance = names(test);
  choose(form.metric, "ecpm");
  out.all = [names(test), names(curves)];
  form.best.click();
  out.best = names(test);
  form.best.click();
  agent("bc").click();
  out.without = [names(test), names(curves), agent("bc").getAttribute("aria-pressed")];
  agent("bc").click();
  out.band = curves.data.find((trace) => trace.name === "bc").y.length;
  const map = document.querySelector("div.map");
  const heat = map.querySelector(".plot");
  const axes = map.querySelector("form");
  out.map = [axes.x.value, axes.y.value, heat.data[0].z, heat.data[0].text];
  choose(axes.x, axes.y.value);
  out.turned = [axes.x.value, axes.y.value, heat.data[0].z];
  choose(axes.lead, "bc");
  out.against_bc = heat.data[0].z.flat();
  const drawing = document.querySelector("div.drawings");
  const picture = drawing.querySelector(".plot");
  out.picture = picture.data.map((trace) => [trace.fill || "", trace.y]);
  drawing.querySelector(".legend button").click();
  choose(drawing.querySelector("select"), "1");
  out.toggled = names(picture);
  const filter = document.getElementById("verdict-filter");
  const count = () => document.getElementById("verdict-count").textContent;
  choose(filter.verdict, "undecided");
  out.undecided = count();
  choose(filter.verdict, "");
  choose(filter.text, "CLAIM OF HOLDS UNDER");
  out.searched = count();
  const link = document.querySelector("a.download");
  document.addEventListener("click", (event) => event.preventDefault());
  link.click();
  out.csv = await (await fetch(link.href)).text();
  out.wide = document.documentElement.scrollWidth > innerWidth;
  const seen = getComputedStyle(document.body).backgroundColor;
  out.theme = [seen, test.layout.template.layout.font.color];
  const place = document.createElement("pre");
  place.id = "outcome";
  place.textContent = JSON.stringify(out);
  document.body.append(place);
})();
</script>
"""


@needs_chromium
def test_page_in_a_browser(tmp_path):
    pytest.importorskip("plotly")
    given = result("table1", hostile=HOSTILE)
    path = tmp_path / "report.html"
    report.write(path, [given, without_records("figure2"), mapped()])
    page = path.read_text(encoding="utf-8")
    path.write_text(page.replace("</body>", READER + "</body>"), encoding="utf-8")
    out, console = read(path, tmp_path / "light", "--window-size=500,900")
    assert console == ""
    assert out["title"] != "taken"
    assert not out["wide"], "the page is wider than a narrow screen"
    assert out["side_by_side"] == list(CONDITIONS)
    assert out["drawn"] > 0
    # The figure shows what the package computes.
    for metric, shown in (("ecpm", out["ecpm"]), ("reward", [out["reward"]])):
        scores = [
            r["test"][metric]
            for r in given["records"]
            if r["condition"] == "medium" and r["agent"] == "bc"
        ]
        expected = seed_interval(np.array(scores))
        wanted = [expected.value, expected.high - expected.value]
        assert shown == pytest.approx(wanted[: len(shown)], rel=1e-5)
    assert "3 of 3 diverged" in out["hover"]
    everyone, in_curves = out["all"]
    assert everyone == in_curves
    assert len(everyone) == 5
    assert set(everyone) - set(out["distance"]) == {"apg"}  # which has none
    assert set(everyone) - set(out["best"]) == {"awr (beta=0, note=a\nb)"}
    assert out["without"] == [[name for name in everyone if name != "bc"]] * 2 + ["false"]
    assert out["band"] == 4  # two steps, there and back
    # One claim of each kind in each of three experiments.
    under = sum(kind.startswith("holds under") for kind in VERDICTS)
    assert out["undecided"] == f"3 of {3 * len(VERDICTS)} claims"
    assert out["searched"] == f"{3 * under} of {3 * len(VERDICTS)} claims"
    x, y, z, text = out["map"]
    assert (x, y) == ("noise_share", "rounds")
    assert np.array(z) == pytest.approx(np.array([[0.31, 0.11], [-0.49, 0.0]]), abs=1e-6)
    # Two seeds that differ by 0.02 have an interval of ± 0.127.
    assert text == [["+0.31*", "+0.11"], ["−0.49*", "+0.00"]]
    assert out["turned"][:2] == ["rounds", "noise_share"]
    assert np.array(out["turned"][2]) == pytest.approx(np.array(z).T, abs=1e-6)
    assert out["against_bc"] == [1.0] * 4
    assert out["picture"] == [["toself", [1, 2, 4, 3]], ["", [2, 3]], ["", [2, 3]]]
    assert out["toggled"] == ["bc"]  # from picture to picture
    assert_csv(out["csv"], given)
    dark, console = read(path, tmp_path / "dark", "--blink-settings=preferredColorScheme=0")
    assert console == ""
    assert dark["theme"][0] != out["theme"][0]
    assert dark["theme"][1] != out["theme"][1]


def assert_csv(text: str, given: dict[str, Any]) -> None:
    """The rows hold every number of the records, once."""
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    found = {}
    for row in rows:
        run = (row["condition"], row["agent"], int(row["variant"]), int(row["seed"]))
        assert row["experiment"] == given["experiment"]
        value = float(row["value"]) if row["value"] else None
        found[*run, row["metric"], row["step"]] = (value, json.loads(row["overrides"]))
    assert len(found) == len(rows)
    expected = {}
    for r in given["records"]:
        run = (r["condition"], r["agent"], r["variant"], r["seed"])
        numbers = {(metric, ""): value for metric, value in r["test"].items()}
        numbers["validation", ""] = r["validation"]
        numbers |= {("validation", f"{step:g}"): value for step, value in r["curve"]}
        expected |= {(*run, *key): (value, r["overrides"]) for key, value in numbers.items()}
    assert found.keys() == expected.keys()
    for key, (value, overrides) in expected.items():
        assert found[key][1] == overrides
        assert found[key][0] == (None if value is None else pytest.approx(value, rel=1e-6))


@needs_chromium
def test_published_results_in_a_browser(tmp_path):
    """All of them on one page: the map is the one whose conditions lie on axes."""
    pytest.importorskip("plotly")
    results = load_results(PUBLISHED)
    report.write(tmp_path / "report.html", results)
    shown, console = opened(tmp_path / "report.html", tmp_path / "profile")
    assert console == ""
    assert shown.count('<div class="map"') == 1
    assert shown.count("js-plotly-plot") > len(results) / 2
