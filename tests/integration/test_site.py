"""The documentation as a site: it builds without a warning, and stands by itself."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import recsim_drpo
from tests.chromium import needs_chromium, read

ROOT = Path(__file__).resolve().parents[2]


def module_of(path: str):
    spec = importlib.util.spec_from_file_location(Path(path).stem, ROOT / path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def check():
    return module_of(".ci/check_site.py")


@pytest.fixture(scope="module")
def hooks():
    pytest.importorskip("mkdocs")
    return module_of("docs/site/hooks.py")


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The site, built without a network and as strictly as can be."""
    for name in ("material", "mkdocstrings", "mkdocstrings_handlers.python"):
        pytest.importorskip(name)
    out = tmp_path_factory.mktemp("site")
    nowhere = {f"{scheme}_proxy": "http://127.0.0.1:9" for scheme in ("http", "https")}
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", out]
    done = subprocess.run(
        [*map(str, command)],
        cwd=ROOT,
        env={**os.environ, **nowhere, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return out


def test_links_lead_somewhere_and_nothing_is_loaded_from_the_web(site, check):
    assert list(check.faults(site)) == []


def test_every_page_and_every_public_name_is_there(site, hooks, check):
    for page in (ROOT / "docs").glob("**/*.md"):
        assert (site / page.relative_to(ROOT / "docs")).with_suffix(".html").is_file(), page
    anchors = {
        anchor
        for page in (site / "reference").glob("*.html")
        for anchor in check.Page(page.read_text(encoding="utf-8")).anchors
    }
    offered = hooks.offered()
    assert len(offered) == len(list((ROOT / "recsim_drpo").glob("**/__init__.pyi"))) + 2  # links
    for names in offered.values():
        assert {f"{module}.{name}" for name, module in names.items()} <= anchors
    own = {name for name in recsim_drpo.__all__ if name[0].isupper() or "_" in name}
    assert own <= set(offered["recsim_drpo"])


def test_the_search_finds_an_agent_and_a_name(site):
    index = (site / "search/search_index.js").read_text(encoding="utf-8")
    entries = json.loads(index.removeprefix("var __index = "))["docs"]
    for word in ("adaptive-bc", "simulate_transitions", "--optimize"):
        assert any(word in entry["text"] + entry["title"] for entry in entries), word


def test_tables_inside_details_are_tables(site):
    page = (site / "claims.html").read_text(encoding="utf-8")
    assert page.count("<details>") == page.count("<summary>") > 0
    assert "<p>|" not in page


def test_faults_of_a_site_are_found(check, tmp_path):
    (tmp_path / "a.html").write_text(
        '<h1 id="top">A</h1><a href="b.html#there">b</a><a href="b.html#gone">b</a>'
        '<a href="https://example.org">fine</a><a href="none.html">none</a>'
        '<script src="https://example.org/x.js"></script><img src="//example.org/x.png">'
        '<link rel="canonical" href="https://example.org/a.html">'
        '<p style="background: url(https://example.org/y.png)">'
    )
    (tmp_path / "b.html").write_text('<p id="there">B</p><a href="#nowhere">here</a>')
    (tmp_path / "c.css").write_text("@import 'https://example.org/d.css'; a { color: red }")
    assert list(check.faults(tmp_path)) == [
        "a.html loads https://example.org/x.js",
        "a.html loads //example.org/x.png",
        "a.html loads https://example.org/y.png",
        "a.html: b.html#gone has no such anchor",
        "a.html: none.html leads nowhere",
        "b.html: #nowhere has no such anchor",
        "c.css loads https://example.org/d.css",
    ]
    assert check.main([str(tmp_path)]) == 1


def test_markdown_is_read_as_on_the_web(hooks):
    text = "A list:\n- one\n- two\n  more\n\n```\na\n- b\n<details>\n```\n<details>"
    assert hooks.as_on_the_web(text) == (
        'A list:\n\n- one\n- two\n  more\n\n```\na\n- b\n<details>\n```\n<details markdown="1">'
    )


def test_links_out_of_the_pages_lead_into_the_site(hooks):
    text = (
        "[a](../examples/td3_bc) [b](fleets.md#x) [c](https://d.org) [e](#f)\n```\n[g](h.md)\n```"
    )
    assert hooks.relinked(text, "docs/a.md", "a.md") == (
        "[a](repository/examples/td3_bc/README.md) [b](fleets.md#x) [c](https://d.org) [e](#f)"
        "\n```\n[g](h.md)\n```"
    )
    text = "[a](docs/fleets.md) [b](docs/images/x.png) [c](CONTRIBUTING.md#a)"
    assert hooks.relinked(text, "README.md", "index.md") == (
        "[a](fleets.md) [b](images/x.png) [c](repository/CONTRIBUTING.md#a)"
    )


def test_a_notebook_is_a_page_and_a_file(hooks, tmp_path, monkeypatch):
    monkeypatch.setattr(hooks, "ROOT", tmp_path)
    (tmp_path / "docs/notebooks").mkdir(parents=True)
    book = {
        "cells": [
            {"cell_type": "markdown", "source": ["# A\n", "\n", "Words."]},
            {"cell_type": "code", "source": ["x = 1\n", "y = 2"]},
            {"cell_type": "markdown", "source": ["[b](b.ipynb) [c](../c.md) [d](../../d.py)"]},
        ]
    }
    (tmp_path / "docs/notebooks/a.ipynb").write_text(json.dumps(book))
    assert hooks.place_of("docs/notebooks/a.ipynb") == "notebooks/a.md"
    assert hooks.notebook_page("docs/notebooks/a.ipynb") == (
        "# A\n\nWords.\n\n*A notebook: [a.ipynb](a.ipynb) is the file to open in Jupyter.*\n\n"
        "```python\nx = 1\ny = 2\n```\n\n[b](b.md) [c](../c.md) [d](../repository/d.py.md)\n"
    )


def test_the_notebooks_are_on_the_site(site):
    for path in (ROOT / "docs/notebooks").glob("*.ipynb"):
        assert (site / "notebooks" / path.name).read_bytes() == path.read_bytes()
        page = (site / "notebooks" / path.name).with_suffix(".html").read_text(encoding="utf-8")
        assert "recsim_drpo" in page
        assert f'href="{path.name}"' in page


READER = """
<script>
setTimeout(() => {
  const out = {};
  const [board] = document.querySelectorAll("article table"); // the first suite's
  const of = (place) => [...place.querySelectorAll("tbody tr:not([hidden])")]
    .map((row) => row.cells[0].textContent);
  const agents = () => of(document.querySelector("article"));
  const [agent, ecpm] = document.querySelectorAll("article thead th");
  out.first = of(board);
  out.all = agents().length;
  out.wide = document.documentElement.scrollWidth > innerWidth;
  ecpm.click();
  ecpm.click();
  out.ascending = of(board);
  agent.click();
  out.names = of(board);
  const filter = document.querySelector("input.filter");
  filter.value = "DRPO";
  filter.dispatchEvent(new Event("input", { bubbles: true }));
  out.filtered = of(board);
  filter.value = "";
  const choose = (name, value) => {
    const field = document.querySelector(`select[data-filter="${name}"]`);
    field.value = value;
    field.dispatchEvent(new Event("input", { bubbles: true }));
    return [...field.options].map((option) => option.value);
  };
  const suites = () => [...new Set(
    [...document.querySelectorAll("article tbody tr:not([hidden])")]
      .map((row) => row.closest("table").dataset.about))].sort();
  const count = () => document.querySelector(".filters output").textContent;
  out.offline = choose("offline", "strict");
  out.strict = [suites(), count(), agents().length];
  choose("offline", "users chose");
  out.chosen = suites();
  choose("offline", "");
  choose("suite", "zipf-sessions-1");
  out.one = [suites(), agents().sort()];
  out.headings = [...document.querySelectorAll("article h2:not([hidden])")].map((h) => h.id);
  choose("tuned by", "true-reward");
  out.none = [count(), agents()];
  choose("tuned by", "");
  choose("suite", "");
  out.again = agents().length;
  document.querySelector("#__search").click();
  const query = document.querySelector("[data-md-component=search-query]");
  query.focus();
  setTimeout(() => {
    query.value = "adaptive-bc";
    query.dispatchEvent(new Event("input", { bubbles: true }));
    query.dispatchEvent(new KeyboardEvent("keyup", { bubbles: true }));
  }, 3000);
  setTimeout(() => {
    out.search = document.querySelector(".md-search-result__meta").textContent;
    const pre = document.createElement("pre");
    pre.id = "outcome";
    pre.textContent = JSON.stringify(out);
    document.body.append(pre);
  }, 10000);
}, 1000);
</script>
"""


@needs_chromium
@pytest.mark.parametrize(
    "flags", [["--window-size=1300,900"], ["--window-size=500,900", "--force-dark-mode"]]
)
def test_a_reader_sorts_the_leaderboard_and_finds_an_agent(flags, site, tmp_path):
    copy = tmp_path / "site"
    shutil.copytree(site, copy)
    page = copy / "leaderboard.html"
    page.write_text(page.read_text(encoding="utf-8") + READER, encoding="utf-8")
    flags += ["--allow-file-access-from-files", "--virtual-time-budget=20000"]
    out, console = read(page, tmp_path / "profile", *flags)
    assert console == ""
    assert not out["wide"], "the page is wider than the screen"
    assert len(out["first"]) >= 5
    assert out["ascending"][0] == out["first"][-1]
    assert out["names"] == sorted(out["first"], reverse=True)
    assert out["filtered"] == [name for name in out["names"] if "drpo" in name]
    assert out["offline"] == ["", "strict", "users chose"]
    strict, count, kept = out["strict"]
    assert strict == ["zipf-1", "zipf-map-1", "zipf-robust-1", "zipf-sessions-1"]
    assert count == f"{kept} entries"
    assert out["chosen"] == ["zipf-1"]
    assert out["one"] == [["zipf-sessions-1"], ["bc", "drpo", "drpo-q", "iql"]]
    assert out["headings"] == ["zipf-sessions-1"]
    assert out["none"] == ["0 entries", []]
    assert out["again"] == out["all"] > len(out["first"])
    assert re.match(r"\d+ matching documents", out["search"].strip())
