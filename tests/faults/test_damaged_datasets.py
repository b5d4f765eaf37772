"""Datasets that Minari lists and that are damaged: a right result, or one line that says so."""

from __future__ import annotations

import pytest

from tests.faults.campaign import run
from tests.faults.conftest import scaled
from tests.faults.dataset_doors import make

pytestmark = pytest.mark.faults


@pytest.mark.parametrize("first", [0, 10_000])
def test_damaged_datasets(tmp_path, monkeypatch, first):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    make(tmp_path)
    assert run("dataset_doors", tmp_path, scaled(1000), first=first) == []
