"""The report: everything is on the page, as text, and can be used without a pointer."""

from __future__ import annotations

import itertools
import json
import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from recsim_drpo import cli
from recsim_drpo.benchmarks.reproduce.publishing import report
from recsim_drpo.benchmarks.reproduce.runner import load_results
from tests.benchmarks.reproduce.publishing.example import HOSTILE, result, without_records

VOID = {"meta", "link", "input", "br", "img"}


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


def test_every_script_of_the_page_is_in_it():
    folder = Path(report.__file__).parent / "page"
    assert sorted(report.SCRIPTS) == sorted(path.name for path in folder.glob("*.js"))
    page = report.page([])
    assert all((folder / name).read_text(encoding="utf-8") in page for name in report.SCRIPTS)


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
