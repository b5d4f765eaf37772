from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from recsim_drpo.cli import main

WORLD = ["--world", "num_items=300", "embedding_dim=16", "num_topics=5"]


@pytest.fixture
def run() -> Callable[..., int]:
    """Runs a command of words, which need not be text."""
    return lambda *words: main([str(word) for word in words])


@pytest.fixture
def dataset(minari_root: Path, run: Callable[..., int]) -> str:
    """Id of a small log of users in a small world."""
    generate = ["generate", "cli/small-v0", "--scenario", "extreme", "--rounds", 800, "--no-card"]
    assert run(*generate, *WORLD) == 0
    return "cli/small-v0"
