"""The Dockerfile, as far as it can be held to something without Docker."""

from __future__ import annotations

import configparser
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import typer

from recsim_drpo.cli.app import app

ROOT = Path(__file__).resolve().parents[2]
STEPS = re.findall(
    r"^([A-Z]+) (.*)$",
    re.sub(r"\s*\\\n\s*", " ", (ROOT / "Dockerfile").read_text(encoding="utf-8")),
    re.MULTILINE,
)


def arguments() -> dict[str, str]:
    return dict(rest.split("=", 1) for step, rest in STEPS if step == "ARG")


def copied() -> list[tuple[list[str], str]]:
    """Sources and target of each COPY from the checkout."""
    words = [rest.split() for step, rest in STEPS if step == "COPY" and "--from" not in rest]
    return [(sources, target) for *sources, target in words]


@pytest.fixture
def context(tmp_path):
    """What the first stage has, copied as Docker copies: links stay links."""
    out = tmp_path / "source"
    out.mkdir()
    for sources, target in copied():
        for source in sources:
            if (ROOT / source).is_dir():
                shutil.copytree(
                    ROOT / source,
                    out / target,
                    symlinks=True,
                    ignore=shutil.ignore_patterns("__pycache__"),
                )
            else:
                shutil.copy(ROOT / source, out / target)
    return out


def test_what_is_copied_is_there_and_not_ignored():
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    sources = {source for sources, _ in copied() for source in sources}
    assert {line[1:] for line in ignored if line.startswith("!")} == sources
    for source in sources:
        assert (ROOT / source).exists(), source


def test_arguments_are_of_what_there_is():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    assert set(arguments()["EXTRAS"].split(",")) <= set(config["options.extras_require"])
    low, high = re.findall(r"3\.(\d+)", config["options"]["python_requires"])
    assert int(low) <= int(arguments()["PYTHON"].removeprefix("3.")) < int(high)


def test_it_is_small_and_runs_as_nobody_in_particular():
    last = max(i for i, (step, _) in enumerate(STEPS) if step == "FROM")
    final = STEPS[last:]
    assert final[0][1].endswith("-slim")
    # By its number, as who refuses to run root's images asks for.
    (uid,) = re.findall(r"useradd --uid (\d+)", " ".join(rest for _, rest in final))
    assert int(uid) >= 1000
    assert [rest for step, rest in final if step == "USER"] == [uid]
    # Nothing of the build but the environment, and nothing installed as its user.
    assert [rest.split()[0] for step, rest in final if step == "COPY"] == ["--from=build"]
    assert all("pip" not in rest and "apt" not in rest for step, rest in final if step == "RUN")


def test_a_linter_finds_nothing():
    linter = shutil.which(
        "hadolint", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    )
    if linter is None:
        pytest.skip("hadolint is not installed")
    done = subprocess.run(
        [linter, "--no-color", ROOT / "Dockerfile"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_the_package_is_built_of_what_is_copied(context, tmp_path):
    pytest.importorskip("build")
    if int(pytest.importorskip("setuptools").__version__.partition(".")[0]) < 77:
        pytest.skip("setuptools is older than what the package is built with")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", tmp_path]
    done = subprocess.run(
        [*map(str, command)], cwd=context, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    for folder in ("agents", "datasets", "benchmarks/suites", "cli"):
        for path in (ROOT / "recsim_drpo" / folder).glob("*.py"):
            assert f"recsim_drpo/{folder}/{path.name}" in names
    assert "recsim_drpo/benchmarks/suites/data/zipf-map-1.json" in names


def test_what_is_run_in_it_is_a_command():
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    (words,) = re.findall(r"docker run --rm .* recsim-drpo (.+)$", text, re.MULTILINE)
    command, *rest = words.split()
    typer.main.get_command(app).commands[command].make_context(command, rest)
