"""Check a built site: links lead to pages and anchors that there are; the web is not loaded from.

``python .ci/check_site.py site``. Exit status: 0, or 1 after a line for each fault.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

_LOADED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href"}
_NOT_LOADED = {"canonical", "next", "prev"}  # relations that a browser does not follow
_LOADED_BY_CSS = re.compile(r"(?:url\(|@import)\s*['\"]?\s*((?:https?:)?//[^'\")\s]+)")


class Page(HTMLParser):
    """What a page loads, links to, and can be linked to by."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep what an element is about."""
        own = {name: value or "" for name, value in attrs}
        self.anchors |= {own[name] for name in ("id", "name") if name in own}
        if own.get("rel") in _NOT_LOADED:
            return
        if tag == "a" and "href" in own:
            self.links.append(own["href"])
        elif own.get(_LOADED.get(tag, "")):
            self.loads.append(own[_LOADED[tag]])
        self.loads += _LOADED_BY_CSS.findall(own.get("style", ""))


def faults(site: Path) -> Iterator[str]:
    """Yield a line for each fault of the site in a folder."""
    pages = {p.resolve(): Page(p.read_text(encoding="utf-8")) for p in site.rglob("*.html")}
    for path, page in sorted(pages.items()):
        if path.name == "404.html":  # is shown at any address
            continue
        here = path.relative_to(site.resolve())
        for link in page.loads:
            if urlsplit(link).netloc:
                yield f"{here} loads {link}"
        for link in (*page.links, *page.loads):
            if fault := _fault(link, path, pages):
                yield f"{here}: {fault}"
    for sheet in sorted(site.rglob("*.css")):
        for link in _LOADED_BY_CSS.findall(sheet.read_text(encoding="utf-8")):
            yield f"{sheet.relative_to(site)} loads {link}"


def _fault(link: str, path: Path, pages: dict[Path, Page]) -> str:
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        return ""
    target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
    if not target.is_file():
        return f"{link} leads nowhere"
    wanted = unquote(parts.fragment)
    if wanted and target in pages and wanted not in pages[target].anchors:
        return f"{link} has no such anchor"
    return ""


def main(arguments: Sequence[str]) -> int:
    """Return the exit status, after a line for each fault."""
    (name,) = arguments
    found = list(faults(Path(name)))
    for fault in found:
        print(fault, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
