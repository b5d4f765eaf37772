from __future__ import annotations

import pytest

from recsim_drpo.benchmarks.reproduce.framework.settings import Settings
from recsim_drpo.benchmarks.reproduce.theory import theorems


@pytest.fixture(scope="session")
def theory_result(tmp_path_factory):
    """The quick run of all experiments on theorems, made once."""
    return theorems.run(
        Settings(quick=True, folder=tmp_path_factory.mktemp("theory"), progress=False)
    )


@pytest.fixture
def verdict_on(theory_result):
    """From a claim's name to its verdict in the quick run."""
    return {verdict["claim"]: verdict for verdict in theory_result["verdicts"]}.__getitem__
