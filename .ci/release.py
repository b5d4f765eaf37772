"""Build what is released, and try it where nothing else is installed.

``python .ci/release.py FOLDER`` leaves there sdist, wheel, a CycloneDX SBOM of the pinned versions
and the changelog's section as release-notes.md; or, where a step fails, what was there, and
the exit status is 1.
"""

from __future__ import annotations

import configparser
import datetime
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
EXTRAS = "plots,parquet"
"""What the wheel is tried with, as README installs it."""

PLACE = "import pathlib, recsim_drpo; print(pathlib.Path(recsim_drpo.__file__).resolve())"
TRIED = (
    ("--version",),
    ("demo", "--quick", "--out", "demo"),
    ("locate", "demo/extreme-seed0-v0"),  # by the published map
    ("benchmark",),  # lists the suites
    ("datasets", "list"),
    ("agents",),
)
"""Commands that have to work out of an installed wheel: those that read its data among them."""


class StepError(Exception):
    """A step of the release failed."""


def main(arguments: Sequence[str]) -> int:
    """Return the exit status, after a line for each step."""
    (name,) = arguments
    target = Path(name).resolve()
    work = Path(sys.prefix) / "release"
    shutil.rmtree(work, ignore_errors=True)
    built = work / "dist"
    built.mkdir(parents=True)
    try:
        version = version_of(ROOT)
        text = notes((ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), version, today())
        (built / "release-notes.md").write_text(text, encoding="utf-8")
        build(built)
        (wheel,) = built.glob("*.whl")
        try_installed(wheel, work, version)
        list_versions(built / "sbom.cdx.json")
    except StepError as error:
        print(f"Nothing is released: {error}", file=sys.stderr)
        return 1
    shutil.rmtree(target, ignore_errors=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(built, target)
    shutil.rmtree(work)
    print(f"In {target}: {', '.join(sorted(path.name for path in target.iterdir()))}.")
    return 0


def version_of(root: Path) -> str:
    """Return the version that a checkout's setup.cfg states."""
    config = configparser.ConfigParser()
    config.read(root / "setup.cfg", encoding="utf-8")
    return config["metadata"]["version"]


def today() -> datetime.date:
    """Return the date in UTC, or that of ``SOURCE_DATE_EPOCH`` where it is set."""
    moment = os.environ.get("SOURCE_DATE_EPOCH")
    now = datetime.datetime.now(datetime.UTC)
    return (datetime.datetime.fromtimestamp(int(moment), datetime.UTC) if moment else now).date()


def notes(changelog: str, version: str, date: datetime.date) -> str:
    """Return a version's section of the changelog, dated where it says unreleased.

    Raises:
        StepError: there is no such section, or nothing is in it.
    """
    sections = re.split(r"^(?=## )", changelog, flags=re.MULTILINE)[1:]
    found = [part for part in sections if part.split()[1] == version]
    if len(found) != 1:
        raise StepError(f"CHANGELOG.md has {len(found)} sections on {version}; write one.")
    heading, _, body = found[0].partition("\n")
    if not re.search(r"^- ", body, re.MULTILINE):
        raise StepError(f"CHANGELOG.md says nothing about {version}; list what is new.")
    return f"{heading.replace('(unreleased)', f'({date.isoformat()})')}\n\n{body.strip()}\n"


def build(folder: Path) -> None:
    """Build the sdist, and the wheel out of it, and have twine look at both."""
    run("build", [sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT])
    files = [*folder.glob("*.whl"), *folder.glob("*.tar.gz")]
    run("twine check", [sys.executable, "-m", "twine", "check", "--strict", *files])


def try_installed(wheel: Path, work: Path, version: str) -> None:
    """Install the wheel alone, and run its commands from a folder outside the checkout."""
    clean = work / "environment"
    run("environment", [sys.executable, "-m", "venv", clean])
    python = clean / "bin/python"
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    pip += ["--constraint", ROOT / "constraints.txt", f"{wheel}[{EXTRAS}]"]
    run("installation", pip)
    elsewhere = work / "elsewhere"
    elsewhere.mkdir()
    place = run("import", [python, "-c", PLACE], elsewhere).strip()
    if not Path(place).is_relative_to(clean.resolve()):
        raise StepError(f"what is imported is {place}, not what was installed in {clean}.")
    for words in TRIED:
        told = run("recsim-drpo " + " ".join(words), [clean / "bin/recsim-drpo", *words], elsewhere)
        if words == ("--version",) and version not in told:
            raise StepError(f"the wheel says that it is {told.strip()}, setup.cfg {version}.")


def list_versions(path: Path) -> None:
    """Write the SBOM."""
    program = Path(sys.executable).parent / "cyclonedx-py"
    pinned = ROOT / "constraints.txt"
    run("SBOM", [program, "requirements", pinned, "--output-reproducible", "--output-file", path])


def run(name: str, command: Sequence[object], cwd: Path = ROOT) -> str:
    """Run a command and return what it printed.

    Raises:
        StepError: its exit status is not 0; with the last lines that it wrote.
    """
    print(f"{name} ...", flush=True)
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=environment(os.environ, cwd),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        last = "\n".join(done.stdout.strip().splitlines()[-30:])
        raise StepError(f"{name} failed with status {done.returncode}:\n{last}")
    return done.stdout


def environment(ours: Mapping[str, str], cwd: Path) -> dict[str, str]:
    """Return the environment without what would let a checkout, or a user's datasets, in."""
    ignored = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "RECSIM_DRPO_INDEXES")
    kept = {name: value for name, value in ours.items() if name not in ignored}
    return {**kept, "MINARI_DATASETS_PATH": str(cwd / "demo" / "minari")}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
