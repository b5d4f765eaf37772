"""A page as a reader's browser has it, where there is Chromium."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")


def opened(page: Path, profile: Path, *arguments: str, fragment: str = "") -> tuple[str, str]:
    """The page as it stands after its scripts, and what the browser's console says."""
    assert CHROMIUM is not None
    done = subprocess.run(
        [
            CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}",
            "--enable-logging=stderr", "--virtual-time-budget=10000", *arguments, "--dump-dom",
            page.as_uri() + fragment,
        ],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    lines = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return done.stdout, "\n".join(lines)


def read(
    page: Path, profile: Path, *arguments: str, fragment: str = ""
) -> tuple[dict[str, Any], str]:
    """What a script in the page wrote as JSON into ``<pre id="outcome">``, and the console."""
    shown, console = opened(page, profile, *arguments, fragment=fragment)
    found = re.search(r'<pre id="outcome">(.*?)</pre>', shown, re.DOTALL)
    assert found is not None, console
    reader = _Text()
    reader.feed(found[1])
    reader.close()
    return json.loads("".join(reader.parts)), console


class _Text(HTMLParser):
    """Text of a piece of HTML."""

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []

    def handle_data(self, data: str) -> None:
        self.parts.append(data)
