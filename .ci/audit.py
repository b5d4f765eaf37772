"""Look up the pinned versions' known vulnerabilities, and pass only if all were looked up.

``python .ci/audit.py`` asks PyPI, by pip-audit; ``python .ci/audit.py REPORT`` reads what pip-audit
wrote elsewhere. Exit status: 0; 1 for a version with a known vulnerability; 2 where it is not known
of all of them.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

CONSTRAINTS = Path(__file__).resolve().parents[1] / "constraints.txt"
_ARGUMENTS = (
    f"--requirement={CONSTRAINTS.name}",
    "--no-deps",
    "--disable-pip",
    "--progress-spinner=off",
    "--format=json",
)
_OFFLINE = (
    "Where there is a network, in this folder: pip-audit "
    f"{' '.join(_ARGUMENTS)} --output=audit.json; then here: make release AUDIT=audit.json"
)


def main(arguments: Sequence[str]) -> int:
    """Return the exit status, after a line that says what was found."""
    if arguments:
        report = _read(Path(arguments[0]))
    else:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "audit.json"
            command = [sys.executable, "-m", "pip_audit", *_ARGUMENTS, f"--output={path}"]
            subprocess.run(command, cwd=CONSTRAINTS.parent, capture_output=True, check=False)
            report = _read(path)
    status, told = judged(report, pins(CONSTRAINTS.read_text(encoding="utf-8")))
    print(told, file=sys.stderr if status else sys.stdout)
    return status


def judged(report: Any, pinned: set[tuple[str, str]]) -> tuple[int, str]:
    """Return the exit status and a line on a report of pip-audit, of so pinned versions."""
    entries = report.get("dependencies", []) if isinstance(report, dict) else []
    looked_up = {
        (_plain(entry["name"]), entry["version"]): [one["id"] for one in entry["vulns"]]
        for entry in entries
        if "vulns" in entry
    }
    found = {f"{name} {version}": ids for (name, version), ids in looked_up.items() if ids}
    if found:
        listed = "; ".join(f"{what}: {', '.join(ids)}" for what, ids in sorted(found.items()))
        return 1, f"Known vulnerabilities in {CONSTRAINTS.name}: {listed}. Pin versions without."
    missing = sorted(name for name, version in pinned - looked_up.keys())
    if missing:
        return 2, (
            f"Vulnerabilities of {len(missing)} of {len(pinned)} pinned versions (first: "
            f"{missing[0]}) could not be looked up, so nothing is released. {_OFFLINE}"
        )
    return 0, f"No known vulnerability in the {len(pinned)} pinned versions."


def pins(text: str) -> set[tuple[str, str]]:
    """Return names, in their plain form, and versions of a file of constraints."""
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    split = (line.partition("==") for line in lines if line)
    return {(_plain(name), version) for name, _, version in split}


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
