from __future__ import annotations

import csv
import io
import itertools
import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recsim_drpo import cli
from recsim_drpo.benchmarks.reproduce.advice.locate import PUBLISHED
from recsim_drpo.benchmarks.reproduce.framework.conditions import Condition
from recsim_drpo.benchmarks.reproduce.framework.drawings import drawings
from recsim_drpo.benchmarks.reproduce.framework.verdicts import VERDICTS
from recsim_drpo.benchmarks.reproduce.publishing import report
from recsim_drpo.benchmarks.reproduce.publishing.cards import cards, definitions
from recsim_drpo.benchmarks.reproduce.runner import load_results
from recsim_drpo.reporting import plots
from recsim_drpo.reporting.statistics import seed_interval
from tests.conftest import SMALL_WORLD

HOSTILE = "</script><script>document.title='taken'</script><img src=x onerror=alert(1)>&\"'"
CONDITIONS = ("medium", 'extreme, "noisy"')
VOID = {"meta", "link", "input", "br", "img"}
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")


def record(condition: str, agent: str, variant: int, seed: int) -> dict[str, Any]:
    value = len(condition) / 10 + len(agent) / 100 + variant / 7 + seed / 3
    test = {"reward": value / 5, "ecpm": value, "distance": None if agent == "apg" else 0.5}
    return {
        "condition": condition,
        "agent": agent,
        "variant": variant,
        "overrides": {"beta": variant, "note": "a\nb"} if agent == "awr" else {},
        "seed": seed,
        "diverged_at": 250 if agent == "apg" else None,
        "test": test,
        "validation": value,
        "offline": None,
        "curve": [[0.0, 0.25], [500.0, value]],
    }


def verdict(kind: str, text: str = "") -> dict[str, str]:
    return {
        "claim": f"claim of {kind}{text}",
        "statement": f"it {kind}",
        "paper": "1.46 < 1.50",
        "ours": f"{len(kind)} [1, 20]",
        "verdict": kind,
        "because": f"so it {kind}",
        "command": "recsim-drpo reproduce table1",
    }


def result(name: str, *, quick: bool = False, hostile: str = "") -> dict[str, Any]:
    runs = [("bc", 0), ("apg", 0), ("awr", 0), ("awr", 1), (f"own{hostile}", 0)]
    return {
        "experiment": name,
        "quick": quick,
        "plans": [{"name": name, "seeds": [0, 1, 2], "note": hostile}],
        "revision": "abc1234",
        "versions": {"torch": f"2{hostile}"},
        "device": "1 thread",
        "wall_time_s": 100.0,
        "verdicts": [verdict(kind, hostile) for kind in VERDICTS],
        "tables": [
            {
                "title": f"{name}, medium{hostile}",
                "header": ["agent", "eCPM"],
                "rows": [["bc", "1.50 [1.40, 1.60]"], [f"own{hostile}", "2"]],
                "note": f"Seeds.{hostile}",
            }
        ],
        "data": {},
        "records": [record(c, a, v, s) for c in CONDITIONS for a, v in runs for s in range(3)],
    }


def without_records(name: str) -> dict[str, Any]:
    return result(name) | {"records": [], "tables": [], "plans": [], "data": {"x": [1, 2]}}


def mapped() -> dict[str, Any]:
    """Four conditions on two axes with leads of two seeds, and a picture of one line."""
    points = [
        {
            "noise_share": noise,
            "rounds": rounds,
            "leads": {"soft": [lead, lead + 0.02], "bc": [1.0, 1.0]},
        }
        for noise, rounds, lead in ((0, 5, 0.3), (0, 20, -0.5), (0.9, 5, 0.1), (0.9, 20, -0.01))
    ]
    axis = {"label": "steps", "log": False, "range": [0, 1]}
    line = {"dash": "dash", "drawn": True, "markers": False, "x": [0, 1], "y": [2, 3]}
    corners = [[0, 1], [1, 2], [1, 4], [0, 3]]
    lines = [
        {**line, "name": f"drpo{HOSTILE}", "colour": "#0072b2", "band": corners},
        {**line, "name": "bc", "colour": "#888888", "band": None},
    ]
    pictures = [{"title": title, "x": axis, "y": axis, "lines": lines} for title in ("one", "two")]
    return without_records("phase-map") | {"data": {"points": points}, "panels": pictures}


class Reader(HTMLParser):
    """Text and elements of a page; fails where elements do not nest."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.data = ""
        self.feed(page)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] not in (["script"], ["style"]):
            self.text.append(data)
        elif self.elements[-1][1].get("id") == "report-data":
            self.data += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def test_page_holds_every_verdict_table_and_number():
    results = [result("table1"), without_records("figure2")]
    page = Reader(report.page(results))
    text = "".join(page.text)
    for one in results:
        for given in one["verdicts"]:
            assert all(given[key] in text for key in given)
        for table in one["tables"]:
            assert table["title"] in text
            assert all(cell in text for row in table["rows"] for cell in row)
    assert all(symbol in text for symbol in report.SYMBOLS.values())
    assert "2 holds" in " ".join(text.split())  # counted over both experiments
    kept = json.loads(page.data)["experiments"]
    assert [one["name"] for one in kept] == ["table1", "figure2"]
    assert kept[1]["data"] == {"x": [1, 2]}
    for ours, given in zip(kept[0]["records"], results[0]["records"], strict=True):
        assert ours["test"]["ecpm"] == pytest.approx(given["test"]["ecpm"], rel=1e-6)
        assert {k: ours[k] for k in ("condition", "agent", "variant", "seed", "diverged_at")} == {
            k: given[k] for k in ("condition", "agent", "variant", "seed", "diverged_at")
        }
    assert "Quick" not in text
    assert "abc1234" in text


def test_quick_results_are_marked():
    text = "".join(Reader(report.page([result("table1"), result("table2", quick=True)])).text)
    assert text.count("Only the full run is evidence") == 2  # above all, and at table2
    assert "Quick: table2." in text


def test_hostile_text_stays_text():
    plain, hostile = (
        Reader(report.page([result("table1", hostile=text)])) for text in ("", HOSTILE)
    )
    assert [tag for tag, _ in plain.elements] == [tag for tag, _ in hostile.elements]
    assert not any(key.startswith("on") for _, attrs in hostile.elements for key in attrs)
    assert HOSTILE in "".join(hostile.text)
    assert json.loads(hostile.data)["experiments"][0]["records"][-1]["agent"] == f"own{HOSTILE}"


def test_page_can_be_used_without_a_pointer():
    page = Reader(report.page([result("table1"), without_records("figure2")]))
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch(r"h\d", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    ids = [attrs["id"] for _, attrs in page.elements if "id" in attrs]
    assert len(ids) == len(set(ids))
    for link in page.all("a"):
        assert (link["href"] or "")[1:] in ids
    for _, attrs in page.elements:
        assert attrs.get("aria-labelledby", ids[0]) in ids
    tables = [tag for tag, _ in page.elements if tag in ("table", "caption")]
    assert tables == ["table", "caption"] * (len(tables) // 2)
    assert page.all("html") == [{"lang": "en"}]
    assert not any("src" in attrs for _, attrs in page.elements)  # nothing from elsewhere


def test_pictures_are_read_as_numbers(tmp_path):
    """What is drawn is what the report's figure has: lines, bands and the scale of axes."""
    pytest.importorskip("matplotlib")
    rows = {"a": [[1.0, 0.5, 1.5], [2.0, 1.5, 2.5]], "b": [[3.0, 2.9, 3.1], [4.0, 3.9, 4.1]]}
    figure, panels = plots.new_panels(2, 1, 6.0, 4.0)
    panels[0][0].set_title("a title")
    panels[0][0].loglog([1.0, 10.0], [2.0, 3.0], "--", color="black", label="line")
    panels[0][0].axhline(2.5, color="red", label="level")
    panels[0][0].set(xlim=(100.0, 1.0), ylabel="force")
    panels[1][0].scatter([2.0, 3.0], [4.0, 5.0], color="blue", label="points")
    panels[1][0].set(xlabel="steps")
    plots.save(figure, tmp_path / "two.svg")
    drawn = plots.sweep(tmp_path / "sweep", [0, 1], rows, "x", "y")
    sweep, above, below = drawings({"sweep": drawn, "two.svg": figure})
    assert [line["name"] for line in sweep["lines"]] == ["a", "b"]
    for line, given in zip(sweep["lines"], rows.values(), strict=True):
        assert line["y"] == [row[0] for row in given]
        corners = {tuple(corner) for corner in line["band"]}
        assert {(k, row[end]) for k, row in enumerate(given) for end in (1, 2)} <= corners
    assert (above["title"], above["x"]) == (
        "two.svg: a title: force",
        {"label": "steps", "log": True, "range": [2.0, 0.0]},  # of the logarithm, inverted
    )
    line, level = above["lines"]
    # Black could not be seen on a dark screen.
    assert (line["x"], line["dash"], line["colour"]) == ([1.0, 10.0], "dash", "#888888")
    assert (level["x"], level["y"], level["colour"]) == ([100.0, 1.0], [2.5, 2.5], "#ff0000")
    assert below["title"].startswith("two.svg: a title")
    (points,) = below["lines"]
    assert (points["x"], points["y"], points["drawn"]) == ([2.0, 3.0], [4.0, 5.0], False)


def test_cards_say_what_is_in_a_log():
    log = Condition("extreme", {"random": 0.9, "popularity": 0.05, "expert": 0.05}, SMALL_WORLD)
    (table,) = cards([{"plans": [{"conditions": [log.as_dict()]}, {"name": "without"}]}])
    shares = {row[0]: float(row[1].rstrip("%")) for row in table.rows}
    assert shares == pytest.approx({"random": 90.0, "popularity": 5.0, "expert": 5.0}, abs=1.0)
    values = {row[0]: float(row[2]) for row in table.rows}
    assert values["random"] < values["popularity"] < values["expert"]
    assert "of 200,000 rounds of seed 0" in table.note
    defined = definitions({"name": "table1", "conditions": [log.as_dict()], "seeds": [0, 1]})
    assert defined.rows[0][:5] == ["extreme", "200,000", "90.0%", "5.0%", "5.0%"]
    assert "num_items 300, embedding_dim 16" in defined.rows[0][5]


def test_command_writes_the_page(tmp_path, capsys):
    pytest.importorskip("plotly")
    write(tmp_path / "results", [result("table2"), result("table1")])
    out = tmp_path / "pages" / "report.html"
    assert cli.main(["report", "--results", str(tmp_path / "results"), "--out", str(out)]) == 0
    assert str(out) in capsys.readouterr().out
    page = out.read_text(encoding="utf-8")
    assert page.index(">table1</a>") < page.index(">table2</a>")  # in the paper's order
    assert "Plotly" in page
    assert set(json.loads(Reader(page).data)["layouts"]) == {"light", "dark"}


def test_command_says_what_is_missing(tmp_path, capsys, monkeypatch):
    assert cli.main(["report", "--results", str(tmp_path / "nowhere")]) == 2
    assert "recsim-drpo reproduce all --quick" in capsys.readouterr().err
    write(tmp_path, [result("table1")])
    monkeypatch.setitem(sys.modules, "plotly.io", None)
    arguments = ["report", "--results", str(tmp_path), "--out", str(tmp_path / "report.html")]
    assert cli.main(arguments) == 2
    assert 'pip install "recsim-drpo[report]"' in capsys.readouterr().err
    (tmp_path / "table1" / "result.json").write_text("[]")
    with pytest.raises(ValueError, match="is no result"):
        load_results(tmp_path)


def write(folder: Path, results: list[dict[str, Any]]) -> None:
    for one in results:
        (folder / one["experiment"]).mkdir(parents=True)
        (folder / one["experiment"] / "result.json").write_text(json.dumps(one))


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


def opened(page: Path, profile: Path, *arguments: str) -> tuple[str, str]:
    """The page as it stands after its scripts, and what the browser's console says."""
    assert CHROMIUM is not None
    done = subprocess.run(
        [
            CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}",
            "--enable-logging=stderr", "--virtual-time-budget=10000", *arguments, "--dump-dom",
            page.as_uri(),
        ],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    lines = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return done.stdout, "\n".join(lines)


def browse(page: Path, profile: Path, *arguments: str) -> tuple[dict[str, Any], str]:
    """What :data:`READER` found, and what the browser's console says."""
    shown, console = opened(page, profile, *arguments)
    found = re.search(r'<pre id="outcome">(.*?)</pre>', shown, re.DOTALL)
    assert found is not None, console
    reader = HTMLText()
    reader.feed(found[1])
    reader.close()
    return json.loads("".join(reader.parts)), console


class HTMLText(HTMLParser):
    """Text of a piece of HTML."""

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []

    def handle_data(self, data: str) -> None:
        self.parts.append(data)


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_page_in_a_browser(tmp_path):
    pytest.importorskip("plotly")
    given = result("table1", hostile=HOSTILE)
    path = tmp_path / "report.html"
    report.write(path, [given, without_records("figure2"), mapped()])
    page = path.read_text(encoding="utf-8")
    path.write_text(page.replace("</body>", READER + "</body>"), encoding="utf-8")
    out, console = browse(path, tmp_path / "light", "--window-size=500,900")
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
    assert (out["undecided"], out["searched"]) == ("3 of 12 claims", "3 of 12 claims")
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
    dark, console = browse(path, tmp_path / "dark", "--blink-settings=preferredColorScheme=0")
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


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_published_results_in_a_browser(tmp_path):
    """All of them on one page: the map is the one whose conditions lie on axes."""
    pytest.importorskip("plotly")
    results = load_results(PUBLISHED)
    report.write(tmp_path / "report.html", results)
    shown, console = opened(tmp_path / "report.html", tmp_path / "profile")
    assert console == ""
    assert shown.count('<div class="map"') == 1
    assert shown.count("js-plotly-plot") > len(results) / 2
