"""The page of commands is what their help says; run as a script this file writes it anew."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "commands.md"
MARK = "<!-- From here on by python tests/cli/test_reference.py -->\n"


def page() -> str:
    """The page: what is written by hand, and below it what Typer writes of the commands."""
    command = [sys.executable, "-m", "typer", "recsim_drpo.cli.app"]
    command += ["utils", "docs", "--name", "recsim-drpo", "--title", "`recsim-drpo`"]
    made = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    by_hand = PAGE.read_text(encoding="utf-8").partition(MARK)[0]
    return by_hand + MARK + "\n" + re.sub("^#", "##", made.strip(), flags=re.MULTILINE) + "\n"


def test_the_page_is_up_to_date():
    assert PAGE.read_text(encoding="utf-8") == page()


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
