"""Versions and revision: right, and read without importing a library before they are asked for."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch

from recsim_drpo.core import provenance


def test_versions_are_those_of_the_libraries():
    versions = provenance.versions()
    assert list(versions) == ["recsim_drpo", "python", "torch", "numpy", "gymnasium", "minari"]
    assert versions["torch"] == torch.__version__
    assert versions["numpy"] == np.__version__
    assert sys.version.startswith(versions["python"])


def test_the_revision_is_that_of_the_checkout_or_unknown(tmp_path, monkeypatch):
    assert re.fullmatch(r"[0-9a-f]{7,40}|unknown", provenance.revision())
    monkeypatch.setenv("PATH", str(tmp_path))  # no git
    assert provenance.revision() == "unknown"


@pytest.mark.skipif(shutil.which("git") is None, reason="there is no git")
def test_the_revision_is_not_that_of_a_repository_around_an_installed_package(
    tmp_path, monkeypatch
):
    def git(*words: str) -> str:
        names = ("-c", "user.name=a", "-c", "user.email=a@example.org")
        done = subprocess.run(
            ["git", *names, *words], cwd=tmp_path, check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    git("init", "--quiet")
    git("commit", "--quiet", "--allow-empty", "--message", "theirs")
    installed = tmp_path / ".venv/lib/site-packages/recsim_drpo/core"
    checkout = tmp_path / "recsim_drpo/core"
    for folder, expected in (
        (installed, "unknown"),
        (checkout, git("rev-parse", "--short", "HEAD")),
    ):
        folder.mkdir(parents=True)
        monkeypatch.setattr(provenance, "__file__", str(folder / "provenance.py"))
        assert provenance.revision() == expected


def test_importing_it_imports_no_library():
    script = """
import sys
import recsim_drpo.core.provenance
print(sorted({"torch", "minari"} & set(sys.modules)))
"""
    result = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True, timeout=60
    )
    assert result.stdout.strip() == "[]"


def test_the_digest_of_the_sources_is_of_names_and_content_of_python_files(tmp_path):
    root = tmp_path / "package"
    (root / "core").mkdir(parents=True)
    (tmp_path / "beside").mkdir()
    (root / "linked").symlink_to(tmp_path / "beside")
    (root / "core" / "a.py").write_bytes(b"x = 1\ny = 2\n")
    digests = []

    def change(path: str, text: bytes) -> bool:
        """Whether a file's content changes the digest."""
        provenance.sources_digest.cache_clear()
        before = provenance.sources_digest(root)
        (tmp_path / path).write_bytes(text)
        provenance.sources_digest.cache_clear()
        digests.append(provenance.sources_digest(root))
        return digests[-1] != before

    assert change("package/core/a.py", b"x = 1\ny = 3\n")
    assert change("beside/b.py", b"z = 1\n")  # through the link
    assert change("package/core/c.py", b"")
    assert not change("package/core/a.py", b"x = 1\r\ny = 3\r\n")  # as git may have it on Windows
    assert not change("package/core/table.csv", b"1,2\n")
    assert all(re.fullmatch("[0-9a-f]{12}", digest) for digest in digests)
    expected = hashlib.sha256(
        b"core/a.py 12 x = 1\ny = 3\ncore/c.py 0 linked/b.py 6 z = 1\n"
    ).hexdigest()
    assert digests[-1] == expected[:12]
    assert provenance.sources_digest() != digests[-1]
