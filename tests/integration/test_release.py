"""What lets a release through: each pinned version looked up, none with a known vulnerability."""

from __future__ import annotations

import configparser
import datetime
import importlib.metadata
import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from packaging.specifiers import SpecifierSet

from recsim_drpo.cli.app import app

AUDIT = Path(__file__).resolve().parents[2] / ".ci/audit.py"


def module_of(path: Path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def audit():
    return module_of(AUDIT)


@pytest.fixture
def release():
    return module_of(AUDIT.parent / "release.py")


def entry(name, version, *ids):
    return {"name": name, "version": version, "vulns": [{"id": one} for one in ids]}


PINNED = {("jinja2", "3.1.6"), ("scikit-learn", "1.9.1")}


@pytest.mark.parametrize(
    ("entries", "status", "message"),
    [
        ([entry("Jinja2", "3.1.6"), entry("scikit_learn", "1.9.1")], 0, "in the 2 pinned"),
        (
            [entry("jinja2", "3.1.6", "PYSEC-1", "GHSA-2"), entry("scikit-learn", "1.9.1")],
            1,
            "jinja2 3.1.6: PYSEC-1, GHSA-2",
        ),
        # A vulnerability that is known counts, whatever else is not.
        ([entry("jinja2", "3.1.6", "PYSEC-1")], 1, "PYSEC-1"),
        ([entry("jinja2", "3.1.6")], 2, "1 of 2 pinned versions (first: scikit-learn)"),
        ([entry("jinja2", "3.1.5"), entry("scikit-learn", "1.9.1")], 2, "(first: jinja2)"),
        # As pip-audit says it where its service does not answer, and goes on with status 0.
        (
            [
                {"name": name, "skip_reason": "not found on PyPI"}
                for name in ("jinja2", "scikit-learn")
            ],
            2,
            "2 of 2 pinned",
        ),
    ],
)
def test_only_what_was_looked_up_passes(audit, entries, status, message):
    found, told = audit.judged({"dependencies": entries}, PINNED)
    assert found == status
    assert message in told
    assert "\n" not in told
    assert ("make release AUDIT=audit.json" in told) == (status == 2)


def test_constraints_are_read_as_pip_reads_them(audit):
    text = "# A comment\nJinja2==3.1.6\nscikit_learn==1.9.1  # another\n\n"
    assert audit.pins(text) == PINNED
    every = audit.pins(audit.CONSTRAINTS.read_text(encoding="utf-8"))
    assert len(every) > 100
    assert all(name and version for name, version in every)


@pytest.mark.parametrize("content", [None, "", "[]", "{}", '{"dependencies": []}'])
def test_a_report_that_says_nothing_does_not_pass(content, tmp_path):
    report = tmp_path / "audit.json"
    if content is not None:
        report.write_text(content)
    done = subprocess.run([sys.executable, AUDIT, report], capture_output=True, text=True)
    assert done.returncode == 2
    assert "could not be looked up, so nothing is released" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_report_of_the_pinned_versions_passes(audit, tmp_path):
    every = audit.pins(audit.CONSTRAINTS.read_text(encoding="utf-8"))
    report = tmp_path / "audit.json"
    report.write_text(json.dumps({"dependencies": [entry(*one) for one in sorted(every)]}))
    done = subprocess.run([sys.executable, AUDIT, report], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"in the {len(every)} pinned versions" in done.stdout


def test_what_is_pinned_can_be_installed_on_the_oldest_and_the_newest_python(audit):
    config = configparser.ConfigParser()
    config.read(AUDIT.parents[1] / "setup.cfg", encoding="utf-8")
    oldest, above = re.findall(r"3\.(\d+)", config["options"]["python_requires"])
    pinned = audit.pins(audit.CONSTRAINTS.read_text(encoding="utf-8"))
    asked = {}
    for one in importlib.metadata.distributions():
        name = re.sub(r"[-_.]+", "-", one.metadata["Name"]).lower()
        if (name, one.version) in pinned:
            asked[name] = one.metadata.get("Requires-Python") or ""
    assert len(asked) > 20
    for python in (f"3.{oldest}.0", f"3.{int(above) - 1}.0"):
        assert [name for name, of in asked.items() if python not in SpecifierSet(of)] == []


def test_the_citation_is_of_this_version_and_paper():
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
    root = AUDIT.parents[1]
    cited = yaml.safe_load((root / "CITATION.cff").read_text(encoding="utf-8"))
    config = configparser.ConfigParser()
    config.read(root / "setup.cfg", encoding="utf-8")
    assert cited["version"] == config["metadata"]["version"]
    assert cited["license"] == config["metadata"]["license"]
    (paper,) = cited["references"]
    readme = " ".join((root / "README.md").read_text(encoding="utf-8").split())
    assert paper["title"] in readme
    names = [f"{one['given-names']} {one['family-names']}" for one in paper["authors"]]
    assert names == ["Jie Jiang", "Yusen Huo", "Xiangxin Zhan", "Changping Wang", "Jun Zhang"]


CHANGES = """# Changelog

## 1.1.0 (unreleased)

### Added

- A door.

## 1.0.0 (2026-01-02)

- A house.

## 0.9.0 (unreleased)

### Added
"""


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("1.1.0", "## 1.1.0 (2026-11-30)\n\n### Added\n\n- A door.\n"),
        ("1.0.0", "## 1.0.0 (2026-01-02)\n\n- A house.\n"),
    ],
)
def test_release_notes_are_the_dated_section_of_the_version(release, version, expected):
    assert release.notes(CHANGES, version, datetime.date(2026, 11, 30)) == expected


@pytest.mark.parametrize(("version", "fault"), [("1.1", "0 sections"), ("0.9.0", "says nothing")])
def test_a_version_without_changes_is_not_released(release, version, fault):
    with pytest.raises(release.StepError, match=fault):
        release.notes(CHANGES, version, datetime.date(2026, 11, 30))


def test_this_version_has_release_notes(release, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", str(24 * 60 * 60))
    changelog = (release.ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    text = release.notes(changelog, release.version_of(release.ROOT), release.today())
    assert text.startswith(f"## {release.version_of(release.ROOT)} (1970-01-02)\n\n### Added\n")


def pretend(name, command, cwd=None):
    """A step of the release that leaves what the real one would, in no time."""
    words = [str(word) for word in command]
    if name == "build":
        folder = Path(words[words.index("--outdir") + 1])
        for file in ("recsim_drpo-0.1.0.tar.gz", "recsim_drpo-0.1.0-py3-none-any.whl"):
            (folder / file).touch()
    if name == "SBOM":
        Path(words[-1]).touch()
    if name == "import":
        return str(Path(words[0]).parents[1] / "lib/recsim_drpo/__init__.py")
    return "recsim-drpo 0.1.0\n" if name.endswith("--version") else ""


def released(release, monkeypatch, tmp_path, step) -> tuple[int, list[str]]:
    """The exit status, and what is then in a folder that held a former release."""
    monkeypatch.setattr(release.sys, "prefix", str(tmp_path / "tools"))
    monkeypatch.setattr(release, "run", step)
    monkeypatch.setattr(release, "version_of", lambda root: "0.1.0")
    (tmp_path / "dist").mkdir()
    (tmp_path / "dist" / "former.whl").touch()
    status = release.main([str(tmp_path / "dist")])
    return status, sorted(path.name for path in (tmp_path / "dist").iterdir())


def test_a_release_is_whole(release, monkeypatch, tmp_path):
    monkeypatch.setattr(release, "notes", lambda *args: "notes")
    status, left = released(release, monkeypatch, tmp_path, pretend)
    assert status == 0
    assert left == [
        "recsim_drpo-0.1.0-py3-none-any.whl",
        "recsim_drpo-0.1.0.tar.gz",
        "release-notes.md",
        "sbom.cdx.json",
    ]


@pytest.mark.parametrize(
    "broken",
    ["build", "twine check", "installation", "recsim-drpo demo --quick --out demo", "SBOM"],
)
def test_nothing_is_released_where_a_step_fails(release, broken, monkeypatch, tmp_path, capsys):
    def step(name, command, cwd=None):
        if name == broken:
            raise release.StepError(f"{name} failed")
        return pretend(name, command, cwd)

    assert released(release, monkeypatch, tmp_path, step) == (1, ["former.whl"])
    assert f"Nothing is released: {broken} failed" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "said", "fault"),
    [
        ("import", "/somebody/else/recsim_drpo/__init__.py", "not what was installed"),
        ("recsim-drpo --version", "recsim-drpo 0.0.9", "0.0.9, setup.cfg 0.1.0"),
    ],
)
def test_another_package_than_the_wheel_is_noticed(
    release, name, said, fault, monkeypatch, tmp_path, capsys
):
    def step(step, command, cwd=None):
        return said if step == name else pretend(step, command, cwd)

    assert released(release, monkeypatch, tmp_path, step)[0] == 1
    assert fault in capsys.readouterr().err


def test_a_step_that_fails_is_told_with_what_it_said(release, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "/a/checkout")
    script = (
        "import os, sys; print(sorted(os.environ)); print('broken', file=sys.stderr); sys.exit(3)"
    )
    with pytest.raises(
        release.StepError, match=r"(?s)a step failed with status 3.*broken"
    ) as caught:
        release.run("a step", [sys.executable, "-c", script], tmp_path)
    assert "'PYTHONPATH'" not in str(caught.value)
    assert "'MINARI_DATASETS_PATH'" in str(caught.value)


def test_commands_that_a_wheel_is_tried_with_are_commands(release):
    program = typer.main.get_command(app)
    for command, *rest in release.TRIED[1:]:
        program.commands[command].make_context(command, rest)
    config = configparser.ConfigParser()
    config.read(release.ROOT / "setup.cfg", encoding="utf-8")
    assert set(release.EXTRAS.split(",")) <= set(config["options.extras_require"])
