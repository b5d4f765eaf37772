from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from recsim_drpo.cli import main

WORLD = ["--world", "num_items=300", "embedding_dim=16", "num_topics=5"]


@pytest.fixture
def run() -> Callable[..., int]:
    """Runs a command of words, which need not be text."""
    return lambda *words: main([str(word) for word in words])


@pytest.fixture(scope="session")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Minari's folder with a small log of users in a small world, cli/small-v0."""
    root = tmp_path_factory.mktemp("generated") / "minari"
    generate = ["generate", "cli/small-v0", "--scenario", "extreme", "--rounds", "800", "--no-card"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MINARI_DATASETS_PATH", str(root))
        assert main([*generate, *WORLD]) == 0
    return root


@pytest.fixture
def dataset(generated: Path, minari_root: Path) -> str:
    """Id of that log, of which each test has a copy of its own."""
    shutil.copytree(generated, minari_root)
    return "cli/small-v0"
