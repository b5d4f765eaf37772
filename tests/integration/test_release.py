"""What lets a release through: each pinned version looked up, none with a known vulnerability."""

from __future__ import annotations

import configparser
import importlib.metadata
import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet

AUDIT = Path(__file__).resolve().parents[2] / ".ci/audit.py"


@pytest.fixture(scope="module")
def audit():
    spec = importlib.util.spec_from_file_location("audit", AUDIT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


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
