"""Run folders and trainings on their way that are damaged: a right result, or one line."""

from __future__ import annotations

import pytest

from tests.faults.campaign import run
from tests.faults.conftest import scaled
from tests.faults.run_doors import make

pytestmark = pytest.mark.faults


@pytest.mark.parametrize("first", [0, 10_000])
def test_damaged_runs(tmp_path, monkeypatch, first):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    make(tmp_path)
    assert run("run_doors", tmp_path, scaled(1000), first=first) == []
