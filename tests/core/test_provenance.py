"""Versions and revision: right, and read without importing a library before they are asked for."""

from __future__ import annotations

import re
import subprocess
import sys

import numpy as np
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
