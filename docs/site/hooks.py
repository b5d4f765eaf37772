"""What turns the pages of ``docs``, as the repository has them, into a site.

The README is the first page. A link out of ``docs`` leads to a page with what the file or folder
holds, since the site stands by itself. A notebook is a page as well. Every name that a package
offers in its ``__init__.pyi`` has its docstring in the reference, once. Pages that the navigation
of ``mkdocs.yml`` does not name are under More.
"""

from __future__ import annotations

import ast
import copy
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.plugins import event_priority
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "recsim_drpo"
REPOSITORY = "repository"  # where the pages of files outside docs are
NOTEBOOK = ".ipynb"
_LINK = re.compile(r"(?<=\]\()([^)#:\s]+)(#[^)\s]*)?(?=\))")
_FENCE = re.compile(r"^( *)(```|~~~)")
_ITEM = re.compile(r"^(?:[-*]|\d+\.) ")


_sources: list[tempfile.TemporaryDirectory[str]] = []


@event_priority(100)  # before mkdocstrings reads where sources are
def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Have docstrings read from a copy of the package, without links and all folders packages.

    ``datasets`` is none in the repository, and Griffe passes over it (CONTRIBUTING.md says why).
    """
    _sources.append(tempfile.TemporaryDirectory())
    package = Path(_sources[-1].name) / PACKAGE
    code = shutil.ignore_patterns("__pycache__", "results", "data", "leaderboard")
    shutil.copytree(ROOT / PACKAGE, package, ignore=code)
    (package / "datasets" / "__init__.py").touch()
    config.plugins["mkdocstrings"].config.handlers["python"]["paths"] = [_sources[-1].name]
    return config


def on_post_build(config: MkDocsConfig) -> None:
    """Remove the copy."""
    _sources.pop().cleanup()


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made: the first one, those of linked files, and the reference."""
    made = {"index.md": page_of("README.md")}
    for file in files.documentation_pages():
        made |= linked(f"docs/{file.src_uri}")
    for path in ROOT.glob(f"docs/**/*{NOTEBOOK}"):
        source = path.relative_to(ROOT).as_posix()
        made[place_of(source)] = notebook_page(source)
    for name in ("README.md", "CONTRIBUTING.md"):
        made |= linked(name)
    made |= {place_of("CONTRIBUTING.md"): page_of("CONTRIBUTING.md")}
    made |= reference()
    for uri, text in made.items():
        files.append(File.generated(config, uri, content=text))
    config.nav = navigation(
        config.nav or [], [file.src_uri for file in files.documentation_pages()]
    )
    return files


def on_page_markdown(markdown: str, page: Any, **kwargs: Any) -> str:
    """Return a page's text with what Python-Markdown reads otherwise than the web does."""
    if page.file.generated_by is None:
        markdown = relinked(markdown, f"docs/{page.file.src_uri}", page.file.src_uri)
    return as_on_the_web(markdown)


def as_on_the_web(text: str) -> str:
    """Return Markdown with lists set off from paragraphs, and Markdown inside ``<details>``."""
    lines: list[str] = []
    in_list = False
    for line, code in _lines(text):
        if not code:
            item = bool(_ITEM.match(line))
            if item and not in_list and lines and lines[-1].strip():
                lines.append("")
            in_list = item or (in_list and (not line.strip() or line.startswith(" ")))
            line = line.replace("<details>", '<details markdown="1">')
        lines.append(line)
    return "\n".join(lines)


def _lines(text: str) -> Iterator[tuple[str, bool]]:
    """The lines, each with whether it is of a block of code."""
    fence = ""
    for line in text.split("\n"):
        found = _FENCE.match(line)
        yield line, bool(fence or found)
        if found and not fence:
            fence = found[2]
        elif found and line.strip() == fence:
            fence = ""


def relinked(text: str, source: str, target: str) -> str:
    """Return the text of a file with its links as they are from a page of the site.

    Args:
        text: Markdown.
        source: the file that it is of, relative to the repository.
        target: the page, relative to ``docs``.
    """

    def link(match: re.Match[str]) -> str:
        place = place_of(_resolved(source, match[1]))
        return os.path.relpath(place, PurePosixPath(target).parent) + (match[2] or "")

    lines = [line if code else _LINK.sub(link, line) for line, code in _lines(text)]
    return "\n".join(lines)


def place_of(path: str) -> str:
    """Return where the site has a file or folder of the repository, relative to ``docs``."""
    if path == "README.md":
        return "index.md"
    if path.startswith("docs/"):
        place = path.removeprefix("docs/")
        return f"{place.removesuffix(NOTEBOOK)}.md" if place.endswith(NOTEBOOK) else place
    if (ROOT / path / "README.md").is_file():
        path += "/README.md"
    return f"{REPOSITORY}/{path}" + ("" if path.endswith(".md") else ".md")


def page_of(path: str) -> str:
    """Return the page of a file or folder outside ``docs``."""
    there = ROOT / path
    if (there / "README.md").is_file():
        return page_of(f"{path}/README.md")
    if there.is_dir():
        names = sorted(item.name for item in there.iterdir() if item.name != "__pycache__")
        return "\n".join([f"# {path}", "", *(f"- `{name}`" for name in names), ""])
    text = there.read_text(encoding="utf-8")
    if path.endswith(".md"):
        return relinked(text, path, place_of(path))
    language = {".py": "python", ".cff": "yaml"}.get(there.suffix, "text")
    return f"# {path}\n\n````{language}\n{text}\n````\n"


def notebook_page(path: str) -> str:
    """Return the page of a notebook: its cells, and a link to the file to run."""
    cells = json.loads((ROOT / path).read_text(encoding="utf-8"))["cells"]
    title, *parts = ["".join(cell["source"]) for cell in cells]
    kinds = [cell["cell_type"] for cell in cells[1:]]
    shown = [
        f"```python\n{part}\n```" if kind == "code" else relinked(part, path, place_of(path))
        for kind, part in zip(kinds, parts, strict=True)
    ]
    name = PurePosixPath(path).name
    note = f"*A notebook: [{name}]({name}) is the file to open in Jupyter.*"
    return "\n\n".join([relinked(title, path, place_of(path)), note, *shown]) + "\n"


def linked(path: str) -> dict[str, str]:
    """Return the pages, by place, of what a Markdown file links to outside ``docs``."""
    text = (ROOT / path).read_text(encoding="utf-8")
    targets = {
        _resolved(path, match[1])
        for line, code in _lines(text)
        if not code
        for match in _LINK.finditer(line)
    }
    outside = {t for t in targets if not t.startswith("docs/") and t != "README.md"}
    return {place_of(target): page_of(target) for target in outside if (ROOT / target).exists()}


def _resolved(source: str, link: str) -> str:
    return os.path.normpath(PurePosixPath(source).parent / link)


def offered() -> dict[str, dict[str, str]]:
    """Return what packages offer: package → name → the module that defines it."""
    found = {}
    # agents, datasets and benchmarks are links to the folders beside the package.
    for stub in sorted({*(ROOT / PACKAGE).glob("*/__init__.pyi")}):
        found[f"{PACKAGE}.{stub.parent.name}"] = _imported(stub)
    for stub in (ROOT / PACKAGE).glob("*/*/__init__.pyi"):
        found[f"{PACKAGE}.{stub.parent.parent.name}.{stub.parent.name}"] = _imported(stub)
    found[PACKAGE] = _imported(ROOT / PACKAGE / "__init__.pyi")
    return dict(sorted(found.items()))


def _imported(stub: Path) -> dict[str, str]:
    """The names of a stub; of packages imported whole, none."""
    inside = stub.parent.relative_to(ROOT).as_posix().replace("/", ".")
    return {
        alias.name: f"{inside}.{node.module}"
        for node in ast.parse(stub.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ImportFrom) and node.module is not None
        for alias in node.names
    }


def reference() -> dict[str, str]:
    """Return the pages of the reference: a name's docstring is where its package is."""
    names = offered()
    shown = {
        f"{module}.{name}": package
        for package in sorted(names, key=len)
        for name, module in names[package].items()
    }
    pages = {}
    for package, own in names.items():
        lines = [f"# {package}", "", _summary(package), ""]
        elsewhere = [n for n, m in own.items() if shown[f"{m}.{n}"] != package]
        if elsewhere:
            lines += [
                "With names of its packages: "
                + ", ".join(f"[`{n}`][{own[n]}.{n}]" for n in elsewhere)
                + ".",
                "",
            ]
        for name, module in own.items():
            if name not in elsewhere:
                lines += [f"::: {module}.{name}", ""]
        pages[f"reference/{package}.md"] = "\n".join(lines)
    return pages


def _summary(package: str) -> str:
    path = ROOT / package.replace(".", "/") / "__init__.py"
    return ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""


def navigation(nav: list[Any], pages: list[str]) -> list[Any]:
    """Return a navigation with the reference's pages, and with what is left under More."""
    nav = copy.deepcopy(nav)
    own = sorted(page for page in pages if page.startswith("reference/"))
    for entry in nav:
        if "Reference" in entry:
            entry["Reference"] += [{"In Python": own}]
            entry["Reference"].append({"Contributing": place_of("CONTRIBUTING.md")})
    named = {*_named(nav)}
    left = sorted(p for p in pages if p not in named and not p.startswith(f"{REPOSITORY}/"))
    return nav + ([{"More": left}] if left else [])


def _named(nav: Any) -> Iterator[str]:
    if isinstance(nav, str):
        yield nav
    else:
        for entry in nav.values() if isinstance(nav, dict) else nav:
            yield from _named(entry)
