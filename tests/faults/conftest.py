"""How large the campaign of faults is, what it draws, and what its commands run in."""

from __future__ import annotations

import math
import os
import random
from collections.abc import Iterator

import pytest

from tests.faults.sandbox import COLUMNS, SMALL, WORLD, Sandbox, write_checkout, write_inputs
from tests.faults.warm import Warm


def scaled(number: int) -> int:
    """How many of ``number`` kills or inputs to try: ``RECSIM_DRPO_FAULTS`` of them, at least one.

    The variable is a share, 1 where it is not set: ``make test-faults`` tries all, ``.ci/run`` a
    tenth.
    """
    share = float(os.environ.get("RECSIM_DRPO_FAULTS", "1"))
    if not 0.0 < share <= 1.0:
        raise ValueError(f"RECSIM_DRPO_FAULTS={share:g} must lie in (0, 1].")
    return max(1, math.ceil(number * share))


def seeded(name: str) -> random.Random:
    """Random numbers of a test's own, others with another RECSIM_DRPO_FAULTS_SEED."""
    return random.Random(f"{name} {os.environ.get('RECSIM_DRPO_FAULTS_SEED', '0')}")


@pytest.fixture(scope="session")
def warm() -> Iterator[Warm]:
    process = Warm()
    yield process
    process.close()


@pytest.fixture(scope="session")
def sandbox(warm: Warm, tmp_path_factory: pytest.TempPathFactory) -> Sandbox:
    """A log of users and a run on it; two imported logs and a run on one; results."""
    sandbox = Sandbox(tmp_path_factory.mktemp("kills"))
    sandbox.template.mkdir()
    write_inputs(sandbox.template)
    bought = ["--items", "items.npz", *COLUMNS]
    for words in (
        ["generate", "kt/log-v0", "--rounds", "600", "--no-card", *WORLD],
        ["import", "shop/log-v0", "first.csv", *bought],
        ["import", "shop/later-v0", "second.csv", *bought],
        ["train", "--dataset", "kt/log-v0", "--agent", "bc", *SMALL, "--out", "runs"],
        ["train", "--dataset", "shop/log-v0", "--agent", "awr", *SMALL, "--out", "shop"],
        ["reproduce", "table2", "--quick", "--seeds", "1", "--processes", "1", "--out", "results"],
    ):
        answer = warm(words, sandbox.template, learn=True)
        assert answer["status"] == 0, answer["said"]
    write_checkout(sandbox.template)
    return sandbox
