"""Files of embeddings, ids and contexts that are damaged: a right result, or one line."""

from __future__ import annotations

import pytest

from tests.faults.campaign import run
from tests.faults.conftest import scaled
from tests.faults.file_doors import make

pytestmark = pytest.mark.faults


@pytest.mark.parametrize("first", [0, 10_000])
def test_damaged_files(tmp_path, first):
    make(tmp_path)
    assert run("file_doors", tmp_path, scaled(2000), first=first) == []
