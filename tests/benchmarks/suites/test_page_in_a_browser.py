"""The page of a result as a reader uses it: whose curves are drawn, and what its caption says."""

from __future__ import annotations

import json
import re

import pytest

from recsim_drpo.benchmarks.suites import page
from recsim_drpo.benchmarks.suites.result import Result
from recsim_drpo.benchmarks.suites.suite import load_suite
from tests.chromium import needs_chromium, read

READER = """
<script>
(() => {
  const out = {};
  const box = document.querySelector(".figures");
  const form = box.querySelector("form");
  const [test, curves] = box.querySelectorAll(".plot");
  const names = (plot) => [...new Set(plot.data.map((trace) => trace.name))];
  out.metric = form.metric.value;
  out.test = names(test);
  out.curves = names(curves);
  out.caption = box.querySelectorAll("figcaption")[1].textContent;
  form.condition.value = "extreme";
  form.dispatchEvent(new Event("change", { bubbles: true }));
  out.other = [...curves.data.at(-1).y];
  out.verdicts = document.querySelectorAll("#verdicts, #verdict-filter").length;
  out.wide = document.documentElement.scrollWidth > innerWidth;
  const place = document.createElement("pre");
  place.id = "outcome";
  place.textContent = JSON.stringify(out);
  document.body.append(place);
})();
</script>
"""


def result_of(suite) -> Result:
    """A result whose agent earns what its seed says, with two points of each curve."""
    records = [
        {
            "condition": label,
            "agent": "mine:Agent",
            "variant": 0,
            "overrides": {},
            "seed": seed,
            "diverged_at": None,
            "test": {"return": 1.0 + seed / 10, "session_length": 4.0, "coverage": 0.5},
            "validation": 1.0,
            "offline": None,
            "curve": [[0, 0.5], [5_000, 1.0 + len(label)]],
        }
        for label in suite.labels
        for seed in suite.seeds
    ]
    return Result(
        suite.name, suite.sha256, "Mine & co", "mine:Agent", {}, "nothing", False, True,
        suite.seeds, "auto", records, "recsim-drpo benchmark zipf-sessions-1", "", "abc", {},
    )  # fmt: skip


@needs_chromium
def test_the_page_in_a_browser(tmp_path):
    pytest.importorskip("plotly")
    suite = load_suite("zipf-sessions-1")
    path = tmp_path / "report.html"
    page.write(path, suite, result_of(suite), {})
    text = path.read_text(encoding="utf-8")
    assert re.search(r"<title>recsim_drpo: Mine &amp; co on zipf-sessions-1</title>", text)
    path.write_text(text.replace("</body>", READER + "</body>"), encoding="utf-8")
    out, console = read(path, tmp_path / "profile", "--window-size=500,900")
    assert console == ""
    assert out["metric"] == "return"
    assert out["test"] == ["Mine &amp; co", "drpo-q", "iql", "drpo", "bc"]
    assert out["curves"] == ["Mine &amp; co"]
    assert "return on validation users, medium" in out["caption"]
    assert out["caption"].endswith("No curves are stored of drpo-q, iql, drpo, bc.")
    assert out["other"] == [0.5, 8.0]
    assert out["verdicts"] == 0
    assert not out["wide"], json.dumps(out)
